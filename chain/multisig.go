package chain

import (
	"errors"
	"fmt"
	"slices"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
)

// MultisigSize is the size of a multisig account of the SPL Token program in bytes.
const MultisigSize = 355

// MaxMembers is the most members that such an account has.
const MaxMembers = 11

// MultisigState is a multisig account of the SPL Token program: M of its
// members sign together for what belongs to its address. Nothing can change it.
type MultisigState struct {
	M       int
	Members []ionet.Key
}

// Check returns an error unless 1 <= M <= len(Members) <= MaxMembers and the
// members ascend by their bytes, none of them twice or zero.
func (s MultisigState) Check() error {
	if len(s.Members) > MaxMembers || s.M < 1 || s.M > len(s.Members) {
		return fmt.Errorf("%d of %d members: want 1 <= m <= n <= %d", s.M, len(s.Members), MaxMembers)
	}
	return checkAscending(s.Members)
}

// checkAscending makes lists of signers the same however they were named.
func checkAscending(keys []ionet.Key) error {
	for i, k := range keys {
		if k.IsZero() {
			return errors.New("a member is zero")
		}
		if i > 0 && compareKeys(keys[i-1], k) >= 0 {
			return fmt.Errorf("member %s is there twice, or not in ascending order", k)
		}
	}
	return nil
}

// ParseMultisig parses the data of an initialized multisig account, whose
// members may be in any order; those of a network must ascend (Check).
func ParseMultisig(owner ionet.Key, data []byte) (MultisigState, error) {
	var s MultisigState
	if err := checkAccount(owner, data, MultisigSize, "multisig"); err != nil {
		return s, err
	}
	r := reader{b: data}
	m, n, state := int(r.byte()), int(r.byte()), r.byte()
	if state != 1 {
		return s, fmt.Errorf("multisig is not initialized: state %d", state)
	}
	if m < 1 || m > n || n > MaxMembers {
		return s, fmt.Errorf("multisig is %d of %d", m, n)
	}
	for i := range MaxMembers {
		switch k := ionet.Key(r.fixed32()); {
		case i < n:
			s.Members = append(s.Members, k)
		case !k.IsZero():
			return MultisigState{}, fmt.Errorf("multisig of %d members names another", n)
		}
	}
	s.M = m
	return s, nil
}

// MultisigAddress returns the address of a network's multisig with that index in
// its network file:
//
//	CreateWithSeed(operator, first 32 hex digits of H("io/multisig/1" ‖ u8 index ‖ u8 m ‖ members ‖ u8 bump), token program)
//
// The index keeps two of the same members apart, and with them the vaults that
// they own. bump is the first with which the address is a point of the curve, as a
// wallet's is: wallets refuse to pay to others. That nobody has its key is as
// certain as that nobody guesses any key.
func MultisigAddress(operator ionet.Key, index int, s MultisigState) ionet.Key {
	return withSeed(operator, multisigSeed(operator, index, s), tokenProgram)
}

func multisigSeed(operator ionet.Key, index int, s MultisigState) string {
	b := append([]byte("io/multisig/1"), byte(index), byte(s.M))
	for _, k := range s.Members {
		b = append(b, k[:]...)
	}
	for bump := range 256 {
		seed := ionet.HashOf(b, []byte{byte(bump)}).String()[:32]
		if address := withSeed(operator, seed, tokenProgram); solana.IsOnCurve(address[:]) {
			return seed
		}
	}
	panic("no bump of 256 reaches the curve: has probability 2^-256")
}

// MultisigCreation makes multisig accounts. Only the operator's signature can
// make an account at such an address, so that what is there is his, and
// lamports that others sent to it do not stop it.
type MultisigCreation struct {
	FeePayer  ionet.Key // the operator
	Multisigs []NewMultisig
	Blockhash ionet.Key
	Budget    Budget
}

