package audit

import (
	"crypto/ed25519"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// step sends plan as the next position of a lane.
func (o *operator) step(lane string, plan chain.Plan, content func([]byte) []byte, keys ...ed25519.PrivateKey) string {
	o.t.Helper()
	address, ok := o.n.Lane(lane)
	if !ok {
		o.t.Fatalf("no lane %s", lane)
	}
	at := o.lanes[lane]
	if at == nil {
		at = &position{c: chain.FirstC(address)}
		o.lanes[lane] = at
	}
	cc := chain.Content{Kind: plan.Kind, Lane: address, N: at.n, C: at.c, Movements: plan.Movements, Memo: plan.Memo}
	file := cc.Encode()
	if content != nil {
		file = content(file)
	}
	if file != nil {
		if err := o.store.Put(o.ctx, publish.ContentName(cc.Hash()), file); err != nil {
			o.t.Fatal(err)
		}
	}
	secret := o.p.Keys.Secret
	plan.Steps = append([]chain.Step{{Lane: address, From: secret.Public(at.c), To: secret.Public(cc.Next())}}, plan.Steps...)
	if len(plan.Movements) > 0 {
		plan.Mint, plan.Decimals = o.n.Mint, uint8(o.n.Decimals)
		keys = append(keys, o.cosign(&plan)...)
	}
	hash, err := o.chain.LatestBlockhash(o.ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	plan.Blockhash = hash.Hash
	plan.Budget = plan.DefaultBudget()
	message, err := plan.Message()
	if err != nil {
		o.t.Fatal(err)
	}
	keys = slices.DeleteFunc(keys, func(k ed25519.PrivateKey) bool { return !slices.Contains(plan.Signers(), chain.PublicOf(k)) })
	signature := o.send(message, append(keys, secret.Key(at.c))...)
	at.n, at.c = at.n+1, cc.Next()
	return signature
}

// cosign lets members sign where the plan's source is a multisig's, and returns
// their keys.
func (o *operator) cosign(plan *chain.Plan) (keys []ed25519.PrivateKey) {
	source := plan.Movements[0].Source
	owner, _ := o.n.AuthorityOf(source)
	s, ok := o.n.Multisig(owner)
	if !ok || plan.Cosigners != nil {
		return nil
	}
	plan.Owners, plan.Cosigners = map[ionet.Key]ionet.Key{source: owner}, map[ionet.Key][]ionet.Key{owner: s.Members[:s.M]}
	for _, member := range s.Members[:s.M] {
		for _, name := range memberNames {
			if k := testKey(name); chain.PublicOf(k) == member {
				keys = append(keys, k)
			}
		}
	}
	return keys
}

func (o *operator) send(message []byte, keys ...ed25519.PrivateKey) string {
	o.t.Helper()
	tx, missing, err := chain.SignMessage(message, keys...)
	if err != nil || len(missing) > 0 {
		o.t.Fatalf("sign: %v, missing %v", err, missing)
	}
	// Without preflight: it would look at the state at confirmed, which does not have
	// the lane's former step yet.
	if err := o.chain.Send(o.ctx, tx, rpc.SendOptions{SkipPreflight: true}); err != nil {
		o.t.Fatal(err)
	}
	raw, err := chain.ParseRaw(tx, nil, nil)
	if err != nil {
		o.t.Fatal(err)
	}
	return raw.Signature().String()
}

// openAccounts makes the token accounts of these wallets.
func (o *operator) openAccounts(owners ...ionet.Key) {
	o.t.Helper()
	hash, err := o.chain.LatestBlockhash(o.ctx)
	if err != nil {
		o.t.Fatal(err)
	}
	message, err := chain.AccountCreation{FeePayer: o.n.Keys.Operator, Mint: o.n.Mint, Owners: owners, Blockhash: hash.Hash,
		Budget: chain.Budget{ComputeUnits: 300_000, LoadedBytes: 2 << 20}}.Message()
	if err != nil {
		o.t.Fatal(err)
	}
	o.send(message, o.p.Keys.Operator)
}

// pay sends a batch payout of amounts to the hosts' providers, by host.
func (o *operator) pay(amounts map[int]uint64, memo func(*proofs.PayoutMemo)) string {
	o.t.Helper()
	plan := chain.Plan{Kind: chain.KindPayout, Version: 1, FeePayer: o.n.Keys.Operator, Owners: map[ionet.Key]ionet.Key{o.n.Vaults.Reward: o.n.Keys.Operator}}
	m := proofs.PayoutMemo{Batch: [16]byte{byte(len(amounts)), byte(o.lanes["epoch"].n)}}
	for i := range o.hosts {
		if amounts[i] == 0 {
			continue
		}
		payee := chain.PublicOf(o.hosts[i].provider)
		amount := ionet.MustAmount(amounts[i])
		plan.Movements = append(plan.Movements, chain.Movement{Op: chain.Transfer, Source: o.n.Vaults.Reward, Destination: chain.TokenAccount(payee, o.n.Mint), Amount: amount})
		m.Count++
		m.Sum = ionet.MustAmount(m.Sum.Base() + amounts[i])
		o.balance[payee] -= amounts[i]
	}
	if memo != nil {
		memo(&m)
	}
	plan.Memo = m.String()
	// A payment in the slot of the seal that earned it is one too early.
	o.waitFinal()
	return o.step("pay-0", plan, nil, o.p.Keys.Operator)
}

// claim pays host i what it has earned, signed by its provider's wallet.
func (o *operator) claim(i int) {
	o.t.Helper()
	wallet := o.hosts[i].provider
	payee := chain.PublicOf(wallet)
	if err := o.chain.Airdrop(o.ctx, payee, 1_000_000_000); err != nil {
		o.t.Fatal(err)
	}
	amount := ionet.MustAmount(o.balance[payee])
	o.balance[payee] = 0
	o.waitFinal()
	o.step("claim-0", chain.Plan{
		Kind: chain.KindClaim, FeePayer: payee, Owners: map[ionet.Key]ionet.Key{o.n.Vaults.Reward: o.n.Keys.Operator},
		Movements:            []chain.Movement{{Op: chain.Transfer, Source: o.n.Vaults.Reward, Destination: chain.TokenAccount(payee, o.n.Mint), Amount: amount}},
		Memo:                 proofs.ClaimMemo{Wallet: payee, Sum: amount}.String(),
		CreateDestinationFor: payee,
	}, nil, wallet, o.p.Keys.Operator)
}

// fence passes the pay and claim lane with an empty content.
func (o *operator) fence() {
	o.t.Helper()
	m := proofs.FenceMemo{Instance: [16]byte{1}}
	o.step("pay-0", chain.Plan{Kind: chain.KindFence, Version: 1, FeePayer: o.n.Keys.Operator, Memo: m.String()}, nil, o.p.Keys.Operator)
}

func (o *operator) audit() *Report {
	o.t.Helper()
	o.waitFinal()
	r, err := Run(o.ctx, Config{Chain: o.chain, Store: o.store, Mint: o.n.Mint})
	if err != nil {
		o.t.Fatal(err)
	}
	return r
}
