package proofs

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
)

// Memo is the last word of a transaction of ours: what it is for. FORMAT.md,
// section 10. ParseMemo(m.String()) is m.
type Memo interface {
	String() string // the memo's bytes
	memo()
}

// GenesisMemo commits to the network file and to every epoch's emission.
type GenesisMemo struct {
	Network  ionet.Hash
	Emission ionet.Hash // H of all emissions as u64
}

// EpochMemo seals an epoch.
type EpochMemo struct {
	Epoch    uint64
	Inputs   ionet.Hash   // root of the inputs' records
	Verdicts ionet.Hash   // root of the verdicts
	Count    uint64       // number of verdicts
	Sum      ionet.Amount // of the verdicts' amounts: what is minted
	Policy   ionet.Hash
	Prev     ionet.Hash // H of the former epoch's memo, for epoch 1 of the genesis memo
}

// FenceMemo passes a lane when an instance takes over.
type FenceMemo struct{ Instance [16]byte }

// SkipMemo passes a position.
type SkipMemo struct{ Instance [16]byte }

// PayoutMemo pays a batch of Count transfers.
type PayoutMemo struct {
	Batch [16]byte
	Count uint64
	Sum   ionet.Amount
}

// ClaimMemo pays one wallet what it asked for.
type ClaimMemo struct {
	Wallet ionet.Key
	Sum    ionet.Amount
}

// SealMemo seals the receipt log.
type SealMemo struct {
	Size uint64
	Root ionet.Hash
	Fees ionet.Amount // running total of all receipts
	Prev ionet.Hash   // H of the former seal's memo, zeros before the first
}

// WithdrawalMemo pays a renter's unspent balance back.
type WithdrawalMemo struct {
	ID  [16]byte
	Sum ionet.Amount
}

// UnlockMemo pays a tranche of a genesis allocation.
type UnlockMemo struct {
	Category string // 1..32 of a-z 0-9 _
	Tranche  uint64
	Sum      ionet.Amount
}

// RetireMemo gives the mint authority up after the last epoch.
type RetireMemo struct {
	Epoch  uint64       // the last one
	Supply ionet.Amount // all that was ever minted: at genesis and by all epochs
}

// ReceiptsMemo carries records of the receipt log in their compact form.
type ReceiptsMemo struct {
	First uint64 // index of the first
	Count uint64
	Data  []byte // compact forms of the records First, First+1, ...
}

// FeesMemo pays a batch of Count transfers out of the fee vault.
type FeesMemo struct {
	Batch [16]byte
	Count uint64
	Sum   ionet.Amount
}

// field is one name=value of a memo: how it is written and how it is read into
// the memo that it points into.
type field struct {
	name string
	get  func() string
	set  func(string) error
}

// ParseMemo parses a memo of any kind into its value type, EpochMemo and so on.
// It is strict: what parses renders byte-equal.
func ParseMemo(s string) (Memo, error) {
	word, _, _ := strings.Cut(strings.TrimPrefix(s, "io1 "), " ")
	switch word {
	case "genesis":
		return parseMemo(s, &GenesisMemo{})
	case "epoch":
		return parseMemo(s, &EpochMemo{})
	case "fence":
		return parseMemo(s, &FenceMemo{})
	case "skip":
		return parseMemo(s, &SkipMemo{})
	case "payout":
		return parseMemo(s, &PayoutMemo{})
	case "claim":
		return parseMemo(s, &ClaimMemo{})
	case "seal":
		return parseMemo(s, &SealMemo{})
	case "withdrawal":
		return parseMemo(s, &WithdrawalMemo{})
	case "unlock":
		return parseMemo(s, &UnlockMemo{})
	case "retire":
		return parseMemo(s, &RetireMemo{})
	case "fees":
		return parseMemo(s, &FeesMemo{})
	case "receipts":
		return parseReceipts(s)
	}
	return nil, fmt.Errorf("parse memo %.80q: unknown kind", s)
}

