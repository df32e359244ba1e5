package audit

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Tags of the SPL Token program's instructions.
const (
	tokenInitializeMint     = 0
	tokenInitializeAccount  = 1
	tokenInitializeMultisig = 2
	tokenTransfer           = 3
	tokenApprove            = 4
	tokenRevoke             = 5
	tokenSetAuthority       = 6
	tokenMintTo             = 7
	tokenBurn               = 8
	tokenCloseAccount       = 9
	tokenFreezeAccount      = 10
	tokenThawAccount        = 11
	tokenTransferChecked    = 12
	tokenApproveChecked     = 13
	tokenMintToChecked      = 14
	tokenBurnChecked        = 15
	tokenInitializeAccount2 = 16
	tokenInitializeAccount3 = 18
	tokenInitializeSigs2    = 19
	tokenInitializeMint2    = 20
	tokenAccountSize        = 21
	tokenImmutableOwner     = 22
	tokenBatch              = 255
)

// transaction is one landed transaction as an auditor sees it.
type transaction struct {
	signature string
	slot      uint64
	time      int64 // block time, Unix seconds
	failed    bool
	raw       *chain.Raw
	inner     []chain.Instruction         // of all levels below
	called    map[int][]chain.Instruction // the same by the instruction that called them
	decoded   *chain.Decoded              // nil where it has not the form of one of ours
	why       error                       // why not
	before    map[ionet.Key]uint64        // token balances of the audited mint by account
	after     map[ionet.Key]uint64
}

// tokens yields the Token program's instructions at every level, the parts of a
// batch by themselves.
func (t *transaction) tokens(yield func(chain.Instruction) bool) {
	for _, list := range [][]chain.Instruction{t.raw.Instructions, t.inner} {
		for _, in := range list {
			if in.Program != chain.TokenProgram() || len(in.Data) == 0 {
				continue
			}
			for _, part := range unbatch(in) {
				if !yield(part) {
					return
				}
			}
		}
	}
}

// unbatch splits p-token's batch: 255, then for each part the number of its
// accounts u8, the length of its data u8 and the data; accounts are consecutive.
func unbatch(in chain.Instruction) []chain.Instruction {
	if in.Data[0] != tokenBatch {
		return []chain.Instruction{in}
	}
	var parts []chain.Instruction
	data, accounts := in.Data[1:], in.Accounts
	for len(data) >= 2 {
		n, size := int(data[0]), int(data[1])
		if n > len(accounts) || size == 0 || 2+size > len(data) {
			break
		}
		parts = append(parts, chain.Instruction{Program: in.Program, Accounts: accounts[:n], Data: data[2 : 2+size]})
		data, accounts = data[2+size:], accounts[n:]
	}
	return parts
}

// hands reports whether the transaction sets the lane's authority. The Token
// program lets only the present authority do so.
func (t *transaction) hands(lane ionet.Key) bool {
	for in := range t.tokens {
		if in.Data[0] == tokenSetAuthority && len(in.Accounts) > 0 && in.Accounts[0].Key == lane {
			return true
		}
	}
	return false
}

// step returns the lane's step and the content that it hands over.
func (t *transaction) step(lane ionet.Key, n uint64, c ionet.Hash) (chain.Step, chain.Content, error) {
	if t.decoded == nil {
		return chain.Step{}, chain.Content{}, t.why
	}
	i := slices.IndexFunc(t.decoded.Plan.Steps, func(s chain.Step) bool { return s.Lane == lane })
	if i < 0 {
		return chain.Step{}, chain.Content{}, errors.New("it sets the lane's authority, but not as a step")
	}
	content, err := t.decoded.Content(lane, n, c)
	return t.decoded.Plan.Steps[i], content, err
}

// change returns what the transaction added to the token account.
func (t *transaction) change(account ionet.Key) *big.Int {
	before, after := new(big.Int).SetUint64(t.before[account]), new(big.Int).SetUint64(t.after[account])
	return after.Sub(after, before)
}

// alters returns what the transaction did to the account apart from its
// balance, or "". The owner of a free one may let another move his tokens, which
// shows where they move, and close what is empty.
func (t *transaction) alters(account ionet.Key, free bool) string {
	for in := range t.tokens {
		if len(in.Accounts) == 0 || in.Accounts[0].Key != account {
			continue
		}
		switch in.Data[0] {
		case tokenSetAuthority, tokenFreezeAccount:
			return fmt.Sprintf("token instruction %d", in.Data[0])
		case tokenApprove, tokenApproveChecked, tokenCloseAccount:
			if !free {
				return fmt.Sprintf("token instruction %d", in.Data[0])
			}
		}
	}
	return ""
}

// signedBy reports whether the key signed.
func (t *transaction) signedBy(key ionet.Key) bool { return slices.Contains(t.raw.Signers, key) }

// beyondSetup returns what the transaction does beyond making accounts, or "".
// Instructions that are excused may do what they like, so that balances tell nothing
// beside them: the others have to move nothing.
func (t *transaction) beyondSetup(excused func(chain.Instruction) bool) string {
	excuse := false
	for in := range t.tokens {
		if excused(in) {
			excuse = true
			continue
		}
		switch in.Data[0] {
		case tokenInitializeMint, tokenInitializeMint2, tokenInitializeAccount, tokenInitializeAccount2,
			tokenInitializeAccount3, tokenInitializeMultisig, tokenInitializeSigs2, tokenAccountSize, tokenImmutableOwner:
		default:
			return fmt.Sprintf("token instruction %d", in.Data[0])
		}
	}
	for account := range t.after {
		if t.after[account] != t.before[account] && !excuse {
			return "a change of the balance of " + account.String()
		}
	}
	return ""
}
