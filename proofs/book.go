package proofs

import (
	"bytes"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/ionet-settlement/ionet"
)

// Book is an epoch's inputs and verdicts; FORMAT.md, section 8.
type Book struct {
	Inputs   *Inputs
	Verdicts []Verdict // ascending by (uuid, worker)
}

const (
	bookMagic = "io-book/1\n"
	rootTag   = "io/book/1"

	// MaxBook is the largest decompressed book in bytes.
	MaxBook = 1 << 30
)

// BookRoot names a book:
//
//	book root = H("io/book/1" ‖ inputs root ‖ verdicts root)
func BookRoot(inputs, verdicts ionet.Hash) ionet.Hash {
	return ionet.HashOf([]byte(rootTag), inputs[:], verdicts[:])
}

// VerdictsRoot returns the root of the book's verdicts.
func (b *Book) VerdictsRoot() ionet.Hash { return VerdictsRoot(b.Verdicts) }

// Root returns the book root.
func (b *Book) Root() ionet.Hash { return BookRoot(b.Inputs.Root(), b.VerdictsRoot()) }

// EncodeBook returns the book's file. Only the decompressed bytes are law;
// still one build of this package gives one file for one book. The inputs must
// be sorted.
func EncodeBook(b *Book) ([]byte, error) {
	if err := checkVerdictOrder(b.Verdicts); err != nil {
		return nil, fmt.Errorf("encode book: %w", err)
	}
	records := b.Inputs.Records()
	if _, err := ParseInputs(records); err != nil {
		return nil, fmt.Errorf("encode book: %w", err)
	}
	w := writer{b: []byte(bookMagic)}
	w.u32(uint32(len(records)))
	for _, r := range records {
		w.vec(r)
	}
	w.u32(uint32(len(b.Verdicts)))
	for _, v := range b.Verdicts {
		w.b = v.Append(w.b)
	}
	if len(w.b) > MaxBook {
		return nil, fmt.Errorf("encode book: %d bytes, more than %d", len(w.b), MaxBook)
	}
	enc, err := encoder()
	if err != nil {
		return nil, fmt.Errorf("encode book: %w", err)
	}
	return enc.EncodeAll(w.b, nil), nil
}

// encoder and decoder compress on the caller's goroutine; both are safe for
// concurrent use of EncodeAll and DecodeAll.
var (
	encoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(true))
	})
	decoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(MaxBook))
	})
)

// ParseBook parses a book's file. It checks the form alone: roots, signatures
// and judgement are the reader's to check. The book shares no memory with file.
func ParseBook(file []byte) (*Book, error) {
	dec, err := decoder()
	if err != nil {
		return nil, fmt.Errorf("parse book: %w", err)
	}
	raw, err := dec.DecodeAll(file, nil)
	if err != nil {
		return nil, fmt.Errorf("parse book: decompress: %w", err)
	}
	rest, ok := bytes.CutPrefix(raw, []byte(bookMagic))
	if !ok {
		return nil, fmt.Errorf("parse book: it does not begin with %q", bookMagic)
	}
	r := reader{b: rest}
	records := r.records()
	verdicts := make([]Verdict, r.count("verdicts", 0, MaxBook, VerdictSize))
	for i := range verdicts {
		if verdicts[i], err = ParseVerdict(r.take(VerdictSize)); err != nil {
			r.fail(err)
		}
	}
	if err := r.end("book"); err != nil {
		return nil, err
	}
	if err := checkVerdictOrder(verdicts); err != nil {
		return nil, fmt.Errorf("parse book: %w", err)
	}
	in, err := ParseInputs(records)
	if err != nil {
		return nil, fmt.Errorf("parse book: %w", err)
	}
	return &Book{Inputs: in, Verdicts: verdicts}, nil
}

// minRecord is the size of the smallest input record after header and policy: a
// beacon. It bounds what a book of empty records could make us allocate.
const minRecord = 1 + 8 + 32 + 8

func (r *reader) records() [][]byte {
	n := r.count("inputs", 2, MaxBook, 4)
	records := make([][]byte, 0, min(n, 2+len(r.b)/(4+minRecord)))
	for i := range n {
		record := r.vec()
		if i >= 2 && len(record) < minRecord {
			r.fail(fmt.Errorf("inputs: record %d has %d bytes", i, len(record)))
		}
		if r.err != nil {
			return nil
		}
		records = append(records, record)
	}
	return records
}

var errVerdictOrder = errors.New("verdicts do not ascend by device and worker")

func checkVerdictOrder(verdicts []Verdict) error {
	for i := 1; i < len(verdicts); i++ {
		if compareVerdicts(verdicts[i-1], verdicts[i]) >= 0 {
			return fmt.Errorf("verdict %d: %w", i, errVerdictOrder)
		}
	}
	return nil
}

func compareVerdicts(a, b Verdict) int {
	if c := bytes.Compare(a.UUID[:], b.UUID[:]); c != 0 {
		return c
	}
	return bytes.Compare(a.Worker[:], b.Worker[:])
}
