package proofs

import (
	"compress/gzip"
	stdlib "crypto/ed25519"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ionet-settlement/ionet"
)

// edgeCase is a signature of public test vectors as an envelope whose signed bytes
// are the vector's message. zip215 is what the vectors' authors expect of that rule.
type edgeCase struct {
	id, comment string
	zip215      bool
	e           Envelope
}

// edgeSet is one file of testdata/ed25519; SOURCES.md tells where it is from.
type edgeSet struct {
	name      string
	cases     []edgeCase
	otherSize int // cases whose signature does not have 64 bytes: no envelope holds them
}

func edgeSets(t testing.TB) []edgeSet {
	return []edgeSet{wycheproofCases(t), speccheckCases(t), zip215Cases(t), encodingCases(t)}
}

func readVectors(t testing.TB, name string, into any) {
	t.Helper()
	f := must[*os.File](t)(os.Open(filepath.Join("testdata", "ed25519", name+".json.gz")))
	defer f.Close()
	if err := json.NewDecoder(must[*gzip.Reader](t)(gzip.NewReader(f))).Decode(into); err != nil {
		t.Fatalf("read %s: %v", name, err)
	}
}

// envelopeOf holds a vector: of a text kind the body is what is signed.
func envelopeOf(t testing.TB, key, signature string, message []byte) Envelope {
	t.Helper()
	unhex := func(s string) []byte { return must[[]byte](t)(hex.DecodeString(s)) }
	return Envelope{Kind: KindDelegation, Signer: ionet.Key(unhex(key)), Signature: [64]byte(unhex(signature)), Body: message}
}

func wycheproofCases(t testing.TB) edgeSet {
	var file struct {
		TestGroups []struct {
			Key   struct{ PK string }
			Tests []struct {
				TCID                      int
				Comment, Msg, Sig, Result string
			}
		}
	}
	readVectors(t, "eddsa_test", &file)
	set := edgeSet{name: "wycheproof"}
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			if len(c.Sig) != 128 {
				set.otherSize++
				continue
			}
			e := envelopeOf(t, g.Key.PK, c.Sig, must[[]byte](t)(hex.DecodeString(c.Msg)))
			set.cases = append(set.cases, edgeCase{fmt.Sprint(c.TCID), c.Comment, c.Result == "valid", e})
		}
	}
	return set
}

func speccheckCases(t testing.TB) edgeSet {
	about := []struct {
		comment string
		zip215  bool // the row of Zebra in the authors' results.md
	}{
		{"A and R of small order, s = 0", true}, {"A of small order, R mixed", true}, {"A mixed, R of small order", true}, {"A and R mixed", true},
		{"only the cofactored equation holds", true}, {"only 8(hA) holds, (8h mod L)A does not", true}, {"s > L", false}, {"s >> L", false},
		{"R of small order and not canonical, hashed reduced", false}, {"R of small order and not canonical, hashed as it is", true},
		{"A of small order and not canonical, hashed reduced", true}, {"A of small order and not canonical, hashed as it is", true},
	}
	var file []struct {
		Message   string `json:"message"`
		PubKey    string `json:"pub_key"`
		Signature string `json:"signature"`
	}
	readVectors(t, "speccheck_cases", &file)
	if len(file) != len(about) {
		t.Fatalf("speccheck has %d cases, want %d", len(file), len(about))
	}
	set := edgeSet{name: "speccheck"}
	for i, c := range file {
		e := envelopeOf(t, c.PubKey, c.Signature, must[[]byte](t)(hex.DecodeString(c.Message)))
		set.cases = append(set.cases, edgeCase{fmt.Sprint(i), about[i].comment, about[i].zip215, e})
	}
	return set
}

func zip215Cases(t testing.TB) edgeSet {
	var file [][2]string
	readVectors(t, "zip215", &file)
	set := edgeSet{name: "zip215"}
	for i, c := range file {
		set.cases = append(set.cases, edgeCase{fmt.Sprint(i), "", true, envelopeOf(t, c[0], c[1], []byte("Zcash"))})
	}
	return set
}

// encodingCases hold the cofactored equation, in every encoding of the points.
func encodingCases(t testing.TB) edgeSet {
	var file []struct {
		A, R, S, M string
		Flags      []string
	}
	readVectors(t, "ed25519vectors", &file)
	set := edgeSet{name: "encodings"}
	for i, c := range file {
		set.cases = append(set.cases, edgeCase{fmt.Sprint(i), fmt.Sprint(c.Flags), true, envelopeOf(t, c.A, c.R+c.S, []byte(c.M))})
	}
	return set
}

