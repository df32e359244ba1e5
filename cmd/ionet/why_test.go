package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
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
	}{
		{name: "sealed", epoch: client.Epoch{State: client.EpochSealed, Memo: memo, Signature: signature, Draw: "schedule"}, verdicts: 1,
			says: []string{"rule 0 accepted", "proven against ", "sealed by transaction " + signature}, never: "drew"},
		{name: "published", epoch: client.Epoch{State: client.EpochPublished, Memo: memo, Signature: signature}, verdicts: 1, says: []string{notYet}, never: "proven"},
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
				d.Verdicts = append(d.Verdicts, client.ProvenVerdict{Verdict: verdict})
			}
			var out bytes.Buffer
			why := whyCmd{Device: gpu, Epoch: 7}
			err := why.explain(&stage{ctx: t.Context(), out: &out}, &ionet.Network{Decimals: 8}, d)
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
