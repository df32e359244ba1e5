package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strings"
	"time"
)

// The models, by what they do.
const (
	writerModel  = "demo-writer"
	wordsModel   = "demo-words"
	painterModel = "demo-painter"
)

// Bounds of a request.
const (
	maxBody    = 1 << 20
	maxTokens  = 512
	maxImages  = 4
	maxPicture = 512 // pixels a side
)

// A backend answers OpenAI's calls.
type backend struct {
	pause  time.Duration // of a token
	writer *writer
}

func newBackend(pause time.Duration) *backend { return &backend{pause, learn(corpus)} }

func (b *backend) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", b.chat)
	mux.HandleFunc("POST /v1/completions", b.complete)
	mux.HandleFunc("POST /v1/embeddings", b.embeddings)
	mux.HandleFunc("POST /v1/images/generations", b.images)
	mux.HandleFunc("GET /v1/models", b.models)
	return mux
}

// usage is what is billed.
type usage struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens,omitempty"`
	Total      int `json:"total_tokens"`
}

// writing is what chat and plain completions ask alike.
type writing struct {
	Model         string `json:"model"`
	Stream        bool   `json:"stream"`
	StreamOptions struct {
		IncludeUsage bool `json:"include_usage"`
	} `json:"stream_options"`
	MaxTokens           *int   `json:"max_tokens"`
	MaxCompletionTokens *int   `json:"max_completion_tokens"`
	Seed                *int64 `json:"seed"`
}

func (b *backend) chat(w http.ResponseWriter, r *http.Request) {
	var in struct {
		writing
		Messages []struct {
			Role    string          `json:"role"`
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if !read(w, r, &in) {
		return
	}
	var prompt strings.Builder
	for _, m := range in.Messages {
		prompt.WriteString(textOf(m.Content) + "\n")
	}
	if len(in.Messages) == 0 {
		refuse(w, http.StatusBadRequest, "messages", "messages is empty")
		return
	}
	b.write(w, r, in.writing, prompt.String(), chatForm)
}

func (b *backend) complete(w http.ResponseWriter, r *http.Request) {
	var in struct {
		writing
		Prompt string `json:"prompt"`
	}
	if read(w, r, &in) {
		b.write(w, r, in.writing, in.Prompt, plainForm)
	}
}

// textOf is the text of a message: a string, or a list of parts.
func textOf(content json.RawMessage) string {
	var text string
	if json.Unmarshal(content, &text) == nil {
		return text
	}
	var parts []struct{ Text string }
	_ = json.Unmarshal(content, &parts) // other parts have no text
	for _, p := range parts {
		text += p.Text
	}
	return text
}

// A form is how an answer is told: whole, or piece by piece.
type form struct {
	prefix, object, chunk string
	whole, piece          func(text string) map[string]any
}

var chatForm = form{"chatcmpl-", "chat.completion", "chat.completion.chunk",
	func(text string) map[string]any {
		return map[string]any{"message": map[string]any{"role": "assistant", "content": text}}
	},
	func(text string) map[string]any { return map[string]any{"delta": map[string]any{"content": text}} },
}

var plainForm = form{"cmpl-", "text_completion", "text_completion",
	func(text string) map[string]any { return map[string]any{"text": text} },
	func(text string) map[string]any { return map[string]any{"text": text} },
}

// write answers with tokens of the language model.
func (b *backend) write(w http.ResponseWriter, r *http.Request, in writing, prompt string, f form) {
	n := 96
	for _, most := range []*int{in.MaxTokens, in.MaxCompletionTokens} {
		if most != nil {
			n = *most
		}
	}
	if n < 1 || n > maxTokens {
		refuse(w, http.StatusBadRequest, "max_tokens", fmt.Sprintf("max_tokens is %d, not 1..%d", n, maxTokens))
		return
	}
	if in.Model != writerModel {
		refuse(w, http.StatusNotFound, "model", fmt.Sprintf("model %q is not here", in.Model))
		return
	}
	dice := mathrand.New(mathrand.NewPCG(mathrand.Uint64(), 0))
	if in.Seed != nil {
		dice = mathrand.New(mathrand.NewPCG(uint64(*in.Seed), 1))
	}
	out, ended := b.writer.write(prompt, n, dice)
	used := usage{Prompt: len(tokens(prompt)), Completion: len(out)}
	used.Total = used.Prompt + used.Completion
	reason := "length"
	if ended {
		reason = "stop"
	}
	head := map[string]any{"id": f.prefix + name(), "created": time.Now().Unix(), "model": in.Model}
	if in.Stream {
		b.stream(w, r, f, head, out, reason, in.StreamOptions.IncludeUsage, used)
		return
	}
	time.Sleep(time.Duration(len(out)) * b.pause)
	choice := f.whole(strings.Join(out, ""))
	choice["index"], choice["finish_reason"], choice["logprobs"] = 0, reason, nil
	head["object"], head["choices"], head["usage"] = f.object, []any{choice}, used
	answer(w, head)
}

// stream tells the tokens as they come, as server-sent events.
func (b *backend) stream(w http.ResponseWriter, r *http.Request, f form, head map[string]any, out []string, reason string, withUsage bool, used usage) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	flush := http.NewResponseController(w)
	head["object"] = f.chunk
	tell := func(choices []any) bool {
		head["choices"] = choices
		line, err := json.Marshal(head)
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", line)
		}
		return errors.Join(err, flush.Flush()) == nil
	}
	for _, t := range out {
		choice := f.piece(t)
		choice["index"], choice["finish_reason"] = 0, nil
		if !tell([]any{choice}) {
			return
		}
		select {
		case <-time.After(b.pause):
		case <-r.Context().Done():
			return
		}
	}
	last := f.piece("")
	last["index"], last["finish_reason"] = 0, reason
	if !tell([]any{last}) {
		return
	}
	if head["usage"] = used; withUsage && !tell([]any{}) {
		return
	}
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

func (b *backend) embeddings(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model    string          `json:"model"`
		Input    json.RawMessage `json:"input"`
		Encoding string          `json:"encoding_format"`
	}
	if !read(w, r, &in) {
		return
	}
	var texts []string
	if one := ""; json.Unmarshal(in.Input, &one) == nil {
		texts = []string{one}
	} else if json.Unmarshal(in.Input, &texts) != nil || len(texts) == 0 {
		refuse(w, http.StatusBadRequest, "input", "input is neither a string nor strings")
		return
	}
	if in.Model != wordsModel {
		refuse(w, http.StatusNotFound, "model", fmt.Sprintf("model %q is not here", in.Model))
		return
	}
	data, used := make([]any, len(texts)), usage{}
	for i, text := range texts {
		var v any = embed(text)
		if in.Encoding == "base64" {
			v = inBase64(embed(text))
		}
		data[i] = map[string]any{"object": "embedding", "index": i, "embedding": v}
		used.Prompt += len(tokens(text))
	}
	used.Total = used.Prompt
	answer(w, map[string]any{"object": "list", "model": in.Model, "data": data, "usage": used})
}

