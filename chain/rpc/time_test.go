package rpc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// timed answers as an endpoint whose newest finalized block has that time; -1: it
// knows no block.
func timed(t *testing.T, unix int64) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID     any    `json:"id"`
			Method string `json:"method"`
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &call) != nil {
			http.Error(w, "no call", http.StatusBadRequest)
			return
		}
		id, _ := json.Marshal(call.ID)
		answer := map[string]string{
			"getEpochInfo": `{"absoluteSlot":1000,"blockHeight":900,"epoch":1,"slotIndex":1,"slotsInEpoch":432000,"transactionCount":1}`,
			"getBlocks":    `[990,998]`,
			"getBlock":     fmt.Sprintf(`{"blockhash":"4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY","previousBlockhash":"4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY","blockTime":%d,"blockHeight":899,"parentSlot":997}`, unix),
		}[call.Method]
		if call.Method == "getBlocks" && unix < 0 {
			answer = `[]`
		}
		if answer == "" {
			t.Errorf("unexpected call %s", call.Method)
		}
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, id, answer)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// The chain's time is the least that any endpoint tells; one that does not tell leaves
// it open.
func TestTime(t *testing.T) {
	for name, c := range map[string]struct {
		times []int64
		want  int64
	}{
		"one":              {[]int64{1_763_888_400}, 1_763_888_400},
		"one is ahead":     {[]int64{1_763_888_400, 1_863_888_400}, 1_763_888_400},
		"one is behind":    {[]int64{1_763_888_400, 1_763_888_390}, 1_763_888_390},
		"one has no block": {[]int64{1_763_888_400, -1}, 0},
	} {
		var urls []string
		for _, unix := range c.times {
			urls = append(urls, timed(t, unix))
		}
		client, err := New(Config{Endpoints: urls})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		got, err := client.Time(context.Background())
		if (err != nil) != (c.want == 0) || err == nil && got != c.want {
			t.Errorf("%s: got %d, %v, want %d", name, got, err, c.want)
		}
	}
}