// NewMultisig is one multisig to make. Lamports is what its address still lacks
// to be rent exempt: Missing(rent, present).
type NewMultisig struct {
	Index int
	MultisigState
	Lamports uint64
}

// Message returns the bytes that the fee payer signs (version 0).
func (c MultisigCreation) Message() ([]byte, error) {
	var ins []Instruction
	for _, s := range c.Multisigs {
		if err := s.Check(); err != nil {
			return nil, fmt.Errorf("create multisig %d: %w", s.Index, err)
		}
		address := MultisigAddress(c.FeePayer, s.Index, s.MultisigState)
		if s.Lamports > 0 {
			ins = append(ins, transferLamports(c.FeePayer, address, s.Lamports))
		}
		ins = append(ins, allocateWithSeed(c.FeePayer, multisigSeed(c.FeePayer, s.Index, s.MultisigState), MultisigSize, tokenProgram),
			initializeMultisig2(address, uint8(s.M), s.Members))
	}
	if len(ins) == 0 {
		return nil, errors.New("create multisigs: none is named")
	}
	return compileChecked(c.FeePayer, ins, c.Blockhash, c.Budget, "create multisigs")
}

// authority is who signs a token instruction: a key, or, for the multisig at
// it, cosigners.
type authority struct {
	key       ionet.Key
	cosigners []ionet.Key
}

// accounts are the last ones of a token instruction: the authority, which signs
// itself unless it is a multisig, then that one's signers.
func (a authority) accounts() []Account {
	list := []Account{{Key: a.key, Signer: len(a.cosigners) == 0}}
	for _, k := range a.cosigners {
		list = append(list, Account{Key: k, Signer: true})
	}
	return list
}

// signers are the keys that sign for a.
func (a authority) signers() []ionet.Key {
	if len(a.cosigners) > 0 {
		return a.cosigners
	}
	return []ionet.Key{a.key}
}

// authorityIn reads the last accounts of a token instruction, in which the
// message grants at least the needed privileges. Whether the first of them is
// also granted a signature is for Decoded.check, which compares all signers.
func authorityIn(list []Account) (authority, bool) {
	if len(list) == 0 {
		return authority{}, false
	}
	a := authority{key: list[0].Key}
	for _, c := range list[1:] {
		if !c.Signer {
			return authority{}, false
		}
		a.cosigners = append(a.cosigners, c.Key)
	}
	return a, len(list) > 1 || list[0].Signer
}

func (a authority) equal(b authority) bool {
	return a.key == b.key && slices.Equal(a.cosigners, b.cosigners)
}

// authorityOf is who signs for a source of p.
func (p Plan) authorityOf(source ionet.Key) authority {
	owner := p.Owners[source]
	return authority{owner, p.Cosigners[owner]}
}

// checkCosigners holds that cosigners are named for the one authority of the
// movements, in one order, and that nobody signs as two.
func (p Plan) checkCosigners(owner ionet.Key) error {
	if len(p.Cosigners) == 0 {
		return nil
	}
	list := p.Cosigners[owner]
	if len(p.Cosigners) != 1 || len(list) == 0 || len(list) > MaxMembers {
		return errors.New("cosigners are not 1 to 11 of the source's owner alone")
	}
	if err := checkAscending(list); err != nil {
		return fmt.Errorf("cosigners: %w", err)
	}
	for _, k := range list {
		if k == owner || k == p.Mint || p.isLaneKey(k) {
			return fmt.Errorf("cosigner %s is the multisig, the mint, a lane or a one-time key", k)
		}
		if slices.ContainsFunc(p.Movements, func(m Movement) bool { return m.Source == k || m.Destination == k }) {
			return fmt.Errorf("cosigner %s is an account of a movement", k)
		}
		if p.Kind == KindClaim && k == p.FeePayer {
			return fmt.Errorf("cosigner %s is the wallet that claims", k)
		}
	}
	if owner == p.FeePayer {
		return errors.New("the fee payer is a multisig")
	}
	return nil
}
