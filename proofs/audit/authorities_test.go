package audit

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

var memberNames = []string{"member a", "member b", "member c"}

// foundBoard makes a network whose mint and reward vault belong to 2 of 3.
func foundBoard(t *testing.T, name string) *operator {
	t.Helper()
	var keys []string
	for _, n := range memberNames {
		keys = append(keys, chain.PublicOf(testKey(n)).String())
	}
	text := "2of3:" + strings.Join(keys, ",")
	return foundWith(t, name, []byte(testPolicy), func(c *genesis.Config) {
		for _, to := range []*genesis.Authority{&c.Mint, &c.Reward} {
			var err error
			if *to, err = genesis.ParseAuthority(text); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Epochs, a payout and a claim by two of three hold.
func TestMultisigNetworkHolds(t *testing.T) {
	o := foundBoard(t, "board")
	o.epoch(crook{})
	o.openAccounts(key(o, 0))
	o.waitFinal()
	o.pay(map[int]uint64{0: 1000}, nil)
	o.claim(1)
	o.epoch(crook{})
	r := o.audit()
	if !slices.Contains(r.Notes, "who signs: any 2 of 3 members mints, any 2 of 3 members pays from the reward vault, the key "+o.n.Keys.Fees.String()+" from the fee vault") {
		t.Errorf("the notes do not tell who signs: %v", r.Notes)
	}
	if r.Status() != 0 || r.Payouts != 2 || r.Claims != 1 || r.Epochs != 2 {
		show(t, r)
		t.Errorf("status %d, %d payouts, %d claims: want 0, 2, 1", r.Status(), r.Payouts, r.Claims)
	}
}

// byMembers replaces the authority of a token instruction, its last account, by a
// multisig and its signers.
func (o *operator) byMembers(in *solana.GenericInstruction, multisig ionet.Key) []ed25519.PrivateKey {
	s, _ := o.n.Multisig(multisig)
	in.AccountValues[len(in.AccountValues)-1] = solana.NewAccountMeta(solana.PublicKey(multisig), false, false)
	var keys []ed25519.PrivateKey
	for _, name := range memberNames {
		if k := testKey(name); slices.Contains(s.Members[:s.M], chain.PublicOf(k)) {
			in.AccountValues = append(in.AccountValues, solana.NewAccountMeta(solana.PublicKey(chain.PublicOf(k)), false, true))
			keys = append(keys, k)
		}
	}
	return keys
}

// What m members can do past the lanes is found, even where nothing is left to see
// in the end: tokens that move, and a mint that is lent.
func TestMembersPastTheLanes(t *testing.T) {
	o := foundBoard(t, "past-the-lanes")
	o.epoch(crook{})
	o.openAccounts(key(o, 0), key(o, 1))
	o.waitFinal()
	o.pay(map[int]uint64{0: 1000}, nil)
	o.waitFinal()
	reward, minter := o.n.Authorities.Reward, o.n.Authorities.Mint
	other := chain.TokenAccount(key(o, 1), o.n.Mint)

	// A stranger who names the multisig in a transfer of his own does no harm.
	payee, account := o.hosts[0].provider, chain.TokenAccount(key(o, 0), o.n.Mint)
	if err := o.chain.Airdrop(o.ctx, key(o, 0), 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	o.waitFinal()
	named := transferChecked(o, account, other, key(o, 0), 30).(*solana.GenericInstruction)
	named.AccountValues = append(named.AccountValues, solana.NewAccountMeta(solana.PublicKey(reward), false, false))
	o.bare(payee, named)
	if r := o.audit(); r.Status() != 0 {
		show(t, r)
		t.Errorf("a stranger's transfer that names the multisig: status %d, want 0", r.Status())
	}

	out := transferChecked(o, o.n.Vaults.Reward, other, reward, 3).(*solana.GenericInstruction)
	o.bare(payee, out, o.byMembers(out, reward)...)
	checkFound(t, o.audit(), []expected{{2, "signature-unexplained"}, {2, "vault-debit"}})

	o.epoch(crook{})
	lend := setMint(o, minter, o.n.Keys.Operator)
	o.bare(payee, lend, o.byMembers(lend, minter)...)
	checkFound(t, o.audit(), []expected{{0, "mint-authority"}, {2, "signature-unexplained"}, {2, "vault-debit"}, {3, "signature-unexplained"}})
	o.bare(o.p.Keys.Operator, setMint(o, o.n.Keys.Operator, minter))
	r := o.audit()
	checkFound(t, r, []expected{{2, "signature-unexplained"}, {2, "vault-debit"}, {3, "signature-unexplained"}})
}

// A vault that has another owner, or that another may move tokens out of.
func TestOtherOwners(t *testing.T) {
	o := foundBoard(t, "other-owners")
	o.epoch(crook{})
	reward, operator := o.n.Authorities.Reward, o.p.Keys.Operator
	vault := func(tag []byte, accounts ...ionet.Key) *solana.GenericInstruction {
		metas := solana.AccountMetaSlice{solana.NewAccountMeta(solana.PublicKey(o.n.Vaults.Reward), true, false)}
		for _, k := range accounts {
			metas = append(metas, solana.NewAccountMeta(solana.PublicKey(k), false, false))
		}
		return solana.NewInstruction(solana.TokenProgramID, metas, tag)
	}
	approve := vault(append([]byte{4}, 1, 0, 0, 0, 0, 0, 0, 0), key(o, 0), reward)
	o.bare(operator, approve, o.byMembers(approve, reward)...)
	checkFound(t, o.audit(), []expected{{0, "vault-authority"}, {2, "signature-unexplained"}, {2, "vault-authority"}})
	to := o.n.Keys.Operator
	give := vault(append([]byte{6, 2, 1}, to[:]...), reward)
	o.bare(operator, give, o.byMembers(give, reward)...)
	r := o.audit()
	if i := slices.IndexFunc(r.Findings, func(f Finding) bool { return f.Epoch == 0 }); i < 0 || r.Findings[i].Found != "owner "+to.String() {
		show(t, r)
		t.Error("the vault's new owner is not found at the snapshot")
	}
}

// setMint gives the mint authority from one key to another.
func setMint(o *operator, from, to ionet.Key) *solana.GenericInstruction {
	return solana.NewInstruction(solana.TokenProgramID, solana.AccountMetaSlice{
		solana.NewAccountMeta(solana.PublicKey(o.n.Mint), true, false), solana.NewAccountMeta(solana.PublicKey(from), false, from == o.n.Keys.Operator),
	}, append([]byte{6, 0, 1}, to[:]...))
}

// The rules of who signs, on plans that the chain would not let pass, and on a file
// that says otherwise than the chain.
func TestWhoSigns(t *testing.T) {
	o := foundBoard(t, "who-signs")
	o.waitFinal()
	a := &auditor{network: o.n}
	reward, minter := o.n.Authorities.Reward, o.n.Authorities.Mint
	s, _ := o.n.Multisig(reward)
	stranger := chain.PublicOf(testKey("stranger"))
	plan := func(kind chain.Kind, source, owner ionet.Key, cosigners ...ionet.Key) chain.Plan {
		p := chain.Plan{Kind: kind, Owners: map[ionet.Key]ionet.Key{source: owner}}
		if len(cosigners) > 0 {
			p.Cosigners = map[ionet.Key][]ionet.Key{owner: cosigners}
		}
		return p
	}
	for name, c := range map[string]struct {
		plan   chain.Plan
		source ionet.Key
		fine   bool
	}{
		"two members":              {plan(chain.KindPayout, o.n.Vaults.Reward, reward, s.Members[:2]...), o.n.Vaults.Reward, true},
		"three members":            {plan(chain.KindPayout, o.n.Vaults.Reward, reward, s.Members...), o.n.Vaults.Reward, true},
		"the key of the fees":      {plan(chain.KindWithdrawal, o.n.Vaults.Fee, o.n.Keys.Fees), o.n.Vaults.Fee, true},
		"genesis by the operator":  {plan(chain.KindGenesis, o.n.Mint, o.n.Keys.Operator), o.n.Mint, true},
		"one member":               {plan(chain.KindPayout, o.n.Vaults.Reward, reward, s.Members[0]), o.n.Vaults.Reward, false},
		"nobody":                   {plan(chain.KindPayout, o.n.Vaults.Reward, reward), o.n.Vaults.Reward, false},
		"a stranger among them":    {plan(chain.KindPayout, o.n.Vaults.Reward, reward, s.Members[0], s.Members[1], stranger), o.n.Vaults.Reward, false},
		"the operator":             {plan(chain.KindPayout, o.n.Vaults.Reward, o.n.Keys.Operator), o.n.Vaults.Reward, false},
		"members of the minters":   {plan(chain.KindPayout, o.n.Vaults.Reward, minter, s.Members[:2]...), o.n.Vaults.Reward, false},
		"an epoch by the operator": {plan(chain.KindEpoch, o.n.Mint, o.n.Keys.Operator), o.n.Mint, false},
		"fees by members":          {plan(chain.KindWithdrawal, o.n.Vaults.Fee, o.n.Keys.Fees, s.Members[:2]...), o.n.Vaults.Fee, false},
		"an account of nobody":     {plan(chain.KindPayout, stranger, o.n.Keys.Operator), stranger, false},
	} {
		if err := a.checkSource(c.plan, c.source); (err == nil) != c.fine {
			t.Errorf("%s: got %v, want none: %t", name, err, c.fine)
		}
	}
	lying := *o.n
	lying.Multisigs = slices.Clone(o.n.Multisigs)
	lying.Multisigs[1].M = 1
	a = &auditor{network: &lying, r: &Report{}, source: newSource(o.chain, o.n.Mint)}
	if err := a.snapshot(o.ctx, []ionet.Key{lying.Multisigs[0].Address, lying.Multisigs[1].Address}); err != nil {
		t.Fatal(err)
	}
	a.checkMultisigs()
	a.checkAuthorities(&chain.Decoded{})
	var rules []string
	for _, f := range a.r.Findings {
		rules = append(rules, f.Rule)
	}
	if want := []string{"multisig", "derivation", "mint-authority"}; !slices.Equal(rules, want) {
		t.Errorf("a file that says 1 of 3, and a genesis that hands nothing over: got %v, want %v", rules, want)
	}
	if got := fmt.Sprint(a.r.Findings[0].Expected); got == fmt.Sprint(a.r.Findings[0].Found) {
		t.Errorf("the finding does not tell the difference: %s", got)
	}
}
