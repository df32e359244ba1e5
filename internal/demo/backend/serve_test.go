package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"image/png"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func open(t *testing.T) string {
	server := httptest.NewServer(newBackend(0).routes())
	t.Cleanup(server.Close)
	return server.URL
}

// ask posts body and returns status and answer.
func ask(t *testing.T, url, body string) (int, []byte) {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, b
}

func parse[T any](t *testing.T, b []byte) (v T) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

type completion struct {
	Choices []struct {
		Message      struct{ Content string }
		Delta        struct{ Content string }
		FinishReason *string `json:"finish_reason"`
	}
	Usage *usage
}

// A stream and a whole answer of one seed are the same tokens, and both count them.
func TestStreamIsTheWholeAnswer(t *testing.T) {
	url := open(t)
	const rest = `"model":"demo-writer","seed":7,"max_tokens":30,"messages":[{"role":"user","content":"Tell of the miller."}]}`
	status, b := ask(t, url+"/v1/chat/completions", `{`+rest)
	whole := parse[completion](t, b)
	if status != http.StatusOK || whole.Usage == nil || whole.Usage.Completion != len(tokens(whole.Choices[0].Message.Content)) || whole.Usage.Prompt != 5 {
		t.Fatalf("status %d, %s", status, b)
	}
	_, b = ask(t, url+"/v1/chat/completions", `{"stream":true,"stream_options":{"include_usage":true},`+rest)
	var text, reason string
	var used *usage
	lines := strings.Split(strings.TrimSpace(string(b)), "\n\n")
	if last := lines[len(lines)-1]; last != "data: [DONE]" {
		t.Fatalf("the stream ends with %q", last)
	}
	for _, line := range lines[:len(lines)-1] {
		c := parse[completion](t, []byte(strings.TrimPrefix(line, "data: ")))
		for _, choice := range c.Choices {
			text += choice.Delta.Content
			if choice.FinishReason != nil {
				reason = *choice.FinishReason
			}
		}
		if c.Usage != nil {
			used = c.Usage
		}
	}
	if text != whole.Choices[0].Message.Content || reason != *whole.Choices[0].FinishReason || used == nil || *used != *whole.Usage {
		t.Errorf("stream %q %s %+v, whole %s", text, reason, used, b)
	}
}

func TestEmbeddings(t *testing.T) {
	url := open(t)
	type vectors struct {
		Data []struct{ Embedding json.RawMessage }
	}
	const input = `"model":"demo-words","input":["a log keeps its order","a log keeps its order","the river has no lock"]`
	_, b := ask(t, url+"/v1/embeddings", `{`+input+`}`)
	var floats [3][]float32
	for i, d := range parse[vectors](t, b).Data {
		floats[i] = parse[[]float32](t, d.Embedding)
		if got := dot(floats[i], floats[i]); math.Abs(got-1) > 1e-5 {
			t.Errorf("vector %d has length %f", i, got)
		}
	}
	if same, other := dot(floats[0], floats[1]), dot(floats[0], floats[2]); other >= same {
		t.Errorf("another text is as near (%f) as the same (%f)", other, same)
	}
	_, b = ask(t, url+"/v1/embeddings", `{"encoding_format":"base64",`+input+`}`)
	for i, d := range parse[vectors](t, b).Data {
		raw, err := base64.StdEncoding.DecodeString(parse[string](t, d.Embedding))
		if err != nil || len(raw) != 4*dimensions {
			t.Fatalf("vector %d: %d bytes, %v", i, len(raw), err)
		}
		for j := range floats[i] {
			if got := math.Float32frombits(binary.LittleEndian.Uint32(raw[4*j:])); got != floats[i][j] {
				t.Fatalf("vector %d, place %d: %v, as numbers %v", i, j, got, floats[i][j])
			}
		}
	}
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestImages(t *testing.T) {
	url := open(t)
	_, b := ask(t, url+"/v1/images/generations", `{"model":"demo-painter","prompt":"a lighthouse","n":2,"size":"64x32"}`)
	got := parse[struct {
		Data []struct {
			Picture []byte `json:"b64_json"`
		}
	}](t, b)
	if len(got.Data) != 2 || bytes.Equal(got.Data[0].Picture, got.Data[1].Picture) {
		t.Fatalf("%d pictures", len(got.Data))
	}
	for _, d := range got.Data {
		img, err := png.Decode(bytes.NewReader(d.Picture))
		if err != nil || img.Bounds().Dx() != 64 || img.Bounds().Dy() != 32 {
			t.Errorf("picture %v, %v", img, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	url := open(t)
	for _, c := range []struct {
		path, body, param string
		status            int
	}{
		{"chat/completions", `{`, "body", 400},
		{"chat/completions", `{"model":"demo-writer","messages":[]}`, "messages", 400},
		{"chat/completions", `{"model":"other","messages":[{"role":"user","content":"x"}]}`, "model", 404},
		{"chat/completions", `{"model":"demo-writer","max_tokens":513,"messages":[{"role":"user","content":"x"}]}`, "max_tokens", 400},
		{"completions", `{"model":"demo-writer","max_tokens":0,"prompt":"x"}`, "max_tokens", 400},
		{"embeddings", `{"model":"demo-words","input":7}`, "input", 400},
		{"embeddings", `{"model":"demo-writer","input":"x"}`, "model", 404},
		{"images/generations", `{"model":"demo-painter","prompt":"x","n":5}`, "n", 400},
		{"images/generations", `{"model":"demo-painter","prompt":"x","size":"1x1"}`, "size", 400},
	} {
		status, b := ask(t, url+"/v1/"+c.path, c.body)
		got := parse[struct {
			Error struct{ Message, Param string }
		}](t, b)
		if status != c.status || got.Error.Param != c.param || got.Error.Message == "" {
			t.Errorf("%s %s: status %d, %s; want %d for %s", c.path, c.body, status, b, c.status, c.param)
		}
	}
}
