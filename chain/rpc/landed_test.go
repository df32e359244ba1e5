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
