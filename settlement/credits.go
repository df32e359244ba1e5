package settlement

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// whole is the place of a credit that is the change of an account's balance by a
// transaction as a whole; Inner then counts the accounts.
const whole = -1

// credit is one credit of a token account of ours, by others.
type credit struct {
	tx      *rpc.Transaction
	place   chain.Place
	account ionet.Key
	mint    ionet.Key
	source  ionet.Key // zero where it is not known
	amount  uint64
	move    chain.Move

	reason    string // why it is in suspense; "" while that is open, and where it is a renter's
	renter    ionet.Key
	reference ionet.Key
	booked    bool // the account is a vault: the ledger has it
}

// creditsOf returns what a transaction of others credits to the vaults. What one of
// our lanes carried is none, wherever it went. Instructions and balances must tell the
// same, else the vault's change as a whole is one credit, and suspect.
func (s *Service) creditsOf(t *rpc.Transaction) []credit {
	if t.Err != nil || s.isOurs(t) {
		return nil
	}
	inner := map[int][]chain.Instruction{}
	for _, in := range t.Inner {
		inner[in.Outer] = append(inner[in.Outer], in.Instructions...)
	}
	moves := chain.Moves(t.Raw.Instructions, inner)
	n := s.cfg.Network
	return append(vaultCredits(t, moves, n.Mint, n.Vaults.Fee, 0), vaultCredits(t, moves, n.Mint, n.Vaults.Reward, 1)...)
}

// isOurs reports whether the transaction stepped a lane of this network: the lane's
// one-time key signed it, so it is one of ours.
func (s *Service) isOurs(t *rpc.Transaction) bool {
	d, err := chain.Decode(t.Bytes)
	return err == nil && slices.ContainsFunc(d.Plan.Steps, func(st chain.Step) bool {
		_, ours := s.cfg.Network.LaneName(st.Lane)
		return ours
	})
}

func vaultCredits(t *rpc.Transaction, moves []chain.Move, mint, vault ionet.Key, nth int) []credit {
	changed := tokenChange(t, mint, vault)
	found, said, agree := chain.CreditsTo(vault, moves, changed)
	var list []credit
	if agree {
		for _, m := range found {
			list = append(list, credit{tx: t, place: m.Place, account: vault, mint: mint, source: m.Source, amount: m.Amount, move: m, booked: true})
		}
		return list
	}
	if changed.Sign() <= 0 || !changed.IsUint64() {
		return nil // a debit is the reconciler's
	}
	reason := fmt.Sprintf("its instructions move %s base units to the vault, the balance changed by %s", said, changed)
	if said.Cmp(changed) == 0 {
		reason = "it also takes tokens from the vault"
	}
	return []credit{{tx: t, place: chain.Place{Outer: whole, Inner: nth}, account: vault, mint: mint, amount: changed.Uint64(), booked: true, reason: reason}}
}

// tokenChange returns what the transaction added to a token account.
func tokenChange(t *rpc.Transaction, mint, account ionet.Key) *big.Int {
	sum := new(big.Int)
	for _, b := range t.PostTokens {
		if b.Account == account && b.Mint == mint {
			sum.Add(sum, new(big.Int).SetUint64(b.Amount))
		}
	}
	for _, b := range t.PreTokens {
		if b.Account == account && b.Mint == mint {
			sum.Sub(sum, new(big.Int).SetUint64(b.Amount))
		}
	}
	return sum
}

