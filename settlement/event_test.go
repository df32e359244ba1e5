package settlement

import (
	"testing"

	"github.com/ionet-settlement/ionet"
)

func TestEventLinesCountInWords(t *testing.T) {
	for _, c := range []struct {
		e    Event
		want string
	}{
		{Event{Kind: EventFence, Count: 1}, "fence: 1 lane passed"},
		{Event{Kind: EventFence, Count: 2}, "fence: 2 lanes passed"},
		{Event{Kind: EventStatements, Epoch: 1, Count: 1}, "epoch 1: 1 uptime statement accepted"},
		{Event{Kind: EventSealed, Epoch: 3, Count: 1, Emission: ionet.MustAmount(150), Amount: ionet.MustAmount(5)}, "epoch 3 sealed: 1 verdict, emission 1.50 IO, minted 0.05 IO"},
		{Event{Kind: EventPayout, Count: 1, Amount: ionet.MustAmount(150)}, "payout of 1.50 IO to 1 payee"},
		{Event{Kind: EventPayout, Count: 0}, "payout of 0.00 IO to 0 payees"},
	} {
		if got := c.e.Line(2); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
