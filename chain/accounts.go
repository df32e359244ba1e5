package chain

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Sizes of the token program's accounts in bytes.
const (
	MintSize         = 82
	TokenAccountSize = 165
)

// ErrNoAccount reports an account that does not exist (no data, owned by the
// System program).
var ErrNoAccount = errors.New("account does not exist")

// MintState is a mint of the SPL Token program (never Token-2022). A zero key
// stands for "none": nobody signs for it.
type MintState struct {
	Authority ionet.Key
	Supply    uint64
	Decimals  uint8
	Freeze    ionet.Key
}

// TokenState is a token account of the SPL Token program. Zero keys stand for
// "none".
type TokenState struct {
	Mint           ionet.Key
	Owner          ionet.Key
	Amount         uint64
	Delegate       ionet.Key
	Frozen         bool
	Native         bool
	DelegateAmount uint64
	CloseAuthority ionet.Key
}

// ParseMint parses the data of an initialized mint owned by the token program.
func ParseMint(owner ionet.Key, data []byte) (MintState, error) {
	var m MintState
	if err := checkAccount(owner, data, MintSize, "mint"); err != nil {
		return m, err
	}
	r := reader{b: data}
	var err error
	if m.Authority, err = r.optionKey(); err != nil {
		return MintState{}, fmt.Errorf("mint authority: %w", err)
	}
	m.Supply = r.u64()
	m.Decimals = r.byte()
	if state := r.byte(); state != 1 {
		return MintState{}, fmt.Errorf("mint is not initialized: state %d", state)
	}
	if m.Freeze, err = r.optionKey(); err != nil {
		return MintState{}, fmt.Errorf("mint freeze authority: %w", err)
	}
	return m, nil
}

// ParseTokenAccount parses the data of an initialized token account.
func ParseTokenAccount(owner ionet.Key, data []byte) (TokenState, error) {
	var t TokenState
	if err := checkAccount(owner, data, TokenAccountSize, "token account"); err != nil {
		return t, err
	}
	r := reader{b: data}
	t.Mint, t.Owner, t.Amount = r.fixed32(), r.fixed32(), r.u64()
	var err error
	if t.Delegate, err = r.optionKey(); err != nil {
		return TokenState{}, fmt.Errorf("token account delegate: %w", err)
	}
	switch state := r.byte(); state {
	case 1:
	case 2:
		t.Frozen = true
	default:
		return TokenState{}, fmt.Errorf("token account is not initialized: state %d", state)
	}
	switch tag := r.u32(); tag {
	case 0:
	case 1:
		t.Native = true
	default:
		return TokenState{}, fmt.Errorf("token account native flag is %d", tag)
	}
	r.u64() // the rent reserve of wrapped SOL
	t.DelegateAmount = r.u64()
	if t.CloseAuthority, err = r.optionKey(); err != nil {
		return TokenState{}, fmt.Errorf("token account close authority: %w", err)
	}
	return t, nil
}

// ParseLane parses a lane and returns its state: the public half of K(n) of
// the position that is open.
func ParseLane(owner ionet.Key, data []byte) (ionet.Key, error) {
	m, err := ParseMint(owner, data)
	if err != nil {
		return ionet.Key{}, fmt.Errorf("lane: %w", err)
	}
	if m.Authority.IsZero() || m.Supply != 0 || m.Decimals != 0 || !m.Freeze.IsZero() {
		return ionet.Key{}, errors.New("lane: mint has supply, decimals or a freeze authority, or no mint authority")
	}
	return m.Authority, nil
}

func checkAccount(owner ionet.Key, data []byte, size int, what string) error {
	if owner == systemProgram && len(data) == 0 {
		return fmt.Errorf("%s: %w", what, ErrNoAccount)
	}
	if owner != tokenProgram {
		return fmt.Errorf("%s is owned by program %s, not by the token program", what, owner)
	}
	if len(data) != size {
		return fmt.Errorf("%s has %d bytes, not %d", what, len(data), size)
	}
	return nil
}

// optionKey reads a u32 tag, 0 or 1, and a key; a tag of 1 with a zero key,
// which nobody can sign for, reads as none too.
func (r *reader) optionKey() (ionet.Key, error) {
	tag := binary.LittleEndian.Uint32(r.take(4))
	key := ionet.Key(r.fixed32())
	switch tag {
	case 0:
		return ionet.Key{}, nil
	case 1:
		return key, nil
	}
	return ionet.Key{}, fmt.Errorf("option tag is %d", tag)
}