// strayCredits returns what a transaction that names a reference gave to the owners of
// the vaults elsewhere than to a vault: another mint's tokens, tokens in another
// account of theirs, lamports. Nobody spends it, and nobody loses sight of it.
func (s *Service) strayCredits(t *rpc.Transaction) []credit {
	if t.Err != nil || s.isOurs(t) {
		return nil
	}
	n := s.cfg.Network
	owner := s.ownerOf(n.Vaults.Fee)
	var list []credit
	for i, b := range t.PostTokens {
		if b.Owner != owner || b.Account == n.Vaults.Fee || b.Account == n.Vaults.Reward {
			continue
		}
		if got := tokenChange(t, b.Mint, b.Account); got.Sign() > 0 && got.IsUint64() {
			reason := fmt.Sprintf("it is a token of mint %s, not %s", b.Mint, n.Mint)
			if b.Mint == n.Mint {
				reason = fmt.Sprintf("it went to account %s of the recipient, not to the vault", b.Account)
			}
			list = append(list, credit{tx: t, place: chain.Place{Outer: whole, Inner: 2 + i}, account: b.Account, mint: b.Mint, amount: got.Uint64(), reason: reason})
		}
	}
	if i := slices.Index(t.Raw.Keys, owner); i >= 0 && t.Post[i] > t.Pre[i] {
		list = append(list, credit{tx: t, place: chain.Place{Outer: whole, Inner: 2, Sub: 1}, account: owner, amount: t.Post[i] - t.Pre[i], reason: "it is lamports, not tokens"})
	}
	return list
}

// assign finds out whose each credit is. The transfer itself names a reference; where
// none of a transaction's to one account does, as with a transfer that another program
// made, one that the transaction names anywhere counts for all of them.
func (s *Service) assign(ctx context.Context, list []credit) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].tx == list[0].tx {
			n++
		}
		if err := s.assignOne(ctx, list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// assignOne is assign for the credits of one transaction.
func (s *Service) assignOne(ctx context.Context, list []credit) error {
	if !slices.ContainsFunc(list, func(c credit) bool { return c.reason == "" }) {
		return nil
	}
	keys := s.mayRefer(list[0].tx)
	owners, err := s.referenceOwners(ctx, keys)
	if err == nil {
		err = s.addFirst(ctx, list[0].tx, keys, owners)
	}
	if err != nil {
		return err
	}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].account == list[0].account {
			n++
		}
		s.assignAccount(list[:n], owners)
		list = list[n:]
	}
	return nil
}

// assignAccount is assign for the credits of one account by one transaction: what is
// said of one vault says nothing of the other. An auditor looks at the fee vault alone.
func (s *Service) assignAccount(list []credit, owners map[ionet.Key]ionet.Key) {
	is := func(k ionet.Key) bool { return !owners[k].IsZero() }
	moves := make([]chain.Move, len(list))
	for i := range list {
		moves[i] = list[i].move
	}
	for i, references := range chain.References(moves, list[0].tx.Raw.Keys, is) {
		if c := &list[i]; c.reason == "" {
			c.decide(references, owners, c.account == s.cfg.Network.Vaults.Fee)
		}
	}
}

// decide applies the rule: one reference, and the fee vault.
func (c *credit) decide(references []ionet.Key, owners map[ionet.Key]ionet.Key, fee bool) {
	if len(references) > 0 {
		c.reference = references[0]
	}
	switch {
	case !fee:
		c.reason = "it was sent to the reward vault, not to the fee vault"
	case len(references) == 0:
		c.reason = "it names no reference that was given out"
	case len(references) > 1:
		c.reason = fmt.Sprintf("it names %d references", len(references))
	default:
		c.renter = owners[c.reference]
	}
}

// mayRefer returns the addresses of a transaction that can be references: they sign
// nothing.
func (s *Service) mayRefer(t *rpc.Transaction) []ionet.Key {
	n := s.cfg.Network
	var keys []ionet.Key
	for _, k := range t.Raw.Keys {
		switch {
		case slices.Contains(t.Raw.Signers, k), k == n.Mint, k == n.Vaults.Fee, k == n.Vaults.Reward, k == chain.TokenProgram(), k == chain.MemoProgram(), k.IsZero():
		default:
			keys = append(keys, k)
		}
	}
	return keys
}

