package audit

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// owned makes a network without beneficiaries, whose community is free, whose core
// unlocks in tranches, and whose research belongs to members, the operator one of them.
func owned(t *testing.T, name string) *operator {
	t.Helper()
	var keys []string
	for _, n := range memberNames {
		keys = append(keys, chain.PublicOf(testKey(n)).String())
	}
	o := foundWith(t, name, []byte(testPolicy), func(c *genesis.Config) {
		board, err := genesis.ParseAuthority("4of4:operator," + strings.Join(keys, ","))
		if err != nil {
			t.Fatal(err)
		}
		if c.Schedule, err = c.Schedule.Shorten(1000); err != nil { // to hash it is what takes time
			t.Fatal(err)
		}
		c.Unlocks = map[string]emissions.Unlock{"core": {Kind: emissions.UnlockTranches, From: 1, To: 4}}
		c.Owners = map[string]genesis.Authority{"research": board}
	})
	o.openAccounts(key(o, 0))
	for _, owner := range []ionet.Key{key(o, 0), mustAllocation(o, "core").Owner, mustAllocation(o, "community").Owner} {
		if err := o.chain.Airdrop(o.ctx, owner, 1_000_000_000); err != nil {
			t.Fatal(err)
		}
	}
	o.waitFinal()
	return o
}

// moves sends tokens of a category by its owner's key to the account of host 0.
func (o *operator) moves(category string, amount uint64) {
	o.t.Helper()
	al := mustAllocation(o, category)
	o.bare(o.p.Keys.Allocation[category], transferChecked(o, al.Account, chain.TokenAccount(key(o, 0), o.n.Mint), al.Owner, amount))
	o.waitFinal()
}

func notes(r *Report, text string) bool {
	return slices.ContainsFunc(r.Notes, func(n string) bool { return strings.Contains(n, text) })
}

// The owner of a category without beneficiaries moves what is unlocked, to the last
// base unit, has others move it, and closes the account that is empty.
func TestOwnersMoveWhatIsUnlocked(t *testing.T) {
	o := owned(t, "owners-move")
	al := mustAllocation(o, "community")
	o.moves("community", 7)
	r := o.audit()
	if r.Status() != 0 || !notes(r, "community: its owner moved 7 base units himself, in 1 transaction") {
		show(t, r)
		t.Errorf("status %d, notes %q; want 0 and one of 7 base units", r.Status(), r.Notes)
	}

	// What he sends back he may move again: more than ever was there leaves the account.
	o.bare(o.hosts[0].provider, transferChecked(o, chain.TokenAccount(key(o, 0), o.n.Mint), al.Account, key(o, 0), 7))
	o.waitFinal()
	o.bare(o.p.Keys.Allocation["community"], ownerSays(al, append([]byte{4}, 5, 0, 0, 0, 0, 0, 0, 0), key(o, 0)))
	o.waitFinal()
	o.bare(o.hosts[0].provider, transferChecked(o, al.Account, chain.TokenAccount(key(o, 0), o.n.Mint), key(o, 0), 5))
	o.waitFinal()
	o.moves("community", al.Amount.Base()-5)
	o.bare(o.p.Keys.Allocation["community"], ownerSays(al, []byte{9}, al.Owner))
	o.waitFinal()
	r = o.audit()
	if r.Status() != 0 || !notes(r, "community: its owner moved "+ionet.MustAmount(al.Amount.Base()+7).String()+" base units himself, in 3 transactions") {
		show(t, r)
		t.Errorf("all moved, account closed: status %d, notes %q", r.Status(), r.Notes)
	}
}

// ownerSays is an instruction of the Token program on an allocation account, which its
// owner signs.
func ownerSays(al ionet.Allocation, data []byte, other ionet.Key) solana.Instruction {
	return solana.NewInstruction(solana.TokenProgramID, solana.AccountMetaSlice{
		solana.NewAccountMeta(solana.PublicKey(al.Account), true, false), solana.NewAccountMeta(solana.PublicKey(other), true, false),
		solana.NewAccountMeta(solana.PublicKey(al.Owner), false, true),
	}, data)
}

// What is early is a finding, to the base unit, and stays one; what is moved after it
// is fine again once that much is unlocked. Another owner of the account is one too.
func TestOwnersMoveWhatIsLocked(t *testing.T) {
	o := owned(t, "owners-early")
	o.moves("core", 1)
	o.monthOver(1)
	first := o.byMonth("core", 1)
	o.moves("core", first-1) // all that is unlocked now
	checkFound(t, o.audit(), []expected{{1, "vault-debit"}})
	o.moves("core", 1)
	o.monthOver(2)
	o.moves("core", 1)
	r := o.audit()
	month := uint64(emissions.EpochsPerMonth)
	checkFound(t, r, []expected{{1, "vault-debit"}, {month + 1, "vault-debit"}})
	if !notes(r, "core: its owner moved "+ionet.MustAmount(first+2).String()+" base units himself, in 4 transactions") {
		t.Errorf("no note tells what the owner moved: %q", r.Notes)
	}
	al := mustAllocation(o, "core")
	to := key(o, 1)
	give := solana.NewInstruction(solana.TokenProgramID, solana.AccountMetaSlice{
		solana.NewAccountMeta(solana.PublicKey(al.Account), true, false), solana.NewAccountMeta(solana.PublicKey(al.Owner), false, true),
	}, append([]byte{6, 2, 1}, to[:]...))
	o.bare(o.p.Keys.Allocation["core"], give)
	o.waitFinal()
	checkFound(t, o.audit(), []expected{{1, "vault-debit"}, {month + 1, "vault-debit"}, {2*month + 1, "vault-authority"}})
}

// Members move what is theirs past the lanes, and what the operator signs as one of
// them is explained; what he signs beside that is not.
func TestMembersMoveWhatIsUnlocked(t *testing.T) {
	o := owned(t, "members-move")
	al := mustAllocation(o, "research")
	to := chain.TokenAccount(key(o, 0), o.n.Mint)
	in := transferChecked(o, al.Account, to, al.Owner, 9).(*solana.GenericInstruction)
	in.AccountValues[3] = solana.NewAccountMeta(solana.PublicKey(al.Owner), false, false)
	s, _ := o.n.Multisig(al.Owner)
	keys := []ed25519.PrivateKey{o.p.Keys.Operator}
	for _, name := range memberNames {
		keys = append(keys, testKey(name))
	}
	for _, m := range s.Members {
		in.AccountValues = append(in.AccountValues, solana.NewAccountMeta(solana.PublicKey(m), false, true))
	}
	o.bare(o.hosts[0].provider, in, keys...)
	o.waitFinal()
	r := o.audit()
	if r.Status() != 0 || !notes(r, "research: its owner moved 9 base units himself") {
		show(t, r)
		t.Errorf("status %d, notes %q; want 0 and one of 9 base units", r.Status(), r.Notes)
	}
	o.bare(o.p.Keys.Operator, transferChecked(o, to, to, key(o, 0), 1), o.hosts[0].provider)
	o.waitFinal()
	checkFound(t, o.audit(), []expected{{1, "signature-unexplained"}})
}