// Every public vector has one verdict: alone, in a batch of one, between good
// neighbours, and among all others, with cached keys and without; it is the one that
// a slow judge of ZIP-215 gives, and the one that the authors expect. A voucher
// needs the standard library's too.
func TestEdgeCases(t *testing.T) {
	for _, set := range edgeSets(t) {
		t.Run(set.name, func(t *testing.T) {
			v := NewVerifier(testNetwork, 1000)
			neighbours := signed(8, 8)
			all := make([]Envelope, len(set.cases))
			for i, c := range set.cases {
				all[i] = c.e
				if got := judgeSignature(&c.e).zip215(); got != c.zip215 {
					t.Errorf("case %s (%s): the slow judge says %t, its authors %t", c.id, c.comment, got, c.zip215)
				}
				if got := c.e.Verify(testNetwork) == nil; got != c.zip215 {
					t.Errorf("case %s (%s): alone %t, want %t", c.id, c.comment, got, c.zip215)
				}
				for _, at := range []int{0, i % 9, 8} {
					hidden := slices.Insert(slices.Clone(neighbours), at, c.e)
					for j, err := range v.Verify(hidden) {
						if want := j != at || c.zip215; (err == nil) != want {
							t.Errorf("case %s (%s) at %d among neighbours: envelope %d verifies %t, want %t", c.id, c.comment, at, j, err == nil, want)
						}
					}
				}
				voucher := c.e
				voucher.Kind = KindVoucher
				strict := c.zip215 && stdlib.Verify(c.e.Signer[:], c.e.Body, c.e.Signature[:])
				if one := v.Verify([]Envelope{c.e, voucher}); (one[0] == nil) != c.zip215 || (one[1] == nil) != strict || (voucher.Verify(testNetwork) == nil) != strict {
					t.Errorf("case %s (%s): %v, want %t, and as a voucher %t", c.id, c.comment, one, c.zip215, strict)
				}
			}
			for i, err := range v.Verify(all) {
				if c := set.cases[i]; (err == nil) != c.zip215 {
					t.Errorf("case %s (%s) among all: %t, want %t", c.id, c.comment, err == nil, c.zip215)
				}
			}
		})
	}
}

// edgeVector lists what ZIP-215 accepts beyond other rules: RFC 8032, which asks for
// canonical points, and the Go standard library, whose equation has no cofactor.
type edgeVector struct {
	Set           string       `json:"set"`
	Cases         int          `json:"cases"`
	OtherSize     int          `json:"signatures_of_another_size"`
	ZIP215        int          `json:"accepted_by_zip215"`
	RFC8032       int          `json:"accepted_by_rfc8032"`
	StandardLib   int          `json:"accepted_by_go"`
	BeyondRFC8032 []beyondCase `json:"beyond_rfc8032"`
	BeyondGo      []beyondCase `json:"beyond_go"`
}

type beyondCase struct {
	ID      string `json:"id"`
	Comment string `json:"comment"`
}

