package main

import (
	"errors"
	"testing"

	"github.com/ionet-settlement/ionet/client"
)

func TestInTokens(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"the reserve is 6000000000, the unspent balance of 4uQe1 is 50 base units: pay in first",
			"the reserve is 60.00000000 IO (6000000000 base units), the unspent balance of 4uQe1 is 0.00000050 IO (50 base units): pay in first"},
		{"Amount is 5, the least that is paid is 100000000 base units, or the whole balance: 7",
			"Amount is 0.00000005 IO (5 base units), the least that is paid is 1.00000000 IO (100000000 base units), or the whole balance: 0.00000007 IO (7 base units)"},
		{"the withdrawal expired at 1700000000, it is 1700000001", "the withdrawal expired at 1700000000, it is 1700000001"},
		{"Amount is 99999999999999999999999 base units", "Amount is 99999999999999999999999 base units"},
	} {
		cause := &client.Problem{Type: client.ProblemPrefix + client.Insufficient, Detail: c.text}
		err := inTokens(cause, 8)
		if want := c.want + " (" + client.Insufficient + ")"; err.Error() != want || !errors.Is(err, cause) {
			t.Errorf("got  %s\nwant %s", err, want)
		}
	}
}
