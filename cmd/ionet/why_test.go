package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestWhyByState: proven is only what the chain commits to, and an epoch without a
// price says so.
func TestWhyByState(t *testing.T) {
	const signature = "5sig"
	verdict := client.Verdict{Device: gpu, Worker: public("worker"), Name: "accepted", Text: "The device earned its share.", Samples: 3, Weight: 30_000}
	record := recordOf(verdict).Append(nil)
	memo := proofs.EpochMemo{Epoch: 7, Verdicts: proofs.Root([][]byte{record}), Count: 1, Sum: verdict.Amount}.String()
	other := proofs.EpochMemo{Epoch: 8, Verdicts: proofs.Root([][]byte{record}), Count: 1}.String()
	forged := proofs.EpochMemo{Epoch: 7, Verdicts: ionet.HashOf(record), Count: 1}.String()
	price := &client.UsedPrice{Epoch: 6, MicroUSD: 50_000}
	const notYet = "judged, not sealed yet: the epoch is published"
	for _, c := range []struct {
		name     string
		epoch    client.Epoch
		verdicts int
		says     []string
		never    string
		err      string
		asked    asked
		rule     uint16
	}{
		{name: "sealed", epoch: client.Epoch{State: client.EpochSealed, Memo: memo, Signature: signature, Draw: "schedule"}, verdicts: 1,
			says: []string{"rule 0 accepted", "proven against ", "sealed by transaction " + signature, "the chain was not asked, give --rpc"}, never: "drew"},
		{name: "asked the chain", epoch: client.Epoch{State: client.EpochSealed, Memo: memo, Signature: signature, Draw: "schedule"}, verdicts: 1, asked: asked{slot: 99},
			says: []string{"sealed by transaction " + signature, "the chain has it: final in slot 99"}, never: "not asked"},
		{name: "published", epoch: client.Epoch{State: client.EpochPublished, Memo: memo, Signature: signature}, verdicts: 1, says: []string{notYet}, never: "proven"},
		{name: "too few samples", epoch: client.Epoch{State: client.EpochPublished}, verdicts: 1, rule: 5, asked: asked{policy: &emissions.Policy{Samples: emissions.Samples{Minimum: 50}}},
			says: []string{"  the policy asks for 50 samples of the epoch's 60 at least", notYet}},
		{name: "published without a memo", epoch: client.Epoch{State: client.EpochPublished}, verdicts: 1, says: []string{notYet}, never: "proven"},
		{name: "no price", epoch: client.Epoch{State: client.EpochSealed, Memo: memo, Signature: signature, Draw: "target"}, verdicts: 1,
			says: []string{"epoch 7 drew by target and had no price in reach: nothing was issued", "proven against "}},
		{name: "price", epoch: client.Epoch{State: client.EpochPublished, Memo: memo, Draw: "target", Price: price}, verdicts: 1,
			says: []string{"epoch 7 drew by target at $0.050000 of epoch 6: no more was issued than the target needed", notYet}},
		{name: "sealed without a memo", epoch: client.Epoch{State: client.EpochSealed, Signature: signature}, verdicts: 1, err: "not the seal of epoch 7"},
		{name: "another epoch's memo", epoch: client.Epoch{State: client.EpochSealed, Memo: other}, verdicts: 1, err: "not the seal of epoch 7"},
		{name: "another verdict", epoch: client.Epoch{State: client.EpochPublished, Memo: forged}, verdicts: 1, err: "does not commit to"},
		{name: "no verdict", epoch: client.Epoch{State: client.EpochSealed, Memo: memo}, err: "no verdict of GPU-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := client.DeviceEpoch{Epoch: c.epoch}
			d.Epoch.Epoch = 7
			for range c.verdicts {
				v := verdict
				v.Rule = c.rule
				d.Verdicts = append(d.Verdicts, client.ProvenVerdict{Verdict: v})
			}
			var out bytes.Buffer
			why := whyCmd{Device: gpu, Epoch: 7}
			err := why.explain(&stage{ctx: t.Context(), out: &out}, &ionet.Network{Decimals: 8, Samples: 60}, d, c.asked)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got %v, want %q", err, c.err)
			}
			for _, want := range c.says {
				if !strings.Contains(out.String(), want) {
					t.Errorf("no %q in\n%s", want, out.String())
				}
			}
			if c.err != "" && strings.Contains(out.String(), "proven") || c.never != "" && strings.Contains(out.String(), c.never) {
				t.Errorf("it says\n%s", out.String())
			}
		})
	}
}

// TestWhyAsksTheChain: with --rpc the seal is read from the chain, and a service that
// names another transaction or memo is found out; too few samples come with the number
// that the policy asks for.
func TestWhyAsksTheChain(t *testing.T) {
	w := openTown(t)
	wallet, file := filepath.Join(w.dir, "wallet.json"), filepath.Join(w.dir, "delegation")
	w.says([]string{"keygen", "--out", wallet}, `^wallet `)
	w.says([]string{"delegate", "--server", w.server, "--keypair", wallet, "--worker", public("worker").String(), "--out", file}, `accepted$`)
	why := []string{"why", "--server", w.server, "--device", gpu.String()}
	asking := append(why[:len(why):len(why)], "--rpc", w.rpc)
	w.refuses(why, "no epoch is sealed yet")
	w.settle()
	w.prove(w.envelopeIn(file), 0)
	w.waitSealed(1)
	w.says(why, `rule 5 too-few-samples: `, `^  the policy asks for 2 samples of the epoch's 6 at least$`, `: the chain was not asked, give --rpc$`)
	w.says(asking, `^epoch 1, `, `^the chain has it: final in slot \d+, with this memo$`)
	w.refuses([]string{"why", "--server", w.server, "--device", (ionet.UUID{9}).String(), "--epoch", "1"}, "--device "+(ionet.UUID{9}).String()+" in epoch 1: ")

	_, err := w.pool.Exec(t.Context(), `UPDATE epochs SET memo = replace(memo, 'count=1', 'count=2') WHERE epoch = 1`)
	w.check(err)
	w.refuses(asking, `the service shows "io1 epoch k=1 `)
	_, err = w.pool.Exec(t.Context(), `UPDATE epochs SET signature = decode(repeat('01', 64), 'hex') WHERE epoch = 1`)
	w.check(err)
	w.refuses(asking, "the chain has no final transaction")
}