func edgeVectors(t testing.TB) []edgeVector {
	var list []edgeVector
	for _, set := range []edgeSet{wycheproofCases(t), speccheckCases(t)} {
		v := edgeVector{Set: set.name, Cases: len(set.cases) + set.otherSize, OtherSize: set.otherSize, BeyondRFC8032: []beyondCase{}, BeyondGo: []beyondCase{}}
		for _, c := range set.cases {
			ours := c.e.Verify(testNetwork) == nil
			rfc, lib := judgeSignature(&c.e).rfc8032(), stdlib.Verify(c.e.Signer[:], c.e.Body, c.e.Signature[:])
			v.ZIP215 += count(ours)
			v.RFC8032 += count(rfc)
			v.StandardLib += count(lib)
			if ours && !rfc {
				v.BeyondRFC8032 = append(v.BeyondRFC8032, beyondCase{c.id, c.comment})
			}
			if ours && !lib {
				v.BeyondGo = append(v.BeyondGo, beyondCase{c.id, c.comment})
			}
			if !ours && (rfc || lib) {
				t.Errorf("%s case %s: ZIP-215 refuses what another rule accepts", set.name, c.id)
			}
		}
		list = append(list, v)
	}
	return list
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// opinion is what the slow judge finds: points that decode, s below the group order,
// the cofactored equation, and whether both points are in their canonical encoding.
type opinion struct{ points, reduced, holds, canonical bool }

func (o opinion) zip215() bool  { return o.points && o.reduced && o.holds }
func (o opinion) rfc8032() bool { return o.zip215() && o.canonical }

// judgeSignature is ZIP-215 by the book, on big numbers and affine points, sharing no
// code with the verifier: [8]([s]B - [k]A - R) = 0.
func judgeSignature(e *Envelope) opinion {
	a, aCanonical, aOK := decodePoint(e.Signer[:])
	r, rCanonical, rOK := decodePoint(e.Signature[:32])
	if !aOK || !rOK {
		return opinion{}
	}
	h := sha512.New()
	h.Write(e.Signature[:32])
	h.Write(e.Signer[:])
	h.Write(e.Body)
	k, s := littleEndian(h.Sum(nil)), littleEndian(e.Signature[32:])
	k.Mod(k, groupOrder)
	base, _, _ := decodePoint(append([]byte{0x58}, bytesOf(0x66, 31)...))
	sum := addPoints(multiply(s, base), addPoints(multiply(k, a.negated()), r.negated()))
	return opinion{
		points: true, reduced: s.Cmp(groupOrder) < 0, canonical: aCanonical && rCanonical,
		holds: multiply(big.NewInt(8), sum).isZero(),
	}
}

var (
	fieldPrime    = new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
	groupOrder, _ = new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	curveD        = new(big.Int).Mod(new(big.Int).Mul(big.NewInt(-121665), new(big.Int).ModInverse(big.NewInt(121666), fieldPrime)), fieldPrime)
)

// bigPoint is a point of -x² + y² = 1 + dx²y² as X/Z, Y/Z.
type bigPoint struct{ x, y, z *big.Int }

func (p bigPoint) negated() bigPoint { return bigPoint{mod(new(big.Int).Neg(p.x)), p.y, p.z} }
func (p bigPoint) isZero() bool      { return p.x.Sign() == 0 && p.y.Cmp(p.z) == 0 }

func mod(n *big.Int) *big.Int          { return n.Mod(n, fieldPrime) }
func product(a, b *big.Int) *big.Int   { return mod(new(big.Int).Mul(a, b)) }
func bytesOf(b byte, n int) (s []byte) { return slices.Repeat([]byte{b}, n) }

func littleEndian(b []byte) *big.Int {
	b = slices.Clone(b)
	slices.Reverse(b)
	return new(big.Int).SetBytes(b)
}

// decodePoint takes y modulo p and either sign of x = 0, as ZIP-215 does; canonical
// says whether RFC 8032, section 5.1.3, would decode it too.
func decodePoint(b []byte) (p bigPoint, canonical, ok bool) {
	y := littleEndian(b)
	sign := y.Bit(255)
	y.SetBit(y, 255, 0)
	canonical = y.Cmp(fieldPrime) < 0
	mod(y)
	one, y2 := big.NewInt(1), product(y, y)
	x2 := mod(new(big.Int).Sub(y2, one))
	x2 = product(x2, new(big.Int).ModInverse(mod(new(big.Int).Add(product(curveD, y2), one)), fieldPrime))
	x := new(big.Int).ModSqrt(x2, fieldPrime)
	if x == nil {
		return p, false, false
	}
	if x.Sign() == 0 && sign == 1 {
		canonical = false
	}
	if x.Bit(0) != sign {
		mod(x.Neg(x))
	}
	return bigPoint{x, y, one}, canonical, true
}

// addPoints is the complete law of projective twisted Edwards curves, a = -1
// (add-2008-bbjlp).
func addPoints(p, q bigPoint) bigPoint {
	a := product(p.z, q.z)
	b := product(a, a)
	c, d := product(p.x, q.x), product(p.y, q.y)
	e := product(curveD, product(c, d))
	f, g := new(big.Int).Sub(b, e), new(big.Int).Add(b, e)
	cross := product(new(big.Int).Add(p.x, p.y), new(big.Int).Add(q.x, q.y))
	cross.Sub(cross.Sub(cross, c), d)
	return bigPoint{product(a, product(f, cross)), product(a, product(g, new(big.Int).Add(d, c))), product(f, g)}
}

func multiply(n *big.Int, p bigPoint) bigPoint {
	sum := bigPoint{new(big.Int), big.NewInt(1), big.NewInt(1)}
	for i := n.BitLen() - 1; i >= 0; i-- {
		sum = addPoints(sum, sum)
		if n.Bit(i) == 1 {
			sum = addPoints(sum, p)
		}
	}
	return sum
}
