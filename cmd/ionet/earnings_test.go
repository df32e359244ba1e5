package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// insertVerdict writes a verdict into an epoch's books.
func (w *town) insertVerdict(epoch int, device byte, provider, payee string, rule int, amount int64) {
	w.t.Helper()
	p, to, worker := public(provider), public(payee), public("worker")
	_, err := w.pool.Exec(w.t.Context(), `INSERT INTO verdicts (epoch, uuid, worker, provider, payee, rule, samples, weight, evidence, amount)
		VALUES ($1, $2, $3, $4, $5, $6, 5, 50, sha256(''), $7)`, epoch, append([]byte{device}, make([]byte, 15)...), worker[:], p[:], to[:], rule, amount)
	w.check(err)
}

func (w *town) insertEpoch(epoch int, state string) {
	w.t.Helper()
	_, err := w.pool.Exec(w.t.Context(), `INSERT INTO epochs (epoch, state, emission, sum, unissued, policy, inputs_root, verdicts_root, verdicts, memo, inputs)
		VALUES ($1, $2, 0, 0, 0, $3, $3, $3, 0, '', '')`, epoch, state, make([]byte, 32))
	w.check(err)
}

// TestEarnings: rows and sums are complete and exact over more pages than one, in
// each form, and a ledger that says otherwise is told.
func TestEarnings(t *testing.T) {
	w := openTown(t)
	w.says([]string{"earnings", "--server", w.server, "--provider", public("ann").String()}, `^no epoch is sealed yet$`)
	const epochs, devices = 40, 200 // 8,000 rows
	for e := 1; e <= epochs; e++ {
		w.insertEpoch(e, "sealed")
	}
	_, err := w.pool.Exec(t.Context(), `INSERT INTO verdicts (epoch, uuid, worker, provider, payee, rule, samples, weight, evidence, amount)
		SELECT e, decode(lpad(to_hex(d), 32, '0'), 'hex'), $1, $2, $2, CASE WHEN d % 5 = 0 THEN 5 ELSE 0 END, 60, 600, sha256(''), CASE WHEN d % 5 = 0 THEN 0 ELSE 100000000 + e + d END
		FROM generate_series(1, $3::bigint) e, generate_series(1, $4::bigint) d`, bytesOf("worker"), bytesOf("ann"), epochs, devices)
	w.check(err)
	w.insertEpoch(epochs+1, "published")
	w.insertVerdict(epochs+1, 1, "ann", "ann", 0, 77) // not sealed: not shown
	w.insertVerdict(3, 200, "ann", "bank", 0, 1_000)
	w.insertVerdict(4, 201, "bob", "ann", 0, 50)
	w.insertVerdict(4, 202, "bob", "bob", 0, 9_999) // of nobody here
	total := uint64(50)
	for e := 1; e <= epochs; e++ {
		for d := 1; d <= devices; d++ {
			if d%5 != 0 {
				total += uint64(100_000_000 + e + d)
			}
		}
	}
	tokens := ionet.MustAmount(total).Tokens(8)
	ask := func(more ...string) []string {
		return append([]string{"earnings", "--server", w.server, "--provider", public("ann").String()}, more...)
	}
	all := []string{"--from", "1", "--to", fmt.Sprint(epochs)}
	w.says(ask(all...), `^wallet \S+, epochs 1 to 40, amounts in IO$`, `^epoch +begins +verdicts +accepted +earned +paid to others$`,
		`^3 +`+epochTime(w.network, 3)+` +201 +161 +160\.\d{8} +0\.00001000$`, `^4 +\S+Z +201 +161 +\d+\.\d{8} +0\.00000000$`, `^rule +verdicts`, `^0 accepted +6402 +6402 +`+strings.ReplaceAll(tokens, ".", `\.`)+` +0\.00001000`,
		`^5 too-few-samples +1600 +0 +0\.00000000`, `^earned `+strings.ReplaceAll(tokens, ".", `\.`)+` IO$`, `^its devices earned 0\.00001000 IO more, paid to other wallets$`)
	w.refuses(ask(), "the rows sum up to "+tokens+" IO, the service's ledger says 0.00000000 IO was earned")
	w.refuses(ask("--from", "9", "--to", "8"), "--to 8 comes before --from 9")
	w.refuses(ask("--from", "0"), `--from: want a whole number from 1 on, not "0"`)
	w.refuses(ask("--by", "day", "--csv"), "--by is for the table")
	w.refuses(ask("--by", "month"), "--by month: want epoch, device, worker, day or rule")
	w.says(ask(append(all, "--by", "device")...), `^device +verdicts +accepted +earned +paid to others$`, `^GPU-00000000-0000-0000-0000-000000000001 +40 +40 +40\.00000860 +0\.00000000$`)
	w.says(ask(append(all, "--by", "worker")...), `^worker +verdicts`, `^`+public("worker").String()+` +8002 +6402 +`+strings.ReplaceAll(tokens, ".", `\.`)+` `)
	w.says(ask(append(all, "--by", "day")...), `^day +verdicts`, `^`+epochTime(w.network, 1)[:10]+` +\d+ +\d+ +\d`)
	w.says(ask(append(all, "--by", "rule")...), `^rule +verdicts`, `^5 too-few-samples +1600 `)
	w.refuses(ask("--csv", "--json"), "--csv and --json can't be used together")
	w.says(ask("--from", "41", "--to", "99"), `^epoch 41 is not sealed yet: the last sealed one is 40$`)

	out, err := w.do(ask(append(all, "--csv")...)...)
	w.check(err)
	rows, err := csv.NewReader(strings.NewReader(out)).ReadAll()
	w.check(err)
	if len(rows) != 1+epochs*devices+2 || strings.Join(rows[0], " ") != "epoch time device worker provider payee rule rule_name samples weight amount base_units" {
		t.Errorf("%d rows of CSV under %q", len(rows), rows[0])
	}
	sum := uint64(0)
	for _, r := range rows[1:] {
		base, err := ionet.ParseBase(r[11])
		w.check(err)
		if r[10] != base.Tokens(8) {
			t.Errorf("%s base units are shown as %s", r[11], r[10])
		}
		if r[5] == public("ann").String() {
			sum += base.Base()
		}
	}
	if sum != total {
		t.Errorf("CSV sums up to %d, want %d", sum, total)
	}
	out, err = w.do(ask(append(all, "--json")...)...)
	w.check(err)
	var doc struct {
		Rows          []client.EarningsRow
		From, Through uint64
		Epochs, Rules []struct {
			Epoch, Rule uint64
			Time        string
			Verdicts    int
			Earned      ionet.Amount
		}
		Earned ionet.Amount
		Others ionet.Amount `json:"paid_to_others"`
	}
	w.check(json.Unmarshal([]byte(out), &doc))
	if len(doc.Rows) != epochs*devices+2 || doc.From != 1 || doc.Through != epochs || doc.Earned.Base() != total || doc.Others.Base() != 1_000 || len(doc.Epochs) != epochs || len(doc.Rules) != 2 {
		t.Errorf("JSON has %d rows, epochs %d to %d with %d sums, %d rules, earned %s and %s", len(doc.Rows), doc.From, doc.Through, len(doc.Epochs), len(doc.Rules), doc.Earned, doc.Others)
	}
	if doc.Epochs[2].Time != epochTime(w.network, 3) || !strings.Contains(out, `,"time":"`+epochTime(w.network, 40)+`","rule_name"`) {
		t.Errorf("epoch 3 begins at %s; want the times of epochs", doc.Epochs[2].Time)
	}
	byEpoch := uint64(0)
	for _, e := range doc.Epochs {
		byEpoch += e.Earned.Base()
	}
	if byEpoch != total || doc.Rules[0].Earned.Base() != total || doc.Rules[1].Rule != 5 || doc.Rules[1].Verdicts != 1600 {
		t.Errorf("the sums by epoch and rule are others: %d, %+v", byEpoch, doc.Rules)
	}
	out, err = w.do(ask("--from", "50", "--to", "60", "--json")...)
	w.check(err)
	if !json.Valid([]byte(out)) || !strings.Contains(out, `"rows":[`) {
		t.Errorf("nothing as JSON is %s", out)
	}
	if out, err = w.do(ask("--from", "50", "--to", "60", "--csv")...); err != nil || strings.Count(out, "\n") != 1 {
		t.Errorf("nothing as CSV is %q, %v", out, err)
	}
}

func bytesOf(name string) []byte {
	k := public(name)
	return k[:]
}
