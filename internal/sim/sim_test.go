package main

import (
	"bytes"
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/internal/pgtest"
)

// newPlayer makes a player on the tests' database server.
func newPlayer(t *testing.T, o options) *player {
	t.Helper()
	u, err := url.Parse(pgtest.NewURL(t))
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/postgres"
	p := &player{options: o, admin: u.String(), dir: t.TempDir(), total: tally{}, name: drawSeed()}
	t.Cleanup(func() {
		if err := p.close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return p
}

// Seeds that nobody has played before hold. How many depends on the machine; a
// failure tells its seed.
func TestNewSeeds(t *testing.T) {
	const steps = 50
	p := newPlayer(t, options{providers: 120})
	seed := drawSeed()
	for began := time.Now(); time.Since(began) < 8*time.Second; seed++ {
		if _, err := p.play(t.Context(), seed, steps); err != nil {
			if broken := (*Broken)(nil); errors.As(err, &broken) {
				t.Log(strings.Join(broken.Tail, "\n"))
			}
			t.Fatalf("%v\nagain: go run ./internal/sim -seed %d -steps %d -providers %d", err, seed, steps, p.providers)
		}
		t.Logf("seed %d holds", seed)
	}
	t.Logf("what happened:\n%s", p.total)
}

// The same seed makes the same steps, after another one or on a chain and a database
// that were made anew, and another seed makes others.
func TestSameSeedSameTrace(t *testing.T) {
	const steps = 25
	one, two := newPlayer(t, options{providers: 40}), newPlayer(t, options{providers: 40})
	var traces []ionet.Hash
	for _, c := range []struct {
		on   *player
		seed uint64
	}{{one, 6}, {one, 5}, {two, 5}} {
		trace, err := c.on.play(t.Context(), c.seed, steps)
		if err != nil {
			t.Fatal(err)
		}
		traces = append(traces, trace)
	}
	if traces[1] != traces[2] {
		t.Errorf("seed 5 has trace %s, and %s the second time", traces[1], traces[2])
	}
	if traces[0] == traces[1] {
		t.Error("seeds 5 and 6 have one trace")
	}
}

// begin starts a run that has made no step yet.
func begin(t *testing.T, p *player) *run {
	t.Helper()
	if p.world == nil {
		if err := p.open(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	r, err := p.world.begin(t.Context(), 1, p.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.end(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := r.start(t.Context(), r.a); err != nil {
		t.Fatal(err)
	}
	return r
}

// Whatever is wrong in the books is found: each of these is a bug that the service
// might have.
func TestLookFinds(t *testing.T) {
	p := newPlayer(t, options{providers: 40})
	for _, c := range []struct{ name, sql, want string }{
		{"nothing", `SELECT 1`, ""},
		{"a payment is forgotten", `DELETE FROM payments WHERE id = (SELECT id FROM payments WHERE state = 'paid' LIMIT 1)`, "earned"},
		{"a payment is marked as paid twice", `INSERT INTO payments SELECT decode(md5('twice'), 'hex'), kind, payee, account, amount, content, state, created_at FROM payments LIMIT 1`, "earned"},
		{"a debt grows", `UPDATE ledger_balances SET balance = balance + 1 WHERE account = (SELECT account FROM ledger_balances WHERE starts_with(account, 'owed:') AND balance > 0 LIMIT 1)`, "differ by 1"},
		{"a debt is another's", `WITH two AS (SELECT account, row_number() OVER (ORDER BY account) AS n FROM ledger_balances WHERE starts_with(account, 'owed:') AND balance > 1)
UPDATE ledger_balances b SET balance = balance + CASE two.n WHEN 1 THEN 1 ELSE -1 END FROM two WHERE two.account = b.account AND two.n <= 2`, "earned"},
		{"a position has no winner", `UPDATE contents SET state = 'lost', signature = NULL, slot = NULL WHERE lane = 'pay-0' AND position = 0`, "winner"},
		{"a lane goes back", `UPDATE lanes SET position = position - 1 WHERE name = 'pay-0'`, "is at position"},
		{"a record of the published log is another", `UPDATE log_entries SET record = set_byte(record, 8, 255 - get_byte(record, 8)) WHERE index = 1`, "is another now"},
		{"a record is lost", `DELETE FROM log_entries WHERE index = 2`, "follows"},
		{"fees were paid less", `UPDATE payments SET amount = amount - 1 WHERE id = (SELECT id FROM payments WHERE kind = 10 AND state = 'paid' LIMIT 1)`, "earned fees"},
		{"fees were paid more", `UPDATE payments SET amount = amount + 1 WHERE id = (SELECT id FROM payments WHERE kind = 10 AND state = 'paid' LIMIT 1)`, "by the chain"},
		{"a channel's money is the network's", `UPDATE ledger_balances SET balance = balance + CASE account WHEN 'network-fees' THEN 1 ELSE -1 END
WHERE account IN ('network-fees', (SELECT account FROM ledger_balances WHERE starts_with(account, 'channel:') AND balance > 0 LIMIT 1))`, "the network has fees"},
		{"a session's money is a payee's", `UPDATE ledger_balances SET balance = balance + CASE WHEN starts_with(account, 'session:') THEN -1 ELSE 1 END
WHERE account IN ((SELECT account FROM ledger_balances WHERE starts_with(account, 'fees:') LIMIT 1), (SELECT account FROM ledger_balances WHERE starts_with(account, 'session:') AND balance > 0 LIMIT 1))`, "earned fees"},
		{"a sealed epoch is open", `UPDATE epochs SET state = 'published', inputs = ''::bytea WHERE epoch = 2`, "earned"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := begin(t, p)
			if _, err := r.eyes.Exec(t.Context(), c.sql); err != nil {
				t.Fatal(err)
			}
			err := r.look(t.Context())
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want it to say %q", err, c.want)
			}
		})
	}
}

// Tokens that leave the vault by no content of ours are found where nobody expects
// it, and the failure tells how to see it again.
func TestTheftIsFound(t *testing.T) {
	p := newPlayer(t, options{providers: 40, steps: 8})
	was := actions
	t.Cleanup(func() { actions = was })
	actions = []action{{"pass", 2, (*run).passA}, {"steal", 1, func(r *run, ctx context.Context) (string, error) {
		defer func() { r.halts = "" }()
		return r.steal(ctx)
	}}}
	_, err := p.play(t.Context(), 3, 40)
	broken := (*Broken)(nil)
	if !errors.As(err, &broken) || !strings.Contains(err.Error(), "halted") {
		t.Fatalf("a theft gives %v", err)
	}
	var out bytes.Buffer
	p.shrinks = true
	p.explain(t.Context(), broken, &out)
	if !strings.Contains(out.String(), "again: make sim SEED=3 STEPS=") {
		t.Errorf("the failure is told as %s", out.String())
	}
}

// The second signature of a wallet is another one and valid.
func TestTwinSignature(t *testing.T) {
	r := newRun(&world{}, 1, "", "")
	key := keyOf("wallet")
	message := []byte("a message")
	twin, err := r.twinOf(key, message)
	if err != nil {
		t.Fatal(err)
	}
	first, err := solana.PrivateKey(key).Sign(message)
	if err != nil {
		t.Fatal(err)
	}
	if chain.Signature(first) == twin || !solana.Signature(twin).Verify(solana.PublicKey(chain.PublicOf(key)), message) {
		t.Errorf("signatures %s and %s", first, twin)
	}
}
