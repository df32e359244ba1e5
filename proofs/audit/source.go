package audit

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

var (
	// errNoHistory reports a block that the RPC does not have, or that was
	// skipped: nodes do not always tell these apart.
	errNoHistory = errors.New("the RPC has no such block")
	// errNoBlock reports a slot that is not final yet.
	errNoBlock = errors.New("the slot is not final yet")
)

// source reads the chain, each transaction and block once.
type source struct {
	rpc          *rpc.Client
	mintKey      ionet.Key
	head         uint64 // last slot that the audit sees; 0 before the snapshot
	accounts     map[ionet.Key]rpc.Account
	transactions map[string]*transaction
	blocks       map[uint64]rpc.Block
}

func newSource(c *rpc.Client, mint ionet.Key) *source {
	return &source{rpc: c, mintKey: mint, accounts: map[ionet.Key]rpc.Account{}, transactions: map[string]*transaction{}, blocks: map[uint64]rpc.Block{}}
}

// history returns the transactions that name the address, succeeded, and are in
// slots up to the snapshot, the oldest first.
func (s *source) history(ctx context.Context, address ionet.Key) ([]string, error) {
	var all []string
	for e, err := range s.rpc.History(ctx, address, chain.Signature{}, s.head) {
		if err != nil {
			return nil, err
		}
		if e.Err == nil && (s.head == 0 || e.Slot <= s.head) { // what failed changed nothing
			all = append(all, e.Signature.String())
		}
	}
	slices.Reverse(all)
	return all, nil
}

// transaction reads one finalized transaction.
func (s *source) transaction(ctx context.Context, signature string) (*transaction, error) {
	if t, ok := s.transactions[signature]; ok {
		return t, nil
	}
	sig, err := chain.ParseSignature(signature)
	if err != nil {
		return nil, err
	}
	got, err := s.rpc.Transaction(ctx, sig)
	if err != nil {
		return nil, err
	}
	if err := got.Raw.VerifySignatures(); err != nil {
		return nil, fmt.Errorf("transaction %s: the RPC invents it: %w", signature, err)
	}
	t := &transaction{
		signature: signature, slot: got.Slot, time: got.Time, failed: got.Err != nil, raw: got.Raw,
		called: map[int][]chain.Instruction{}, before: s.balances(got.PreTokens), after: s.balances(got.PostTokens),
	}
	for _, in := range got.Inner {
		t.inner = append(t.inner, in.Instructions...)
		t.called[in.Outer] = append(t.called[in.Outer], in.Instructions...)
	}
	t.decoded, t.why = chain.Decode(got.Bytes)
	s.transactions[signature] = t
	return t, nil
}

func (s *source) balances(list []rpc.TokenBalance) map[ionet.Key]uint64 {
	m := map[ionet.Key]uint64{}
	for _, b := range list {
		if b.Mint == s.mintKey {
			m[b.Account] = b.Amount
		}
	}
	return m
}

// block reads a finalized block's head, or errNoHistory.
func (s *source) block(ctx context.Context, slot uint64) (rpc.Block, error) {
	if b, ok := s.blocks[slot]; ok {
		return b, nil
	}
	b, err := s.rpc.Block(ctx, slot)
	switch {
	case errors.Is(err, rpc.ErrNotYet):
		return rpc.Block{}, fmt.Errorf("%w: %v", errNoBlock, err)
	case errors.Is(err, rpc.ErrNotFound), errors.Is(err, rpc.ErrSkipped):
		return rpc.Block{}, fmt.Errorf("%w: %v", errNoHistory, err)
	}
	if err == nil {
		s.blocks[slot] = b
	}
	return b, err
}

// snapshot reads the state of all accounts at one finalized slot. From then on
// history ends at that slot, so that an audit of a network that runs on sees
// one moment.
func (s *source) snapshot(ctx context.Context, keys []ionet.Key) error {
	if len(keys) > 100 {
		return fmt.Errorf("read %d accounts at one slot: an RPC gives at most 100", len(keys))
	}
	accounts, slot, err := s.rpc.Accounts(ctx, keys, rpc.Finalized, 0)
	if err != nil {
		return fmt.Errorf("read accounts: %w", err)
	}
	for i, k := range keys {
		s.accounts[k] = accounts[i]
	}
	s.head = slot
	return nil
}

// mint parses a mint of the snapshot.
func (s *source) mint(address ionet.Key) (chain.MintState, error) {
	a := s.accounts[address]
	return chain.ParseMint(a.Owner, a.Data)
}

// balance parses a token account of the snapshot.
func (s *source) balance(account ionet.Key) (*big.Int, error) {
	a := s.accounts[account]
	t, err := chain.ParseTokenAccount(a.Owner, a.Data)
	if err != nil {
		return nil, err
	}
	return new(big.Int).SetUint64(t.Amount), nil
}
