package rpc

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// maxKeys is how many accounts getMultipleAccounts gives at once.
const maxKeys = 100

// Account is the state of an account; one that does not exist is the zero
// value, as the runtime sees it.
type Account struct {
	Lamports uint64
	Owner    ionet.Key // program
	Data     []byte
}

// Exists reports whether the account holds lamports.
func (a Account) Exists() bool { return a.Lamports > 0 }

// Accounts returns the accounts of keys, in their order, as of a slot not
// older than minContextSlot (0: any). The slot returned is the lowest that any
// of them was read at; up to 100 keys are read at one slot.
func (c *Client) Accounts(ctx context.Context, keys []ionet.Key, at Commitment, minContextSlot uint64) ([]Account, uint64, error) {
	var all []Account
	slot := ^uint64(0)
	for part := range slices.Chunk(keys, maxKeys) {
		accounts, s, err := parseAccounts(part, minContextSlot, func(out any, params ...any) error {
			return c.read(ctx, out, "getMultipleAccounts", params...)
		}, at)
		if err != nil {
			return nil, 0, err
		}
		all, slot = append(all, accounts...), min(slot, s)
	}
	if len(all) == 0 {
		return nil, 0, errors.New("read accounts: no key is given")
	}
	return all, slot, nil
}

// accountJSON is an account as encoding base64 gives it.
type accountJSON struct {
	Lamports uint64    `json:"lamports"`
	Owner    ionet.Key `json:"owner"`
	Data     [2]string `json:"data"`
}

func parseAccounts(keys []ionet.Key, minContextSlot uint64, call func(out any, params ...any) error, at Commitment) ([]Account, uint64, error) {
	var r withContext[[]*accountJSON]
	if err := call(&r, keys, options{Commitment: at, MinContextSlot: minContextSlot, Encoding: "base64"}); err != nil {
		return nil, 0, err
	}
	if len(r.Value) != len(keys) {
		return nil, 0, fmt.Errorf("read accounts: asked for %d, got %d", len(keys), len(r.Value))
	}
	// A node behind a balancer may ignore minContextSlot.
	if r.Context.Slot < minContextSlot || r.Context.Slot == 0 {
		return nil, 0, fmt.Errorf("read accounts: answer is of slot %d, older than %d", r.Context.Slot, minContextSlot)
	}
	accounts := make([]Account, len(keys))
	for i, v := range r.Value {
		if v == nil {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(v.Data[0])
		if err != nil || v.Data[1] != "base64" {
			return nil, 0, fmt.Errorf("read accounts: data of %s is not base64", keys[i])
		}
		accounts[i] = Account{v.Lamports, v.Owner, data}
	}
	return accounts, r.Context.Slot, nil
}

// TokenBalance returns the base units in a token account, which must be of
// that mint, and the slot of the answer. A missing account is
// chain.ErrNoAccount.
func (c *Client) TokenBalance(ctx context.Context, account, mint ionet.Key, at Commitment, minContextSlot uint64) (ionet.Amount, uint64, error) {
	list, slot, err := c.Accounts(ctx, []ionet.Key{account}, at, minContextSlot)
	if err != nil {
		return ionet.Amount{}, 0, err
	}
	state, err := chain.ParseTokenAccount(list[0].Owner, list[0].Data)
	if err != nil {
		return ionet.Amount{}, 0, fmt.Errorf("balance of %s: %w", account, err)
	}
	if state.Mint != mint {
		return ionet.Amount{}, 0, fmt.Errorf("balance of %s: it holds mint %s, not %s", account, state.Mint, mint)
	}
	amount, err := ionet.NewAmount(state.Amount)
	if err != nil {
		return ionet.Amount{}, 0, fmt.Errorf("balance of %s: %w", account, err)
	}
	return amount, slot, nil
}

// Lamports returns what an account holds; 0 where it does not exist.
func (c *Client) Lamports(ctx context.Context, account ionet.Key, at Commitment) (uint64, error) {
	list, _, err := c.Accounts(ctx, []ionet.Key{account}, at, 0)
	if err != nil {
		return 0, err
	}
	return list[0].Lamports, nil
}

// MinimumRent returns the lamports that make an account of size bytes rent
// exempt.
func (c *Client) MinimumRent(ctx context.Context, size int) (uint64, error) {
	var lamports uint64
	err := c.read(ctx, &lamports, "getMinimumBalanceForRentExemption", size, options{Commitment: Confirmed})
	return lamports, err
}

// RecentPriorityFee returns what lately sufficed to write to the accounts, in
// micro-lamports per compute unit: the 75th percentile of recent slots.
func (c *Client) RecentPriorityFee(ctx context.Context, accounts []ionet.Key) (uint64, error) {
	var list []struct {
		Fee uint64 `json:"prioritizationFee"`
	}
	if err := c.read(ctx, &list, "getRecentPrioritizationFees", accounts[:min(len(accounts), 128)]); err != nil {
		return 0, err
	}
	if len(list) == 0 {
		return 0, nil
	}
	fees := make([]uint64, len(list))
	for i, f := range list {
		fees[i] = f.Fee
	}
	slices.Sort(fees)
	return fees[len(fees)*3/4], nil
}

// Airdrop asks a test cluster for lamports.
func (c *Client) Airdrop(ctx context.Context, to ionet.Key, lamports uint64) error {
	return c.call(ctx, c.endpoints[0], nil, "requestAirdrop", to, lamports)
}
