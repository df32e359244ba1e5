package chain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ionet-settlement/ionet"
)

// Kind says what a content is for; see proofs/FORMAT.md, section 9.
type Kind uint8

// The kinds of contents; String is the word of their memo.
const (
	KindFence Kind = iota
	KindGenesis
	KindEpoch
	KindSeal
	KindPayout
	KindClaim
	KindWithdrawal
	KindUnlock
	KindSkip
	KindRetire
	KindFees
	KindReceipts

	kindCount
)

var kindWords = [kindCount]string{"fence", "genesis", "epoch", "seal", "payout", "claim", "withdrawal", "unlock", "skip", "retire", "fees", "receipts"}

// String returns the word after "io1" in the kind's memo.
func (k Kind) String() string {
	if k >= kindCount {
		return fmt.Sprintf("kind %d", uint8(k))
	}
	return kindWords[k]
}

// KindOf returns the kind of the content that carries this memo.
func KindOf(memo string) (Kind, error) {
	rest, ok := strings.CutPrefix(memo, "io1 ")
	word, _, spaced := strings.Cut(rest, " ")
	if ok && spaced {
		for k, w := range kindWords {
			if w == word {
				return Kind(k), nil
			}
		}
	}
	return 0, fmt.Errorf("memo %.40q names no kind of content", memo)
}

// Op is what a movement does to tokens.
type Op uint8

// The operations of a movement.
const (
	Mint     Op = 0
	Transfer Op = 1
)

// String returns "mint" or "transfer".
func (o Op) String() string {
	switch o {
	case Mint:
		return "mint"
	case Transfer:
		return "transfer"
	}
	return fmt.Sprintf("op %d", uint8(o))
}

// Movement is one movement of tokens. Source is the mint (Mint) or a vault
// (Transfer); Destination is a token account.
type Movement struct {
	Op          Op
	Source      ionet.Key
	Destination ionet.Key
	Amount      ionet.Amount
}

const movementSize = 1 + 32 + 32 + 8

// Content is what position N of a lane does, apart from how it is signed:
//
//	content(n) = kind ‖ lane ‖ n ‖ C(n) ‖ vec<movement> ‖ memo
//	C(0)       = H("io/lane/1" ‖ lane address)
//	C(n+1)     = H("io/lane/1" ‖ C(n) ‖ H(content(n)))
type Content struct {
	Kind      Kind
	Lane      ionet.Key
	N         uint64
	C         ionet.Hash
	Movements []Movement
	Memo      string
}

const laneTag = "io/lane/1"

// FirstC returns C(0) of the lane at that address.
func FirstC(lane ionet.Key) ionet.Hash { return ionet.HashOf([]byte(laneTag), lane[:]) }

// Encode returns the content's bytes; ParseContent(Encode(c)) is c for every
// content that Check accepts.
func (c Content) Encode() []byte {
	b := make([]byte, 0, 1+32+8+32+4+len(c.Movements)*movementSize+4+len(c.Memo))
	b = append(b, byte(c.Kind))
	b = append(b, c.Lane[:]...)
	b = binary.LittleEndian.AppendUint64(b, c.N)
	b = append(b, c.C[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Movements)))
	for _, m := range c.Movements {
		b = append(b, byte(m.Op))
		b = append(b, m.Source[:]...)
		b = append(b, m.Destination[:]...)
		b = binary.LittleEndian.AppendUint64(b, m.Amount.Base())
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(c.Memo)))
	return append(b, c.Memo...)
}

// Hash returns H(content), the name of the content in the published store.
func (c Content) Hash() ionet.Hash { return ionet.HashOf(c.Encode()) }

// Next returns C(n+1): what the lane's key at the next position is made from.
func (c Content) Next() ionet.Hash {
	h := c.Hash()
	return ionet.HashOf([]byte(laneTag), c.C[:], h[:])
}

// Check returns an error that names the rule of section 9 or 10 that c breaks.
func (c Content) Check() error {
	return checkShape(c.Kind, c.Movements, c.Memo)
}

// ParseContent parses and checks a content; trailing bytes are refused.
func ParseContent(b []byte) (Content, error) {
	var c Content
	r := reader{b: b}
	c.Kind = Kind(r.byte())
	c.Lane = ionet.Key(r.fixed32())
	c.N = r.u64()
	c.C = ionet.Hash(r.fixed32())
	count := r.u32()
	if uint64(count)*movementSize > uint64(len(r.b)) {
		r.short()
		count = 0
	}
	for range count {
		m := Movement{Op: Op(r.byte()), Source: r.fixed32(), Destination: r.fixed32()}
		amount, err := ionet.NewAmount(r.u64())
		if err != nil {
			return Content{}, fmt.Errorf("content: movement: %w", err)
		}
		m.Amount = amount
		c.Movements = append(c.Movements, m)
	}
	c.Memo = string(r.take(int(r.u32())))
	if r.failed {
		return Content{}, errors.New("content: ends too early")
	}
	if len(r.b) != 0 {
		return Content{}, fmt.Errorf("content: %d trailing bytes", len(r.b))
	}
	if err := c.Check(); err != nil {
		return Content{}, fmt.Errorf("content: %w", err)
	}
	return c, nil
}

// checkShape holds the table of section 9: which movements a kind may carry.
func checkShape(kind Kind, moves []Movement, memo string) error {
	if kind >= kindCount {
		return fmt.Errorf("kind %d is unknown", uint8(kind))
	}
	if err := checkMemo(kind, memo); err != nil {
		return err
	}
	op, low, high := Transfer, 1, 1<<16
	switch kind {
	case KindFence, KindSeal, KindSkip, KindRetire, KindReceipts:
		low, high = 0, 0
	case KindGenesis:
		op = Mint
	case KindEpoch:
		op, low, high = Mint, 0, 1
	case KindClaim, KindWithdrawal:
		high = 1
	case KindUnlock:
		high = ionet.MaxBeneficiaries
	}
	if len(moves) < low || len(moves) > high {
		return fmt.Errorf("%s has %d movements", kind, len(moves))
	}
	for i, m := range moves {
		if m.Op != op {
			return fmt.Errorf("%s movement %d is a %s, not a %s", kind, i, m.Op, op)
		}
		if m.Source != moves[0].Source {
			return fmt.Errorf("%s movement %d has another source than the first", kind, i)
		}
		if m.Source == m.Destination {
			return fmt.Errorf("%s movement %d goes from an account to itself", kind, i)
		}
	}
	return nil
}

func checkMemo(kind Kind, memo string) error {
	if got, err := KindOf(memo); err != nil {
		return err
	} else if got != kind {
		return fmt.Errorf("memo is that of a %s, not of a %s", got, kind)
	}
	if !utf8.ValidString(memo) {
		return errors.New("memo is not UTF-8")
	}
	if strings.ContainsFunc(memo, unicode.IsControl) {
		return errors.New("memo is not one line of text")
	}
	return nil
}

// reader takes little-endian values from the front of b; once b is too short
// it yields zeros and failed is set.
type reader struct {
	b      []byte
	failed bool
}

func (r *reader) short() { r.b, r.failed = nil, true }

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.short()
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) byte() byte {
	if v := r.take(1); v != nil {
		return v[0]
	}
	return 0
}

func (r *reader) u32() uint32 {
	if v := r.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (r *reader) u64() uint64 {
	if v := r.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}

func (r *reader) fixed32() (v [32]byte) {
	copy(v[:], r.take(32))
	return v
}