// referenceOwners returns the wallets of those keys that are references. One that
// this database forgot is in the published store, where it was before it was given out.
func (s *Service) referenceOwners(ctx context.Context, keys []ionet.Key) (map[ionet.Key]ionet.Key, error) {
	owners := make(map[ionet.Key]ionet.Key, len(keys))
	if len(keys) == 0 {
		return owners, nil
	}
	raw := make([][]byte, len(keys))
	for i := range keys {
		raw[i] = keys[i][:]
	}
	rows, err := s.pool.Query(ctx, selectReferences, raw)
	if err != nil {
		return nil, fmt.Errorf("look for deposit references: %w", err)
	}
	var reference, wallet []byte
	_, err = pgx.ForEachRow(rows, []any{&reference, &wallet}, func() error {
		owners[ionet.Key(reference)] = ionet.Key(wallet)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("look for deposit references: %w", err)
	}
	for _, k := range keys {
		if !owners[k].IsZero() {
			continue
		}
		wallet, err := s.publishedReference(ctx, k)
		if err != nil {
			return nil, err
		}
		if !wallet.IsZero() {
			owners[k] = wallet
		}
	}
	return owners, nil
}

// addFirst adds the owners of those keys that are first references of wallets which the
// transaction names too: we may have given them out and kept nothing. From now on they
// are known as all others, to auditors as well.
func (s *Service) addFirst(ctx context.Context, t *rpc.Transaction, keys []ionet.Key, owners map[ionet.Key]ionet.Key) error {
	for _, wallet := range t.Raw.Keys {
		d := proofs.FirstDeposit(s.cfg.Network.ID(), wallet)
		reference := d.Reference()
		if !owners[reference].IsZero() || !slices.Contains(keys, reference) || proofs.CheckKey(wallet) != nil {
			continue
		}
		if err := s.keepReference(ctx, s.pool, d); err != nil {
			return err
		}
		owners[reference] = wallet
	}
	return nil
}

const selectReferences = `SELECT reference, wallet FROM deposit_references WHERE reference = ANY ($1::bytea[])`

// publishedReference looks a reference up in the published store; zero where it is none.
func (s *Service) publishedReference(ctx context.Context, reference ionet.Key) (ionet.Key, error) {
	name := publish.DepositName(reference)
	file, err := s.cfg.Store.Get(ctx, name)
	if errors.Is(err, publish.ErrNotFound) {
		return ionet.Key{}, nil
	}
	if err != nil {
		return ionet.Key{}, fmt.Errorf("read %s: %w", name, err)
	}
	d, err := proofs.ParseDeposit(s.cfg.Network.ID(), reference, file)
	if err != nil {
		return ionet.Key{}, fmt.Errorf("%s: %w: put that file back from a copy of the store", name, err)
	}
	return d.Wallet, nil
}

// entry is how the ledger has the credit; the same credit always has the same id. Of its
// amount, this much is in suspense already.
func (c *credit) entry(vault ledger.Account, resumed uint64) (ledger.Entry, error) {
	id := ionet.HashOf([]byte("io/entry/credit/"), c.tx.Signature[:], fmt.Appendf(nil, "%d/%d/%d", c.place.Outer, c.place.Inner, c.place.Sub))
	e := ledger.Entry{ID: id, Kind: "credit"}
	to := ledger.Suspense()
	if !c.renter.IsZero() {
		to = ledger.Renter(c.renter)
	}
	fresh, err := ionet.NewAmount(c.amount - resumed)
	if err != nil {
		return e, fmt.Errorf("credit of %s: %w", c.tx.Signature, err)
	}
	known, err := ionet.NewAmount(resumed)
	if err != nil {
		return e, fmt.Errorf("credit of %s: %w", c.tx.Signature, err)
	}
	if !fresh.IsZero() {
		e.Transfers = append(e.Transfers, ledger.Transfer{Debit: vault, Credit: to, Amount: fresh})
	}
	if !known.IsZero() && to != ledger.Suspense() {
		e.Transfers = append(e.Transfers, ledger.Transfer{Debit: ledger.Suspense(), Credit: to, Amount: known})
	}
	return e, nil
}

// ownsVault reports whether the wallet's own token account is a vault: what was paid to it
// would look like somebody's gift.
func (s *Service) ownsVault(wallet ionet.Key) bool {
	account := chain.TokenAccount(wallet, s.cfg.Network.Mint)
	return account == s.cfg.Network.Vaults.Reward || account == s.cfg.Network.Vaults.Fee
}

// ownerOf returns the wallet, or multisig, that owns a vault.
func (s *Service) ownerOf(vault ionet.Key) ionet.Key {
	a, _ := s.authorityOf(vault)
	return a.key
}
