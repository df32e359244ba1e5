package openaiclient

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The client speaks to an API, tells headers and errors, and reads streams to their end.
func TestCalls(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Ionet-Job", r.Header.Get("X-Asked"))
		w.Header().Set("Content-Type", "text/event-stream")
		for _, part := range []string{"one ", "two"} {
			fmt.Fprintf(w, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":%q},\"finish_reason\":null}]}\n\n", part)
		}
		fmt.Fprint(w, "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2,\"total_tokens\":5}}\n\ndata: [DONE]\n\n")
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusPaymentRequired)
		fmt.Fprint(w, `{"error":{"message":"no voucher","type":"voucher-needed","param":null,"code":"voucher"}}`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	c, err := Start(t.Context(), server.URL+"/v1")
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(Call{Name: "chat", Params: map[string]any{"model": "m", "stream": true, "messages": []any{}}, Headers: map[string]string{"X-Asked": "7"}})
	if err != nil {
		t.Fatal(err)
	}
	if !a.OK || a.Text != "one two" || a.Chunks != 3 || a.Headers["ionet-job"] != "7" || a.Usage == nil || *a.Usage != (Usage{3, 2, 5}) {
		t.Errorf("stream: %+v", a)
	}
	if a, err = c.Do(Call{Name: "models"}); err != nil {
		t.Fatal(err)
	}
	if a.OK || a.Status != http.StatusPaymentRequired || a.Type != "voucher-needed" || a.Code != "voucher" {
		t.Errorf("refusal: %+v", a)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
