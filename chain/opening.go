package chain

import (
	"errors"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// Opening makes lanes: each an account at LaneAddress(LaneKey, name), turned
// into a mint by the same transaction. Prefunding the address, which anyone
// can do, does not stop it, and a mint can neither be closed nor made again.
type Opening struct {
	FeePayer  ionet.Key
	LaneKey   ionet.Key
	Lanes     []NewLane
	Blockhash ionet.Key
	Budget    Budget
}

// NewLane is one lane to open. Lamports is what the address still lacks to be
// rent exempt: Missing(rent, present).
type NewLane struct {
	Name     string
	First    ionet.Key // public half of K(0)
	Lamports uint64
}

// Missing returns the lamports that an account lacks to hold rent lamports.
func Missing(rent, present uint64) uint64 { return max(rent, present) - present }

// Message returns the bytes that fee payer and lane key sign (version 0).
func (o Opening) Message() ([]byte, error) {
	if len(o.Lanes) == 0 {
		return nil, errors.New("open lanes: none is named")
	}
	var ins []Instruction
	for _, l := range o.Lanes {
		if len(l.Name) == 0 || len(l.Name) > 32 || l.First.IsZero() {
			return nil, fmt.Errorf("open lane %q: name is not 1..32 bytes, or its first key is missing", l.Name)
		}
		address := LaneAddress(o.LaneKey, l.Name)
		ins = append(ins, newMint(o.FeePayer, o.LaneKey, l.Name, address, l.First, 0, l.Lamports)...)
	}
	return compileChecked(o.FeePayer, ins, o.Blockhash, o.Budget, "open lanes")
}

// MintCreation makes the token: a mint at MintAddress(FeePayer, EpochLane) whose
// mint authority is the fee payer, without a freeze authority.
type MintCreation struct {
	FeePayer  ionet.Key // the operator
	EpochLane ionet.Key // address of the network's epoch lane
	Decimals  uint8
	Lamports  uint64 // what the address still lacks
	Blockhash ionet.Key
	Budget    Budget
}

// Message returns the bytes that the fee payer signs (version 0).
func (c MintCreation) Message() ([]byte, error) {
	address := MintAddress(c.FeePayer, c.EpochLane)
	ins := newMint(c.FeePayer, c.FeePayer, mintSeed(c.EpochLane), address, c.FeePayer, c.Decimals, c.Lamports)
	return compileChecked(c.FeePayer, ins, c.Blockhash, c.Budget, "create mint")
}

// AccountCreation makes associated token accounts that do not exist yet; those
// that do are left alone.
type AccountCreation struct {
	FeePayer  ionet.Key
	Mint      ionet.Key
	Owners    []ionet.Key
	Blockhash ionet.Key
	Budget    Budget
}

// Message returns the bytes that the fee payer signs (version 0).
func (c AccountCreation) Message() ([]byte, error) {
	var ins []Instruction
	for _, owner := range c.Owners {
		ins = append(ins, createIdempotent(c.FeePayer, owner, c.Mint))
	}
	if len(ins) == 0 {
		return nil, errors.New("create token accounts: no owner is named")
	}
	return compileChecked(c.FeePayer, ins, c.Blockhash, c.Budget, "create token accounts")
}

func newMint(payer, base ionet.Key, seed string, address, authority ionet.Key, decimals uint8, lamports uint64) []Instruction {
	var ins []Instruction
	if lamports > 0 {
		ins = append(ins, transferLamports(payer, address, lamports))
	}
	return append(ins, allocateWithSeed(base, seed, MintSize, tokenProgram), initializeMint2(address, authority, decimals))
}

func compileChecked(payer ionet.Key, ins []Instruction, blockhash ionet.Key, b Budget, what string) ([]byte, error) {
	if payer.IsZero() || blockhash.IsZero() {
		return nil, fmt.Errorf("%s: fee payer or blockhash is missing", what)
	}
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	message, err := compile(0, payer, ins, blockhash, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	return message, nil
}
