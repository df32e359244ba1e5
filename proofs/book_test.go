package proofs

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/ionet-settlement/ionet"
)

// fullWorld has a record of every tag and a statement of every input kind.
func fullWorld(t testing.TB) *world {
	w := newWorld(t)
	w.in.Bindings = []Binding{{UUID: device(2), Worker: public("v"), Since: 1, Last: 6}, {UUID: device(1), Worker: public("w"), Since: 3, Last: 5}}
	a := w.honest("p", "w", gpu{1, h100}, gpu{3, rtx4090})
	a.work(0, 1, 2, 3, 4)
	b := w.honest("q", "v", gpu{2, h100})
	b.work(1, 3, 4)
	w.revoke("q", b.delegation, Arrival{worldEpoch, 1})
	w.release("p", "w", device(1), Arrival{worldEpoch, 1})
	return w
}

func fullBook(t testing.TB) *Book {
	w := fullWorld(t)
	j := w.judge()
	return &Book{Inputs: w.in, Verdicts: j.Verdicts}
}

func TestBookRoundTrip(t *testing.T) {
	b := fullBook(t)
	file := must[[]byte](t)(EncodeBook(b))
	if again := must[[]byte](t)(EncodeBook(b)); !bytes.Equal(file, again) {
		t.Error("two encodings of one book differ")
	}
	got := must[*Book](t)(ParseBook(file))
	if d := cmp.Diff(b, got, cmp.Comparer(func(x, y ionet.Amount) bool { return x == y })); d != "" {
		t.Error(d)
	}
	if got.Root() != b.Root() || got.Root() != BookRoot(b.Inputs.Root(), VerdictsRoot(b.Verdicts)) {
		t.Error("roots differ")
	}
}

// A book with any byte changed either does not parse or has another root.
func TestBookFlips(t *testing.T) {
	b := fullBook(t)
	root := b.Root()
	file := must[[]byte](t)(EncodeBook(b))
	raw := must[[]byte](t)(must[*zstd.Decoder](t)(decoder()).DecodeAll(file, nil))
	enc := must[*zstd.Encoder](t)(encoder())
	for i := 0; i < len(raw); i += 3 {
		bad := bytes.Clone(raw)
		bad[i] ^= 1 << (i % 8)
		got, err := ParseBook(enc.EncodeAll(bad, nil))
		if err == nil && got.Root() == root {
			t.Fatalf("byte %d changed, and the root is the same", i)
		}
	}
	// In the file itself: what still parses is the same book, never another.
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 1 << (i % 8)
		if got, err := ParseBook(bad); err == nil && got.Root() != root {
			t.Fatalf("byte %d of the file changed: another book", i)
		}
	}
}

func TestBookRefuses(t *testing.T) {
	enc := must[*zstd.Encoder](t)(encoder())
	raw := must[[]byte](t)(must[*zstd.Decoder](t)(decoder()).DecodeAll(must[[]byte](t)(EncodeBook(fullBook(t))), nil))
	empty := binary.LittleEndian.AppendUint32([]byte(bookMagic), 1<<22)
	for name, b := range map[string][]byte{
		"nothing":       enc.EncodeAll(nil, nil),
		"no zstd":       raw,
		"magic":         enc.EncodeAll(append([]byte("io-book/2\n"), raw[len(bookMagic):]...), nil),
		"cut":           enc.EncodeAll(raw[:len(raw)-1], nil),
		"trailing":      enc.EncodeAll(append(bytes.Clone(raw), 0), nil),
		"empty records": enc.EncodeAll(append(empty, make([]byte, 1<<24)...), nil),
	} {
		if _, err := ParseBook(b); err == nil {
			t.Errorf("%s: parses", name)
		}
	}
	b := fullBook(t)
	b.Verdicts[0], b.Verdicts[1] = b.Verdicts[1], b.Verdicts[0]
	if _, err := EncodeBook(b); err == nil {
		t.Error("verdicts out of order: encodes")
	}
	b = fullBook(t)
	slices.Reverse(b.Inputs.Statements)
	if _, err := EncodeBook(b); err == nil {
		t.Error("statements out of order: encodes")
	}
}

// The same statements in any order come to the same root.
func TestSortIsCanonical(t *testing.T) {
	w := fullWorld(t)
	if err := w.in.Sort(); err != nil {
		t.Fatal(err)
	}
	want := w.in.Root()
	rapid.Check(t, func(r *rapid.T) {
		in := *w.in
		in.Statements = rapid.Permutation(w.in.Statements).Draw(r, "statements")
		in.Beacons = rapid.Permutation(w.in.Beacons).Draw(r, "beacons")
		in.Bindings = rapid.Permutation(w.in.Bindings).Draw(r, "bindings")
		if err := in.Sort(); err != nil {
			r.Fatal(err)
		}
		if in.Root() != want {
			r.Fatal("another root")
		}
	})
}

