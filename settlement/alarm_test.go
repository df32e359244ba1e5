package settlement

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// An epoch that draws by target and closes without a price in reach is warned of,
// once, however often its closing is called.
func TestMissingPriceIsWarnedOfOnce(t *testing.T) {
	b := newBooksUnder(t, targetPolicy)
	var log bytes.Buffer
	cfg := b.config(pgtest.Open(t, b.url))
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.Service = s
	const warning = `level=WARN msg="an epoch closes without a price: nothing of its emission is minted" epoch=`
	for _, c := range []struct {
		epoch    uint64
		observed bool
		want     int // warnings so far
	}{{1, false, 1}, {2, true, 1}, {3, false, 1}, {4, false, 1}, {5, false, 2}} {
		b.goTo(b.clock.EpochStart(c.epoch))
		if c.observed {
			b.accept(b.price(c.epoch, 73_100))
		}
		closing := b.closeDue(c.epoch)
		b.closeDueAgain()
		b.sealNow(closing)
		if got := strings.Count(log.String(), warning); got != c.want {
			t.Errorf("after epoch %d: %d warnings, want %d:\n%s", c.epoch, got, c.want, &log)
		}
	}
	if !strings.Contains(log.String(), warning+"5 emission=") {
		t.Errorf("the warning does not name its epoch:\n%s", &log)
	}
}
