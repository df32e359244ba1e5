package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/openaiclient"
	"github.com/ionet-settlement/ionet/worker/meter"
)

// echo is a back end: it says what it was told, token by token, a word a token. The text
// "fail" it refuses, "crash" it dies of.
func echo(t *testing.T) string {
	t.Helper()
	usage := func(prompt, made int) map[string]int {
		return map[string]int{"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}
	}
	answer := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(v)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		var ask struct {
			Model    string
			Messages []struct{ Content string }
			Stream   bool
		}
		json.NewDecoder(r.Body).Decode(&ask)
		told := ask.Messages[len(ask.Messages)-1].Content
		switch told {
		case "fail":
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			io.WriteString(w, `{"error":{"message":"can't do that","type":"invalid_request_error","param":"messages","code":"no"}}`)
			return
		case "crash":
			panic(http.ErrAbortHandler)
		}
		words := strings.SplitAfter("You said: "+told, " ")
		if !ask.Stream {
			answer(w, map[string]any{"id": "x", "object": "chat.completion", "model": ask.Model, "usage": usage(len(told), len(words)), "choices": []any{
				map[string]any{"index": 0, "finish_reason": "stop", "message": map[string]string{"role": "assistant", "content": strings.Join(words, "")}},
			}})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		send := func(v any) {
			b, _ := json.Marshal(v)
			fmt.Fprintf(w, "data: %s\n\n", b)
			http.NewResponseController(w).Flush()
		}
		for _, word := range words {
			send(map[string]any{"object": "chat.completion.chunk", "choices": []any{map[string]any{"index": 0, "delta": map[string]string{"content": word}, "finish_reason": nil}}})
		}
		send(map[string]any{"object": "chat.completion.chunk", "choices": []any{}, "usage": usage(len(told), len(words))})
		io.WriteString(w, "data: [DONE]\n\n")
	})
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Prompt string }
		json.NewDecoder(r.Body).Decode(&ask)
		answer(w, map[string]any{"object": "text_completion", "usage": usage(len(ask.Prompt), 3), "choices": []any{map[string]any{"index": 0, "text": "You said: " + ask.Prompt, "finish_reason": "stop"}}})
	})
	mux.HandleFunc("POST /v1/embeddings", func(w http.ResponseWriter, r *http.Request) {
		var ask struct{ Input []string }
		json.NewDecoder(r.Body).Decode(&ask)
		data := make([]any, len(ask.Input))
		for i := range data {
			data[i] = map[string]any{"object": "embedding", "index": i, "embedding": []float64{0.5, float64(i), 1}}
		}
		answer(w, map[string]any{"object": "list", "data": data, "usage": map[string]int{"prompt_tokens": 4, "total_tokens": 4}})
	})
	mux.HandleFunc("POST /v1/images/generations", func(w http.ResponseWriter, r *http.Request) {
		ask := struct{ N int }{1}
		json.NewDecoder(r.Body).Decode(&ask)
		data := make([]any, ask.N)
		for i := range data {
			data[i] = map[string]string{"b64_json": "aGVsbG8="}
		}
		answer(w, map[string]any{"created": 1, "data": data})
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// sell puts the worker's meter before a back end.
func (w *town) sell(backend string, set ...func(*meter.Config)) {
	w.t.Helper()
	server := httptest.NewUnstartedServer(nil)
	offer := fmt.Sprintf(`
endpoint = "http://%s"
capacity = 64
expires_after = "24h"
[[models]]
name = "talker"
unit = "token"
price = "1500"
per = 1000
max_units = 400
backend = "%[2]s"
[[models]]
name = "vectors"
unit = "token"
price = "7"
per = 1
max_units = 400
backend = "%[2]s"
[[models]]
name = "painter"
unit = "image"
price = "40000"
per = 1
max_units = 4
backend = "%[2]s"
[[models]]
name = "rented"
unit = "second"
price = "300"
per = 7
max_units = 60
backend = "%[2]s"
`, server.Listener.Addr(), backend)
	file := filepath.Join(w.dir, "offer.toml")
	w.check(os.WriteFile(file, []byte(offer), 0o600))
	api, err := client.New(client.Config{Server: w.server, Network: w.network.ID()})
	w.check(err)
	cfg := meter.Config{Network: w.network, Key: key("worker"), API: api, OfferFile: file, Journal: filepath.Join(w.dir, "meter"), Now: w.clock}
	for _, f := range set {
		f(&cfg)
	}
	m, err := meter.New(cfg)
	w.check(err)
	server.Config.Handler = m.Handler()
	server.Start()
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan struct{})
	go func() { defer close(done); m.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-done; server.Close(); m.Close() })
}

// running is a command that runs until the test stops it.
type running struct {
	cancel context.CancelFunc
	done   chan error
	errs   bytes.Buffer
}

// stop ends the command and returns its error.
func (r *running) stop() error {
	r.cancel()
	return <-r.done
}

// start runs a command and waits for a line of its output; it returns what that line's
// pattern found.
func (w *town) begin(pattern string, args ...string) (*running, string) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	r := &running{cancel: cancel, done: make(chan error, 1)}
	out, in := io.Pipe()
	var once sync.Once
	go func() {
		err := run(ctx, args, in, &r.errs)
		in.CloseWithError(io.EOF)
		r.done <- err
	}()
	w.t.Cleanup(func() { once.Do(cancel) })
	lines, form := bufio.NewScanner(out), regexp.MustCompile(pattern)
	for lines.Scan() {
		if m := form.FindStringSubmatch(lines.Text()); m != nil {
			go io.Copy(io.Discard, out)
			return r, m[len(m)-1]
		}
	}
	w.t.Fatalf("ionet %s ended: %v", strings.Join(args, " "), <-r.done)
	return nil, ""
}

// renter gives a new wallet IO to spend: it proves GPU time, claims, and pays in.
func (w *town) renter(amount string) (wallet string) {
	w.t.Helper()
	wallet, file := filepath.Join(w.dir, "wallet.json"), filepath.Join(w.dir, "delegation")
	with := func(args ...string) []string { return append(args, "--server", w.server) }
	w.says([]string{"keygen", "--out", wallet}, `^wallet `)
	w.says(with("delegate", "--keypair", wallet, "--worker", public("worker").String(), "--out", file), `accepted$`)
	w.settle()
	w.prove(w.envelopeIn(file), 0, 1, 2)
	w.waitSealed(1)
	w.says(with("claim", "--keypair", wallet, "--rpc", w.rpc, "--airdrop"), `^paid: final in slot \d+`)
	w.says(with("deposit", "--keypair", wallet, "--amount", amount, "--rpc", w.rpc), `^credited: `)
	return wallet
}

// eventually waits for something that other goroutines bring about.
func (w *town) eventually(what string, holds func() bool) {
	w.t.Helper()
	for range 3000 {
		if holds() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("%s: not within half a minute", what)
}

// chatWith is a call of OpenAI's client.
func chatWith(model, text string, more map[string]any) openaiclient.Call {
	params := map[string]any{"model": model, "messages": []any{map[string]string{"role": "user", "content": text}}}
	for name, v := range more {
		params[name] = v
	}
	return openaiclient.Call{Name: "chat", Params: params}
}

// walletOf is the address of a key file.
func (w *town) walletOf(file string) string {
	w.t.Helper()
	secret, err := chain.ReadKeypair(file)
	w.check(err)
	return chain.PublicOf(secret).String()
}

// decode reads a JSON answer.
func decode(resp *http.Response, v any) error {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(v)
}
