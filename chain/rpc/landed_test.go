package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// altered forwards a call and replaces what matches in the answer.
func altered(forward func() (*http.Response, error), pattern, with string) (*http.Response, error) {
	resp, err := forward()
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	changed := regexp.MustCompile(pattern).ReplaceAllString(string(body), with)
	if changed == string(body) {
		return nil, errors.New("the answer has nothing to alter")
	}
	return reply(resp.StatusCode, changed), nil
}

// What a transaction's time decides is final: all endpoints must tell it alike,
// whichever of them is wrong.
func TestLanded(t *testing.T) {
	ctx, c, key := context.Background(), newClient(t, Config{}), wallet(t)
	tx, hash, mint := mintTransaction(t, c, key, "landed")
	if err := c.Send(ctx, tx, SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
		t.Fatal(err)
	}
	awaitFinalized(t, c, mint)
	signature := signatureOf(t, tx)
	want, err := c.Transaction(ctx, signature)
	if err != nil || want.Time == 0 {
		t.Fatalf("transaction has time %d: %v", want.Time, err)
	}
	type forward = func() (*http.Response, error)
	as := func(f forward) (*http.Response, error) { return f() }
	alter := func(pattern, with string) func(forward) (*http.Response, error) {
		return func(f forward) (*http.Response, error) { return altered(f, pattern, with) }
	}
	for name, c := range map[string]struct {
		transaction, block func(forward) (*http.Response, error)
		want               error // nil: as it landed; errAny: some error
	}{
		"alike":                    {as, as, nil},
		"another time":             {alter(`"blockTime":\d+`, `"blockTime":1900000000`), as, ErrDisagree},
		"a time later by a second": {alter(`"blockTime":\d+`, fmt.Sprintf(`"blockTime":%d`, want.Time+1)), as, ErrDisagree},
		"another slot":             {alter(`"slot":\d+`, `"slot":1`), as, ErrDisagree},
		"failed there":             {alter(`"err":null`, `"err":"AccountInUse"`), as, ErrDisagree},
		"called instructions":      {alter(`"innerInstructions":\[\]`, `"innerInstructions":[{"index":0,"instructions":[{"programIdIndex":0,"accounts":[],"data":""}]}]`), as, ErrDisagree},
		"none called, but listed":  {alter(`"innerInstructions":\[\]`, `"innerInstructions":[{"index":0,"instructions":[]}]`), as, nil},
		"other lamports":           {alter(`"postBalances":\[\d+`, `"postBalances":[1`), as, ErrDisagree},
		"not there":                {func(forward) (*http.Response, error) { return result("null"), nil }, as, ErrNotFound},
		"does not answer":          {faults["lost"], as, errAny},
		"limits":                   {faults["429"], as, errAny},
		"time of the block":        {alter(`"blockTime":\d+`, `"blockTime":null`), as, nil},
		"another time of it":       {alter(`"blockTime":\d+`, `"blockTime":null`), alter(`"blockTime":\d+`, `"blockTime":1900000000`), ErrDisagree},
		"no time at all":           {alter(`"blockTime":\d+`, `"blockTime":null`), alter(`"blockTime":\d+`, `"blockTime":null`), errAny},
		"time zero":                {alter(`"blockTime":\d+`, `"blockTime":0`), alter(`"blockTime":\d+`, `"blockTime":0`), errAny},
	} {
		for _, wrong := range []string{"one", "two"} {
			t.Run(name+" by "+wrong, func(t *testing.T) {
				s := &script{play: func(_ int, host, method string, f func() (*http.Response, error)) (*http.Response, error) {
					switch {
					case host != wrong:
						return f()
					case method == "getBlock":
						return c.block(f)
					}
					return c.transaction(f)
				}}
				got, err := faultyClient(t, s, "http://one/secret", "http://two/secret").Landed(ctx, signature)
				switch {
				case c.want == nil && (err != nil || got.Time != want.Time || got.Slot != want.Slot):
					t.Errorf("got %+v, %v, want slot %d at %d", got, err, want.Slot, want.Time)
				case c.want == errAny && (err == nil || errors.Is(err, ErrDisagree) || errors.Is(err, ErrNotFound)), c.want != nil && c.want != errAny && !errors.Is(err, c.want):
					t.Errorf("got %v, want %v", err, c.want)
				case err != nil && (strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), wrong)):
					t.Errorf("error shows an endpoint's address, or not its host: %v", err)
				}
			})
		}
	}
}

// An endpoint that keeps no history of that slot any more has no opinion while two others
// agree; one that should have the transaction, or one other alone, decides nothing.
func TestLandedPruned(t *testing.T) {
	ctx, c, key := context.Background(), newClient(t, Config{}), wallet(t)
	tx, hash, mint := mintTransaction(t, c, key, "pruned")
	if err := c.Send(ctx, tx, SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
		t.Fatal(err)
	}
	awaitFinalized(t, c, mint)
	signature := signatureOf(t, tx)
	want, err := c.Transaction(ctx, signature)
	if err != nil {
		t.Fatal(err)
	}
	one, two, three := "http://one/secret", "http://two/secret", "http://three/secret"
	for _, c := range []struct {
		name      string
		endpoints []string
		lacks     string // hosts
		first     uint64 // block that those say they have
		lies      string
		want      error
	}{
		{"one of three", []string{one, two, three}, "one", want.Slot + 1, "", nil},
		{"the last of three", []string{one, two, three}, "three", want.Slot + 1, "", nil},
		{"one of three that has the slot", []string{one, two, three}, "one", want.Slot, "", ErrNotFound},
		{"two of three", []string{one, two, three}, "one two", want.Slot + 1, "", ErrNotFound},
		{"one of two", []string{one, two}, "two", want.Slot + 1, "", ErrNotFound},
		{"all", []string{one, two}, "one two", want.Slot + 1, "", ErrNotFound},
		{"one of three, and one of the others lies", []string{one, two, three}, "one", want.Slot + 1, "three", ErrDisagree},
	} {
		s := &script{play: func(_ int, host, method string, f func() (*http.Response, error)) (*http.Response, error) {
			lacks := strings.Contains(c.lacks, host)
			switch {
			case lacks && method == "getTransaction":
				return result("null"), nil
			case lacks && method == "getFirstAvailableBlock":
				return result(fmt.Sprint(c.first)), nil
			case host == c.lies:
				return altered(f, `"err":null`, `"err":"AccountInUse"`)
			}
			return f()
		}}
		got, err := faultyClient(t, s, c.endpoints...).Landed(ctx, signature)
		if !errors.Is(err, c.want) || err == nil && got.Slot != want.Slot {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}