func parseMemo[M Memo, P interface {
	*M
	fields() []field
}](s string, m P) (Memo, error) {
	words := strings.Split(s, " ")
	fields := m.fields()
	if len(words) != 2+len(fields) {
		return nil, fmt.Errorf("parse memo %.80q: it has %d words, not %d", s, len(words), 2+len(fields))
	}
	for i, f := range fields {
		value, ok := strings.CutPrefix(words[2+i], f.name+"=")
		if !ok {
			return nil, fmt.Errorf("parse memo %.80q: field %d is not %s", s, i+1, f.name)
		}
		if err := f.set(value); err != nil {
			return nil, fmt.Errorf("parse memo %.80q: %s: %w", s, f.name, err)
		}
	}
	if again := Memo(*m).String(); again != s {
		return nil, fmt.Errorf("parse memo %.80q: it renders as %.80q", s, again)
	}
	return *m, nil
}

func renderMemo(word string, fields []field) string {
	var b strings.Builder
	b.WriteString("io1 " + word)
	for _, f := range fields {
		b.WriteString(" " + f.name + "=" + f.get())
	}
	return b.String()
}

func (m GenesisMemo) String() string    { return renderMemo("genesis", m.fields()) }
func (m EpochMemo) String() string      { return renderMemo("epoch", m.fields()) }
func (m FenceMemo) String() string      { return renderMemo("fence", m.fields()) }
func (m SkipMemo) String() string       { return renderMemo("skip", m.fields()) }
func (m PayoutMemo) String() string     { return renderMemo("payout", m.fields()) }
func (m ClaimMemo) String() string      { return renderMemo("claim", m.fields()) }
func (m SealMemo) String() string       { return renderMemo("seal", m.fields()) }
func (m WithdrawalMemo) String() string { return renderMemo("withdrawal", m.fields()) }
func (m UnlockMemo) String() string     { return renderMemo("unlock", m.fields()) }
func (m RetireMemo) String() string     { return renderMemo("retire", m.fields()) }
func (m FeesMemo) String() string       { return renderMemo("fees", m.fields()) }
func (m ReceiptsMemo) String() string   { return renderMemo("receipts", m.fields()) }

func (GenesisMemo) memo()    {}
func (EpochMemo) memo()      {}
func (FenceMemo) memo()      {}
func (SkipMemo) memo()       {}
func (PayoutMemo) memo()     {}
func (ClaimMemo) memo()      {}
func (SealMemo) memo()       {}
func (WithdrawalMemo) memo() {}
func (UnlockMemo) memo()     {}
func (RetireMemo) memo()     {}
func (FeesMemo) memo()       {}
func (ReceiptsMemo) memo()   {}

func (m *GenesisMemo) fields() []field {
	return []field{networkField("network", &m.Network), hashField("emission", &m.Emission)}
}

func (m *EpochMemo) fields() []field {
	return []field{
		numberField("k", &m.Epoch), hashField("inputs", &m.Inputs), hashField("verdicts", &m.Verdicts),
		numberField("count", &m.Count), amountField("sum", &m.Sum), hashField("policy", &m.Policy), hashField("prev", &m.Prev),
	}
}

func (m *FenceMemo) fields() []field { return []field{idField("instance", &m.Instance)} }

func (m *SkipMemo) fields() []field { return []field{idField("instance", &m.Instance)} }

func (m *PayoutMemo) fields() []field {
	return []field{idField("batch", &m.Batch), numberField("count", &m.Count), amountField("sum", &m.Sum)}
}

func (m *ClaimMemo) fields() []field {
	return []field{keyField("wallet", &m.Wallet), amountField("sum", &m.Sum)}
}

func (m *SealMemo) fields() []field {
	return []field{numberField("size", &m.Size), hashField("root", &m.Root), amountField("fees", &m.Fees), hashField("prev", &m.Prev)}
}

func (m *WithdrawalMemo) fields() []field {
	return []field{idField("id", &m.ID), amountField("sum", &m.Sum)}
}

func (m *UnlockMemo) fields() []field {
	return []field{categoryField("category", &m.Category), numberField("tranche", &m.Tranche), amountField("sum", &m.Sum)}
}

func (m *RetireMemo) fields() []field {
	return []field{numberField("epoch", &m.Epoch), amountField("supply", &m.Supply)}
}

