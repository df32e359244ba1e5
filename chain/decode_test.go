package chain

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ionet-settlement/ionet"
)

// plans returns one signed transaction of each form.
func plans(t testing.TB) map[string]struct {
	Plan Plan
	Tx   []byte
} {
	f := newFixture()
	epoch, pay, claim := f.first("epoch"), f.first("pay-0"), f.first("claim-0")
	wallet := publicKey("wallet")
	var lanes []position
	var cs []ionet.Hash
	for _, name := range []string{"pay-0", "pay-1", "pay-2", "pay-3", "pay-4", "claim-0", "claim-1", "claim-2", "claim-3", "claim-4"} {
		lanes = append(lanes, f.first(name))
		cs = append(cs, f.first(name).c)
	}
	all := map[string]struct {
		Plan Plan
		Tx   []byte
	}{}
	add := func(name string, p Plan, cs []ionet.Hash, names ...string) {
		all[name] = struct {
			Plan Plan
			Tx   []byte
		}{p, f.sign(t, p, cs, names...)}
	}
	add("epoch-v0", f.epoch(t, epoch, 456621), []ionet.Hash{epoch.c})
	add("epoch-empty-v0", f.epoch(t, epoch, 0), []ionet.Hash{epoch.c})
	add("genesis-v1", f.genesis(t, epoch, 1, 2, 3, 4, 5), []ionet.Hash{epoch.c})
	add("payout-57-v1", f.payout(t, pay, 57), []ionet.Hash{pay.c})
	add("claim-v0", f.claim(t, claim, wallet, 77), []ionet.Hash{claim.c}, "wallet")
	members := []string{"member 0", "member 1", "member 2"}
	add("payout-54-2of3-v1", f.cosigned(t, f.payout(t, pay, 54), 1, members[:2]...), []ionet.Hash{pay.c}, members[:2]...)
	add("claim-2of3-v0", f.cosigned(t, f.claim(t, claim, wallet, 77), 1, members[1:]...), []ionet.Hash{claim.c}, "wallet", members[1], members[2])
	minted := f.cosigned(t, f.epoch(t, epoch, 456621), 0, members[0], members[2])
	minted.Version = 1
	add("epoch-2of3-v1", minted, []ionet.Hash{epoch.c}, members[0], members[2])
	handed := f.genesis(t, epoch, 1, 2, 3, 4, 5)
	handed.HandMintTo = MultisigAddress(PublicOf(f.operator), 0, f.members())
	add("genesis-2of3-v1", handed, []ionet.Hash{epoch.c})
	add("unlock-3-v1", f.unlock(t, pay, 3), []ionet.Hash{pay.c}, "seed owner")
	add("retire-v1", f.retire(t, epoch), []ionet.Hash{epoch.c})
	add("fees-56-v1", f.feesPaid(t, pay, 56), []ionet.Hash{pay.c})
	add("fees-54-2of3-v1", f.cosigned(t, f.feesPaid(t, pay, 54), 2, members[:2]...), []ionet.Hash{pay.c}, members[:2]...)
	seal := f.first("seal")
	add("receipts-49-v1", f.receipts(t, seal, 49), []ionet.Hash{seal.c})
	add("fence-10-v1", f.fence(t, lanes...), cs)
	return all
}

func TestDecodeReadsWhatMessageBuilds(t *testing.T) {
	for name, c := range plans(t) {
		d, err := Decode(c.Tx)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.Plan, d.Plan, cmp.Comparer(func(a, b ionet.Amount) bool { return a == b })); diff != "" {
			t.Errorf("%s: plan differs (-built +decoded):\n%s", name, diff)
		}
		if err := d.VerifySignatures(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every flipped byte either is refused, or gives a transaction whose
// signatures do not verify.
func TestEveryByteFlip(t *testing.T) {
	for name, c := range plans(t) {
		for i := range c.Tx {
			tx := append([]byte(nil), c.Tx...)
			tx[i] ^= 1 << (i % 8)
			if d, err := Decode(tx); err == nil && d.VerifySignatures() == nil {
				t.Errorf("%s: byte %d flipped, still verifies", name, i)
			}
		}
	}
}

func TestMessageTooLarge(t *testing.T) {
	f := newFixture()
	p := f.payout(t, f.first("pay-0"), 58)
	if _, err := p.Message(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("58 payees: got %v, want ErrTooLarge", err)
	}
	p.Version = 0
	if _, err := p.Message(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("58 payees in version 0: got %v, want ErrTooLarge", err)
	}
}

func TestSecretDoesNotPrint(t *testing.T) {
	s := testSecret()
	for _, verb := range []string{"%v", "%s", "%x", "%d", "%q", "%+v", "%#v"} {
		if got := sprintf(verb, s); got != redacted {
			t.Errorf("%s prints %q", verb, got)
		}
		if got := sprintf(verb, struct{ S Secret }{s}); !strings.Contains(got, redacted) {
			t.Errorf("%s of a struct prints %q", verb, got)
		}
	}
}
