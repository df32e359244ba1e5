package main

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

// checkPayouts looks at what ionetd payouts tells of a service that has fenced and run
// payouts once, of which nobody was paid.
func checkPayouts(t *testing.T, url string, command func(name ...string) (string, error)) {
	t.Helper()
	got, err := command("payouts")
	if err != nil {
		t.Errorf("payouts: %v", err)
	}
	for _, line := range []string{`^minimum  \d+\.\d{8} IO, by the policy in force$`, `^waiting  0 payees for 0\.00000000 IO, of whom 0 held$`, `^run      [0-9a-f]{32} asked at \S+Z, over at \S+Z$`} {
		if !regexp.MustCompile(`(?m)` + line).MatchString(got) {
			t.Errorf("payouts has no line %s:\n%s", line, got)
		}
	}
	text, err := command("payouts", "--json")
	if err != nil {
		t.Errorf("payouts --json: %v", err)
	}
	var told, served client.Payouts
	if err := json.Unmarshal([]byte(text), &told); err != nil || len(told.Runs) != 1 || told.Runs[0].Ended == 0 || told.Minimum.IsZero() {
		t.Errorf("payouts --json: %v\n%s", err, text)
	}
	body, err := get(url + "/v1/payouts")
	if err == nil {
		err = json.Unmarshal([]byte(body), &served)
	}
	if err != nil || served.Minimum != told.Minimum || len(served.Runs) != 1 || served.Runs[0] != told.Runs[0] || served.Next == 0 {
		t.Errorf("/v1/payouts: %v\n%s", err, body)
	}
}

// What people read: every state with its age, and why a payee waits.
func TestPrintPayouts(t *testing.T) {
	now := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	payee := ionet.Key{9}
	p := settlement.Payouts{
		Minimum: ionet.MustAmount(50), Waiting: 2, Due: ionet.MustAmount(1234), WaitingFees: 1, DueFees: ionet.MustAmount(88),
		Runs: []settlement.Run{{ID: [16]byte{1}, Asked: now.Add(-time.Minute)}},
		Held: []settlement.HeldPayee{{Payee: payee, Owed: ionet.MustAmount(77), Fees: ionet.MustAmount(88), Reason: "the token account is frozen", RetryAt: now.Add(time.Minute)}},
		Withdrawals: []settlement.WaitingWithdrawal{{
			Payment: [16]byte{2}, Renter: payee, To: payee, Amount: ionet.MustAmount(33), Since: now, Expires: now.Add(time.Hour), RetryAt: now.Add(time.Minute), Reason: "the signer refuses it",
		}},
		Outgoing: []settlement.Outgoing{
			{Kind: chain.KindPayout, Lane: "pay-0", Position: 7, State: settlement.OutgoingDead, Payees: 2, Amount: ionet.MustAmount(100), Since: now.Add(-90 * time.Second), Attempts: 3, Reason: "AccountNotFound"},
			{Kind: chain.KindClaim, Lane: "claim-1", Position: 4, State: settlement.OutgoingPaid, Payees: 1, Amount: ionet.MustAmount(5), Since: now.Add(-50 * time.Hour), Attempts: 1, Signature: chain.Signature{1}, Slot: 12},
		},
	}
	var out bytes.Buffer
	if err := printPayouts(&stage{out: &out}, p, 2, now); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"minimum  0.50 IO, by the policy in force",
		"waiting  2 payees for 12.34 IO, of whom 1 held",
		"fees     1 payee for 0.88 IO",
		"run      01000000000000000000000000000000 asked at 2027-03-01T11:59:00Z, open",
		"held     " + payee.String() + ", owed 0.77 IO and 0.88 IO of fees, next try at 2027-03-01T12:01:00Z: the token account is frozen",
		"withdraw 02000000000000000000000000000000 of " + payee.String() + ", 0.33 IO to " + payee.String() +
			", asked at 2027-03-01T12:00:00Z, expires at 2027-03-01T13:00:00Z, next try at 2027-03-01T12:01:00Z: the signer refuses it",
		"lane     position  kind    state  age    attempts  payees  IO    transaction  reason",
		"pay-0    7         payout  dead   1m30s  3         2       1.00  -            AccountNotFound",
		"claim-1  4         claim   paid   2d2h   1         1       0.05  " + chain.Signature{1}.String() + "  ",
	}, "\n") + "\n"
	squeeze := func(s string) string { return regexp.MustCompile(` +`).ReplaceAllString(s, " ") }
	if got := squeeze(out.String()); got != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, squeeze(want))
	}
}