func (m *FeesMemo) fields() []field {
	return []field{idField("batch", &m.Batch), numberField("count", &m.Count), amountField("sum", &m.Sum)}
}

func (m *ReceiptsMemo) fields() []field {
	return []field{numberField("first", &m.First), numberField("count", &m.Count), dataField("data", &m.Data)}
}

// NewReceiptsMemo makes the memo of one or more records, whose indexes follow each other.
func NewReceiptsMemo(list []Compact) (ReceiptsMemo, error) {
	if len(list) == 0 {
		return ReceiptsMemo{}, errors.New("make memo: there are no receipts")
	}
	m := ReceiptsMemo{First: list[0].Index, Count: uint64(len(list))}
	for _, c := range list {
		m.Data = c.Append(m.Data)
	}
	_, err := m.Compacts()
	return m, err
}

// Compacts returns the records of the memo, in order.
func (m ReceiptsMemo) Compacts() ([]Compact, error) {
	if m.Count == 0 || len(m.Data)%CompactSize != 0 || uint64(len(m.Data)/CompactSize) != m.Count {
		return nil, fmt.Errorf("read memo: %d bytes are not those of %d receipts", len(m.Data), m.Count)
	}
	list := make([]Compact, m.Count)
	for i := range list {
		c, err := ParseCompact(m.Data[i*CompactSize : (i+1)*CompactSize])
		if err != nil {
			return nil, fmt.Errorf("read memo: %w", err)
		}
		if c.Index != m.First+uint64(i) {
			return nil, fmt.Errorf("read memo: receipt %d has index %d, not %d", i, c.Index, m.First+uint64(i))
		}
		list[i] = c
	}
	return list, nil
}

func parseReceipts(s string) (Memo, error) {
	m, err := parseMemo(s, &ReceiptsMemo{})
	if err != nil {
		return nil, err
	}
	if _, err := m.(ReceiptsMemo).Compacts(); err != nil {
		return nil, fmt.Errorf("parse memo %.80q: %w", s, err)
	}
	return m, nil
}

// fieldOf makes a field from a parser and its inverse.
func fieldOf[T any](name string, v *T, parse func(string) (T, error), render func(T) string) field {
	set := func(s string) (err error) {
		*v, err = parse(s)
		return err
	}
	return field{name: name, get: func() string { return render(*v) }, set: set}
}

func hashField(name string, v *ionet.Hash) field {
	return fieldOf(name, v, ionet.ParseHash, ionet.Hash.String)
}

func keyField(name string, v *ionet.Key) field {
	return fieldOf(name, v, ionet.ParseKey, ionet.Key.String)
}

// networkField shows the network id as everywhere, in base58.
func networkField(name string, v *ionet.Hash) field { return keyField(name, (*ionet.Key)(v)) }

func amountField(name string, v *ionet.Amount) field {
	return fieldOf(name, v, ionet.ParseBase, ionet.Amount.String)
}

func numberField(name string, v *uint64) field {
	parse := func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) }
	return fieldOf(name, v, parse, func(n uint64) string { return strconv.FormatUint(n, 10) })
}

func idField(name string, v *[16]byte) field {
	parse := func(s string) (id [16]byte, err error) {
		if len(s) != 2*len(id) {
			return id, fmt.Errorf("%q is not 32 hexadecimal digits", s)
		}
		_, err = hex.Decode(id[:], []byte(s))
		return id, err
	}
	return fieldOf(name, v, parse, func(id [16]byte) string { return hex.EncodeToString(id[:]) })
}

var categoryForm = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)

func categoryField(name string, v *string) field {
	parse := func(s string) (string, error) {
		if !categoryForm.MatchString(s) {
			return "", fmt.Errorf("%q is not 1..32 of a-z 0-9 _", s)
		}
		return s, nil
	}
	return fieldOf(name, v, parse, func(s string) string { return s })
}

func dataField(name string, v *[]byte) field {
	return fieldOf(name, v, base64.RawURLEncoding.DecodeString, base64.RawURLEncoding.EncodeToString)
}