func TestParseInputsRefuses(t *testing.T) {
	w := fullWorld(t)
	if err := w.in.Sort(); err != nil {
		t.Fatal(err)
	}
	good := w.in.Records()
	if _, err := ParseInputs(good); err != nil {
		t.Fatal(err)
	}
	for i := range good { // every record but one of a kind can be missing; none can be twice or elsewhere
		twice := slices.Insert(slices.Clone(good), i, good[i])
		if _, err := ParseInputs(twice); err == nil {
			t.Errorf("record %d twice: parses", i)
		}
		if i > 0 {
			swapped := slices.Clone(good)
			swapped[i-1], swapped[i] = swapped[i], swapped[i-1]
			if _, err := ParseInputs(swapped); err == nil {
				t.Errorf("records %d and %d swapped: parse", i-1, i)
			}
		}
		for _, rec := range [][]byte{good[i][:len(good[i])-1], append(bytes.Clone(good[i]), 0), {}, {9}} {
			spoiled := slices.Clone(good)
			spoiled[i] = rec
			if _, err := ParseInputs(spoiled); err == nil {
				t.Errorf("record %d spoiled: parses", i)
			}
		}
	}
	for name, f := range map[string]func(in *Inputs){
		"epoch 0":             func(in *Inputs) { in.Epoch, in.Bindings = 0, nil },
		"binding of now":      func(in *Inputs) { in.Bindings[0].Last = worldEpoch },
		"binding backwards":   func(in *Inputs) { in.Bindings[0].Since = 6 },
		"binding since never": func(in *Inputs) { in.Bindings[0].Since = 0 },
	} {
		in := *w.in
		in.Bindings = slices.Clone(w.in.Bindings)
		f(&in)
		if _, err := ParseInputs(in.Records()); err == nil {
			t.Errorf("%s: parses", name)
		}
	}
	if _, err := ParseInputs(good[:1]); err == nil || !strings.Contains(err.Error(), "missing") {
		t.Errorf("no policy: got %v", err)
	}
}

func TestVerdictRoundTrip(t *testing.T) {
	for _, v := range fullBook(t).Verdicts {
		b := v.Append(nil)
		if got, err := ParseVerdict(b); err != nil || got != v || len(b) != VerdictSize {
			t.Errorf("got %+v, %v, want %+v", got, err, v)
		}
		if _, err := ParseVerdict(b[1:]); err == nil {
			t.Error("a cut verdict parses")
		}
		b[VerdictSize-1] = 0x80 // an amount of 2^63 and more
		if _, err := ParseVerdict(b); err == nil {
			t.Error("an amount out of range parses")
		}
	}
}

func FuzzVerdict(f *testing.F) {
	f.Add(fullBook(f).Verdicts[0].Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := ParseVerdict(b); err == nil && !bytes.Equal(v.Append(nil), b) {
			t.Errorf("%x encodes again as %x", b, v.Append(nil))
		}
	})
}

// FuzzBook fuzzes what lies under the compression: there a mutation means
// something.
func FuzzBook(f *testing.F) {
	dec, enc := must[*zstd.Decoder](f)(decoder()), must[*zstd.Encoder](f)(encoder())
	f.Add(must[[]byte](f)(dec.DecodeAll(must[[]byte](f)(EncodeBook(fullBook(f))), nil)))
	f.Add([]byte(bookMagic))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := ParseBook(enc.EncodeAll(raw, nil))
		if err != nil {
			return
		}
		file, err := EncodeBook(b)
		if err != nil {
			t.Fatalf("what parses does not encode: %v", err)
		}
		if again, err := dec.DecodeAll(file, nil); err != nil || !bytes.Equal(again, raw) {
			t.Errorf("encodes again differently (%v)", err)
		}
		if j, err := Judge(b.Inputs, testTerms); err == nil {
			checkTotals(t, j)
			if _, err := NextBindings(b.Inputs, j.Verdicts); err != nil {
				t.Errorf("judged, but no bindings follow: %v", err)
			}
		}
	})
}

func FuzzFile(f *testing.F) {
	f.Add(must[[]byte](f)(EncodeBook(fullBook(f))))
	f.Fuzz(func(t *testing.T, file []byte) {
		if b, err := ParseBook(file); err == nil {
			b.Root()
		}
	})
}
