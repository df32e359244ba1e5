package web

import (
	"os"
	"strings"
	"testing"
)

// What renters pay stands above the long table of epochs, and a log that was never sealed
// is behind by all that it has.
func TestPageShowsFeesFirst(t *testing.T) {
	b, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if fees, epochs := strings.Index(page, "<h2>Fees</h2>"), strings.Index(page, "<h2>Epochs</h2>"); fees < 0 || epochs < fees {
		t.Errorf("fees are at %d, epochs at %d", fees, epochs)
	}
	if !strings.Contains(page, "count(log.size - (m ? m.size : 0))") {
		t.Error("a log without a seal does not tell how much is not sealed")
	}
}
