package framed

import (
	"bytes"
	"errors"
	"testing"
)

// TestCut takes the records of a file that ends at every byte: the whole ones are
// there, and what follows them is torn, not damaged.
func TestCut(t *testing.T) {
	file := Append(Append(Append(nil, 'a', []byte("one")), 'b'), 'c', []byte("th"), []byte("ree"))
	ends := []int{0, Head + 4, 2*Head + 5, len(file)}
	for cut := range len(file) + 1 {
		b, n := file[:cut], 0
		for {
			_, rest, err := Take(b)
			if err != nil {
				break
			}
			b, n = rest, n+1
		}
		if ends[n] > cut || n < 3 && ends[n+1] <= cut {
			t.Errorf("cut at %d: %d records", cut, n)
		}
		if WholeAfter(b) {
			t.Errorf("cut at %d: a torn end passes for damage", cut)
		}
	}
}

// TestFlip flips every bit: no record with a wrong payload is taken, and one in the
// middle is damage wherever its length still leads to the next.
func TestFlip(t *testing.T) {
	file := Append(Append(nil, 'a', []byte("payload")), 'b', []byte("next"))
	first, _, _ := Take(file)
	for bit := range 8 * (Head + len(first)) {
		b := bytes.Clone(file)
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, err := Take(b); !errors.Is(err, ErrTorn) {
			t.Fatalf("bit %d flipped: %v", bit, err)
		}
		if bit >= 32 && !WholeAfter(b) {
			t.Errorf("bit %d flipped: damage passes for a torn end", bit)
		}
	}
}

// TestWholeLater finds the next record of a tag whatever is in between.
func TestWholeLater(t *testing.T) {
	next := Append(nil, 'w', []byte("next"))
	for n := range 40 {
		if b := append(bytes.Repeat([]byte{0xee}, n+1), next...); !WholeLater(b, 'w') || WholeLater(b, 'x') {
			t.Errorf("%d bytes before it", n+1)
		}
	}
	if WholeLater(next, 'w') || WholeLater(append([]byte{1}, next[:len(next)-1]...), 'w') {
		t.Error("the first, or a torn one, passes for a later one")
	}
}

func FuzzTake(f *testing.F) {
	f.Add(Append(nil, 'x', []byte("seed")))
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, rest, err := Take(b)
		WholeAfter(b)
		if err == nil && !bytes.Equal(append(Append(nil, payload[0], payload[1:]), rest...), b) {
			t.Errorf("% x is not its record again", b)
		}
	})
}