func (b *backend) images(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
		N      *int   `json:"n"`
		Size   string `json:"size"`
	}
	if !read(w, r, &in) {
		return
	}
	n, width, height := 1, 256, 256
	if in.N != nil {
		n = *in.N
	}
	if in.Size != "" && in.Size != "auto" {
		if got, err := fmt.Sscanf(in.Size, "%dx%d", &width, &height); err != nil || got != 2 || min(width, height) < 16 || max(width, height) > maxPicture {
			refuse(w, http.StatusBadRequest, "size", fmt.Sprintf("size is %q, not 16x16 to %[2]dx%[2]d", in.Size, maxPicture))
			return
		}
	}
	switch {
	case n < 1 || n > maxImages:
		refuse(w, http.StatusBadRequest, "n", fmt.Sprintf("n is %d, not 1..%d", n, maxImages))
		return
	case in.Model != painterModel:
		refuse(w, http.StatusNotFound, "model", fmt.Sprintf("model %q is not here", in.Model))
		return
	}
	data := make([]any, n)
	for i := range data {
		picture, err := paint(in.Prompt, uint64(i), width, height)
		if err != nil {
			refuse(w, http.StatusInternalServerError, "", err.Error())
			return
		}
		data[i] = map[string]any{"b64_json": base64.StdEncoding.EncodeToString(picture)}
	}
	answer(w, map[string]any{"created": time.Now().Unix(), "data": data})
}

func (b *backend) models(w http.ResponseWriter, _ *http.Request) {
	var list []any
	for _, id := range []string{writerModel, wordsModel, painterModel} {
		list = append(list, map[string]any{"id": id, "object": "model", "owned_by": "demo"})
	}
	answer(w, map[string]any{"object": "list", "data": list})
}

// read parses the body; what is not JSON, or too long, is refused.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(into)
	if err != nil {
		refuse(w, http.StatusBadRequest, "body", "the body is not the JSON that is expected: "+err.Error())
	}
	return err == nil
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // nobody is left to tell
}

// refuse answers with an error as OpenAI has it.
func refuse(w http.ResponseWriter, status int, field, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	kind := "invalid_request_error"
	if status >= http.StatusInternalServerError {
		kind = "server_error"
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "type": kind, "param": field, "code": nil}})
}

// name is a random name.
func name() string { return strings.ToLower(rand.Text()) }
