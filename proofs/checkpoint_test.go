package proofs

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/note"

	"github.com/ionet-settlement/ionet"
)

func TestCheckpoint(t *testing.T) {
	c := LogCheckpoint{Size: 12345, Root: ionet.HashOf([]byte("root"))}
	signed := must[[]byte](t)(SignCheckpoint(testNetwork, key("service"), c))
	if got := must[LogCheckpoint](t)(OpenCheckpoint(testNetwork, public("service"), signed)); got != c {
		t.Errorf("got %+v, want %+v", got, c)
	}
	want := "io-settlement/" + ionet.Key(testNetwork).String() + "\n12345\n" + base64.StdEncoding.EncodeToString(c.Root[:]) + "\n\n— io-settlement/"
	if !strings.HasPrefix(string(signed), want) {
		t.Errorf("the note is %q, not %q...", signed, want)
	}
	// What any C2SP client makes of it: x/mod's own verifier, by the key's text.
	v := must[note.Verifier](t)(note.NewVerifier(must[string](t)(LogVerifierKey(testNetwork, public("service")))))
	n := must[*note.Note](t)(note.Open(signed, note.VerifierList(v)))
	if n.Text != c.Text(testNetwork) || len(n.Sigs) != 1 {
		t.Errorf("x/mod opens it as %+v", n)
	}
	if v.KeyHash() != logKey(testNetwork, public("service")).KeyHash() {
		t.Error("x/mod has another key hash")
	}
	// A witness adds a signature of his own.
	witness := noteSigner{noteKey{"witness.example", public("witness")}, key("witness")}
	cosigned := must[[]byte](t)(note.Sign(&note.Note{Text: n.Text, Sigs: n.Sigs}, witness))
	if got, err := OpenCheckpoint(testNetwork, public("service"), cosigned); err != nil || got != c {
		t.Errorf("with a witness: %+v (%v)", got, err)
	}
	for name, bad := range map[string][]byte{
		"cut":             signed[:len(signed)-1],
		"another size":    bytes.Replace(signed, []byte("12345"), []byte("12346"), 1),
		"nothing":         nil,
		"huge":            bytes.Repeat([]byte("x\n"), maxCheckpoint),
		"only a witness":  must[[]byte](t)(note.Sign(&note.Note{Text: n.Text}, witness)),
		"another network": must[[]byte](t)(SignCheckpoint(ionet.HashOf(), key("service"), c)),
		"another key":     must[[]byte](t)(SignCheckpoint(testNetwork, key("operator"), c)),
	} {
		if got, err := OpenCheckpoint(testNetwork, public("service"), bad); err == nil {
			t.Errorf("%s: opens as %+v", name, got)
		}
	}
}

func TestCheckpointTextRefuses(t *testing.T) {
	good := LogCheckpoint{Size: 10, Root: ionet.HashOf([]byte("root"))}.Text(testNetwork)
	if _, err := ParseCheckpointText(testNetwork, good); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(good, "\n")
	for _, bad := range []string{
		"", good[:len(good)-1], good + "\n", good + "extension\n", "x" + good, strings.Replace(good, "\n10\n", "\n010\n", 1), strings.Replace(good, "\n10\n", "\n+10\n", 1),
		strings.Replace(good, "\n10\n", "\n9223372036854775808\n", 1), strings.Replace(good, "\n10\n", "\n-1\n", 1), strings.Replace(good, "=", "", 1),
		lines[0] + "\n10\n" + base64.StdEncoding.EncodeToString(make([]byte, 31)) + "\n", lines[0] + "\r\n" + lines[1] + "\n" + lines[2] + "\n",
		strings.Replace(good, lines[2], lines[2][:len(lines[2])-2]+"B=", 1), lines[0] + "\n" + lines[1] + "\n" + lines[2][:8] + "\r" + lines[2][8:] + "\n",
	} {
		if got, err := ParseCheckpointText(testNetwork, bad); err == nil {
			t.Errorf("%q parses as %+v", bad, got)
		}
	}
}

func FuzzCheckpoint(f *testing.F) {
	f.Add(LogCheckpoint{Size: 10, Root: ionet.HashOf([]byte("root"))}.Text(testNetwork))
	f.Fuzz(func(t *testing.T, s string) {
		if c, err := ParseCheckpointText(testNetwork, s); err == nil && c.Text(testNetwork) != s {
			t.Errorf("%q renders as %q", s, c.Text(testNetwork))
		}
	})
}
