package main

import (
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
)

type whyCmd struct {
	server
	Device ionet.UUID `required:"" placeholder:"GPU-UUID" help:"The device."`
	Epoch  uint64     `range:"1.." placeholder:"N" help:"The epoch; the last one sealed by default."`
	RPC    []string   `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster: read the seal from the chain, and compare. Repeat for more endpoints."`
}

// Help shows examples below the flags.
func (c *whyCmd) Help() string {
	return `The verdict names the rule that accepted or refused the device. Once the epoch is sealed, the proof ties the
verdict to the seal's memo, and --rpc asks the chain for that memo; without, it is as the service shows it. Before, the
verdict is judged and not proven yet. Whether the verdict is right, ionet-audit recomputes.

Examples:
  ionet why --server https://ionetd.example --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b
  ionet why --server https://ionetd.example --device GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b --epoch 12 \
    --rpc https://rpc.example`
}

// asked is what was found out beside the verdicts.
type asked struct {
	slot   uint64            // of the seal, as the chain has it; 0: the chain was not asked
	policy *emissions.Policy // nil: no verdict needs it
}

// Run explains a device's epoch. What is sealed is checked against the seal's memo;
// what is only judged is shown, and said not to be proven.
func (c *whyCmd) Run(s *stage) error {
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	if c.Epoch == 0 {
		head, err := api.Head(s.ctx)
		if err != nil {
			return err
		}
		if c.Epoch = head.Sealed; c.Epoch == 0 {
			return errors.New("no epoch is sealed yet: name one that is judged by --epoch")
		}
	}
	d, err := api.Device(s.ctx, c.Device, c.Epoch)
	if err != nil {
		return fmt.Errorf("--device %s in epoch %d: %w", c.Device, c.Epoch, err)
	}
	var a asked
	if a.policy, err = policyOf(s, api, d); err != nil {
		return err
	}
	if d.Epoch.State == client.EpochSealed && len(c.RPC) > 0 {
		cluster, err := openCluster(s, c.RPC, network)
		if err != nil {
			return err
		}
		if a.slot, err = checkMemo(s, cluster, network, d.Epoch.Signature, chain.KindEpoch, d.Epoch.Memo); err != nil {
			return fmt.Errorf("the seal of epoch %d: %w", c.Epoch, err)
		}
	}
	return c.explain(s, network, d, a)
}

// policyOf returns the policy of the epoch where too few samples counted, else nil.
func policyOf(s *stage, api *client.Client, d client.DeviceEpoch) (*emissions.Policy, error) {
	for _, v := range d.Verdicts {
		if !tooFew(v.Verdict) {
			continue
		}
		file, err := api.File(s.ctx, "policies/"+d.Epoch.Policy.String()+".toml")
		if err != nil {
			return nil, fmt.Errorf("read the policy of epoch %d: %w", d.Epoch.Epoch, err)
		}
		if ionet.HashOf(file) != d.Epoch.Policy {
			return nil, fmt.Errorf("the service shows another policy than %s, that of epoch %d", d.Epoch.Policy, d.Epoch.Epoch)
		}
		return emissions.ParsePolicy(file)
	}
	return nil, nil
}

// tooFew reports whether the verdict's rule counts samples against the policy's minimum.
func tooFew(v client.Verdict) bool {
	switch proofs.Rule(v.Rule) {
	case proofs.TooFewSamples, proofs.Late, proofs.ForeignBeacon:
		return true
	}
	return false
}

func (c *whyCmd) explain(s *stage, network *ionet.Network, d client.DeviceEpoch, a asked) error {
	isSealed := d.Epoch.State == client.EpochSealed
	var seal proofs.EpochMemo
	if isSealed || d.Epoch.Memo != "" {
		memo, err := proofs.ParseMemo(d.Epoch.Memo)
		var ok bool
		if seal, ok = memo.(proofs.EpochMemo); err != nil || !ok || seal.Epoch != c.Epoch {
			return fmt.Errorf("the service shows a memo that is not the seal of epoch %d: %q", c.Epoch, d.Epoch.Memo)
		}
	}
	if len(d.Verdicts) == 0 {
		return fmt.Errorf("the service shows no verdict of %s in epoch %d", c.Device, c.Epoch)
	}
	for _, v := range d.Verdicts {
		if seal.Epoch != 0 {
			record := recordOf(v.Verdict).Append(nil)
			if err := proofs.CheckProof(v.Proof, seal.Verdicts, int(seal.Count), int(v.Index), record); err != nil {
				return fmt.Errorf("the service shows a verdict that the seal does not commit to: %w", err)
			}
		}
		s.print("epoch %d, %s, worker %s", c.Epoch, v.Verdict.Device, v.Verdict.Worker)
		s.print("  rule %d %s: %s", v.Verdict.Rule, v.Verdict.Name, v.Verdict.Text)
		if a.policy != nil && tooFew(v.Verdict) {
			s.print("  the policy asks for %d samples of the epoch's %d at least", a.policy.Samples.Minimum, network.Samples)
		}
		s.print("  evidence %s: %s", v.Verdict.Evidence, evidenceOf(v.Verdict))
		s.print("  %d samples, weight %d, %s IO to %s", v.Verdict.Samples, v.Verdict.Weight, v.Verdict.Amount.Tokens(network.Decimals), v.Verdict.Payee)
	}
	if d.Epoch.Draw == emissions.DrawTarget {
		s.print("epoch %d drew by %s", c.Epoch, whyDrawn(d.Epoch))
	}
	if !isSealed {
		s.print("judged, not sealed yet: the epoch is %s, and nothing on chain commits to this before its seal is final; ask again in a minute, ionet epochs shows the state", d.Epoch.State)
		return nil
	}
	s.print("proven against %s, sealed by transaction %s", seal.Verdicts, d.Epoch.Signature)
	if a.slot == 0 {
		s.print("that the transaction has this seal is what the service says: the chain was not asked, give --rpc")
		return nil
	}
	s.print("the chain has it: final in slot %d, with this memo", a.slot)
	return nil
}

// evidenceOf says of what statements a verdict's evidence is the hash.
func evidenceOf(v client.Verdict) string {
	if r := proofs.Rule(v.Rule); r.Known() {
		return "hash of the ids of " + r.Evidence()
	}
	return "of a rule that this build does not know"
}

// whyDrawn says what the draw by target did to what was issued.
func whyDrawn(e client.Epoch) string {
	if e.Price == nil {
		return "target and had no price in reach: nothing was issued, also to devices that were accepted"
	}
	return drawn(e) + ": no more was issued than the target needed"
}

func recordOf(v client.Verdict) proofs.Verdict {
	return proofs.Verdict{
		UUID: v.Device, Worker: v.Worker, Provider: v.Provider, Payee: v.Payee, Rule: proofs.Rule(v.Rule),
		Samples: v.Samples, Weight: v.Weight, Evidence: v.Evidence, Amount: v.Amount,
	}
}
