package ionet

import (
	"crypto/sha256"
	"encoding"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseKey(t *testing.T) {
	for text, want := range map[string]Key{
		"11111111111111111111111111111111": {},
		"TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": {
			0x06, 0xdd, 0xf6, 0xe1, 0xd7, 0x65, 0xa1, 0x93, 0xd9, 0xcb, 0xe1, 0x46, 0xce, 0xeb, 0x79, 0xac,
			0x1c, 0xb4, 0x85, 0xed, 0x5f, 0x5b, 0x37, 0x91, 0x3a, 0x8c, 0xf5, 0x85, 0x7e, 0xff, 0x00, 0xa9,
		},
	} {
		got, err := ParseKey(text)
		if err != nil || got != want || got.String() != text || got.IsZero() != (want == Key{}) {
			t.Errorf("%s: got %x, %v, want %x", text, got[:], err, want[:])
		}
	}
	for _, c := range []struct{ text, want string }{
		{"", "is not base58"},
		{strings.Repeat("1", 31), "has 31 bytes, not 32"},
		{strings.Repeat("1", 33), "has 33 bytes, not 32"},
		{strings.Repeat("1", 31) + "0", "is not base58"},
		{strings.Repeat("1", 31) + "l", "is not base58"},
		{strings.Repeat("1", 31) + " ", "is not base58"},
		{strings.Repeat("1", 30) + "\u00e9", "is not base58"},
		{strings.Repeat("z", 44), "not 32"},
		{strings.Repeat("z", 1<<20), "key has 1048576 characters, more than 44"},
	} {
		if got, err := ParseKey(c.text); err == nil || !strings.Contains(err.Error(), c.want) || !got.IsZero() {
			t.Errorf("%.50q: got %s, %v, want %q", c.text, got, err, c.want)
		}
	}
}

func TestHashOf(t *testing.T) {
	if got, want := HashOf([]byte("ab"), nil, []byte("c")), Hash(sha256.Sum256([]byte("abc"))); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	if got := HashOf().String(); got != empty {
		t.Errorf("hash of nothing: got %s, want %s", got, empty)
	}
	if HashOf().IsZero() || !(Hash{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	for _, text := range []string{
		"", empty[1:], empty + "0", strings.ToUpper(empty), "g" + empty[1:], empty[:63] + "g", "0x" + empty[2:], strings.Repeat("\u212a", 21) + "0",
	} {
		if got, err := ParseHash(text); err == nil || !got.IsZero() {
			t.Errorf("%q: got %s, %v, want an error", text, got, err)
		}
	}
}

func TestParseUUID(t *testing.T) {
	const text = "GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b"
	want := UUID{0x6b, 0x1a, 0x1b, 0x7c, 0x0d, 0x3e, 0x4c, 0x55, 0x9f, 0x2b, 0x6f, 0x4f, 0x1d, 0x2e, 0x3a, 0x4b}
	if got, err := ParseUUID(text); err != nil || got != want {
		t.Errorf("got %s, %v", got, err)
	}
	for _, bad := range []string{
		"", "GPU-", text[4:], "gpu-" + text[4:], strings.ToUpper(text), text + "0", text[:len(text)-1], "MIG-" + text[4:],
		strings.Replace(text, "6b1a", "6B1a", 1), strings.Replace(text, "6b1a", "6g1a", 1), strings.Replace(text, "6b1a", "-b1a", 1),
		strings.Replace(text, "6b1a", "--1a", 1), strings.Replace(text, "7c-0d3e", "-7c0d3e", 1), text[:39] + "g",
	} {
		if got, err := ParseUUID(bad); err == nil || got != (UUID{}) {
			t.Errorf("%q: got %s, %v, want an error", bad, got, err)
		}
	}
}

// Each identifier's text parses to itself.
func TestKeyTexts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b [32]byte
		copy(b[rapid.IntRange(0, 32).Draw(t, "zeros"):], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "bytes"))
		k, h, u := Key(b), Hash(b), UUID(b[16:])
		var k2 Key
		var h2 Hash
		var u2 UUID
		roundTrip(t, k, &k2)
		roundTrip(t, h, &h2)
		roundTrip(t, u, &u2)
		if k2 != k || h2 != h || u2 != u {
			t.Errorf("%s %s %s came back as %s %s %s", k, h, u, k2, h2, u2)
		}
	})
}

func roundTrip(t *rapid.T, from encoding.TextMarshaler, to encoding.TextUnmarshaler) {
	text, err := from.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := to.UnmarshalText(text); err != nil {
		t.Fatal(err)
	}
	if err := to.UnmarshalText(append(text, '!')); err == nil {
		t.Errorf("%s! was accepted", text)
	}
}

func FuzzParseKey(f *testing.F) {
	f.Add("11111111111111111111111111111111")
	f.Add("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
	f.Add("JEKNVnkbo3jma5nREBBJCDoXFVeKkD56V3xKrvRmWxFG")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := ParseKey(s)
		if err == nil && k.String() != s {
			t.Errorf("%q came back as %q", s, k)
		}
		if err != nil && !k.IsZero() {
			t.Errorf("%q: got %s beside an error", s, k)
		}
		h, err := ParseHash(s)
		if err == nil && h.String() != s {
			t.Errorf("%q came back as %q", s, h)
		}
	})
}

func FuzzParseUUID(f *testing.F) {
	f.Add("GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4b")
	f.Add("GPU-6b1a1b7c-0d3e-4c55-9f2b-6f4f1d2e3a4B")
	f.Add("GPU---------------------------------------")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseUUID(s)
		if err == nil && u.String() != s {
			t.Errorf("%q came back as %q", s, u)
		}
		if err != nil && u != (UUID{}) {
			t.Errorf("%q: got %s beside an error", s, u)
		}
	})
}
