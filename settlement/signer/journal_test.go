package signer

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// A full signer goes from position to position by what it signed itself.
func TestOrderOfPositions(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	p5 := w.at("pay-0", 5)
	a, b := w.payout(p5, 1), w.payout(p5, 2)
	mustSign(t, s, ask(t, a, p5)) // the journal begins where the lane is
	mustSign(t, s, ask(t, b, p5))
	after := map[string]seat{"a": p5.next(t, a), "b": p5.next(t, b)}

	mustRefuse(t, s, "past", ask(t, w.payout(w.at("pay-0", 4), 1), w.at("pay-0", 4)))
	mustRefuse(t, s, "history", ask(t, w.payout(w.at("pay-0", 6), 1), w.at("pay-0", 6)))
	p7 := after["a"].next(t, w.skip(after["a"]))
	mustRefuse(t, s, "history", ask(t, w.skip(p7), p7))
	other := seat{Position{p5.Lane, 5, ionet.Hash{1}}, "pay-0"}
	mustRefuse(t, s, "history", ask(t, w.payout(other, 1), other))

	s.Close()
	s = w.server(t, path) // the same after a restart
	mustRefuse(t, s, "past", ask(t, w.payout(w.at("pay-0", 4), 1), w.at("pay-0", 4)))
	// Which of the two won is the asker's to know; the loser's successor can't land.
	mustSign(t, s, ask(t, w.skip(after["b"]), after["b"]))
	mustSign(t, s, ask(t, w.skip(after["a"]), after["a"]))
	mustRefuse(t, s, "past", ask(t, a, p5))
	mustSign(t, s, ask(t, w.skip(p7), p7))
}

// A journal that lags is opened again by hand, and still lets nothing go back.
func TestReopen(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	p5, p9 := w.at("pay-0", 5), w.at("pay-0", 9)
	mustSign(t, s, ask(t, w.skip(p5), p5))
	mustRefuse(t, s, "history", ask(t, w.skip(p9), p9))
	s.Close()
	if _, err := w.open(path, func(c *ServerConfig) { c.Reopen = []Reopening{{Lane: w.first("claim-0").Lane}} }); err == nil {
		t.Error("a lane that the journal does not have was opened again")
	}
	s = w.server(t, path, func(c *ServerConfig) { c.Reopen = []Reopening{{Lane: p5.Lane}} })
	s.Close()
	s = w.server(t, path) // it is in the journal, not in the process
	mustRefuse(t, s, "past", ask(t, w.skip(w.at("pay-0", 4)), w.at("pay-0", 4)))
	mustSign(t, s, ask(t, w.skip(p9), p9))
	mustRefuse(t, s, "past", ask(t, w.skip(p5), p5))
	elsewhere := seat{Position{p9.Lane, 10, ionet.Hash{1}}, "pay-0"}
	mustRefuse(t, s, "history", ask(t, w.skip(elsewhere), elsewhere))

	// A stolen service had positions signed that never landed: a person who looked at
	// the chain says where the lane is.
	s.Close()
	from := uint64(7)
	s = w.server(t, path, func(c *ServerConfig) { c.Reopen = []Reopening{{p5.Lane, &from}} })
	s.Close()
	s = w.server(t, path)
	mustRefuse(t, s, "past", ask(t, w.skip(p5), p5))
	p7 := w.at("pay-0", 7)
	mustSign(t, s, ask(t, w.skip(p7), p7))
}

func TestOneSignerHoldsAJournal(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	w.server(t, path)
	if s, err := w.open(path); err == nil {
		s.Close()
		t.Error("two signers hold one journal")
	}
}

// signedJournal makes a journal of three batches and returns its text, the request
// of each batch, and one that the last batch makes past.
func signedJournal(t *testing.T, w *world) (text []byte, past Request, head Request) {
	t.Helper()
	path := journalPath(t)
	s := w.server(t, path)
	at := w.at("pay-0", 5)
	for i := range 3 {
		p := w.payout(at, uint64(100+i))
		claim := w.first("claim-0")
		r := ask(t, p, at)
		answers := sign(t, s, r, ask(t, w.claim(claim, payee(i), uint64(1+i)), claim))
		for _, a := range answers {
			if a.Refused != nil {
				t.Fatal(a.Refused)
			}
		}
		past, head = head, r
		at = at.next(t, p)
	}
	s.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text, past, head
}

// A crash can cut the last line at every byte. What was synced before counts, the
// signer opens, and what it appends is read by the next one.
func TestJournalCutAtEveryByte(t *testing.T) {
	w := newWorld(t)
	text, past, head := signedJournal(t, w)
	lines := bytes.SplitAfter(text, []byte("\n"))
	if len(lines) != 5 {
		t.Fatalf("%d lines, want a header and three batches", len(lines)-1)
	}
	path, lane := journalPath(t), w.first("pay-0").Lane
	for cut := range len(text) + 1 {
		whole := bytes.Count(text[:cut], []byte("\n"))
		if cut < len(text) && text[cut] == '\n' { // all but its newline
			whole++
		}
		want := uint64(0)
		if whole > 1 {
			want = 5 + uint64(whole) - 2
		}
		h := newHeads(&w.policy, true)
		if _, _, err := readLines(bytes.NewReader(text[:cut]), w.Network.ID(), h.replay); err != nil && !errors.Is(err, errNoNewline) {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		if got := positionOf(h, lane); got != want {
			t.Errorf("cut at byte %d: the journal ends at position %d, want %d", cut, got, want)
		}
		if cut%97 != 0 && len(text)-cut > 3 && whole == bytes.Count(text[:cut], []byte("\n")) {
			continue // the file itself, for some of the cuts
		}
		if err := os.WriteFile(path, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := w.open(path)
		if err != nil {
			t.Fatalf("cut at byte %d: %v", cut, err)
		}
		if whole == len(lines)-1 {
			mustRefuse(t, s, "past", past)
		}
		if whole != 2 && whole != 1 { // position 7 follows 6 and 7, and begins an empty journal
			mustSign(t, s, head)
			want = 7
		}
		s.Close()
		if s, err = w.open(path); err != nil {
			t.Fatalf("cut at byte %d, then opened twice: %v", cut, err)
		}
		if got := positionOf(s.journal.heads, lane); got != want {
			t.Errorf("cut at byte %d, then opened twice: the journal ends at position %d, want %d", cut, got, want)
		}
		s.Close()
	}
}

func positionOf(h *heads, lane ionet.Key) uint64 {
	if l, ok := h.lanes[lane]; ok {
		return l.n
	}
	return 0
}

// Blocks that the disk never wrote read as zeros.
func TestJournalOfZeros(t *testing.T) {
	w := newWorld(t)
	text, _, _ := signedJournal(t, w)
	last := bytes.LastIndexByte(text[:len(text)-1], '\n') + 1
	for _, n := range []int{1, 10, len(text) - last} {
		path := journalPath(t)
		cut := append(bytes.Clone(text[:len(text)-n]), make([]byte, n)...)
		if err := os.WriteFile(path, cut, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := w.open(path)
		if err != nil {
			t.Fatalf("%d zeros: %v", n, err)
		}
		if got := s.journal.heads.lanes[w.first("pay-0").Lane].n; got != 6 {
			t.Errorf("%d zeros: the journal ends at %d, want 6", n, got)
		}
		s.Close()
	}
}

// No byte of a synced line can change unseen, no line can be moved or taken out.
func TestJournalTampering(t *testing.T) {
	w := newWorld(t)
	text, _, _ := signedJournal(t, w)
	lines := bytes.SplitAfter(text, []byte("\n"))
	refuse := func(name string, changed []byte) {
		t.Helper()
		path := journalPath(t)
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := w.open(path); err == nil {
			s.Close()
			t.Errorf("%s: the journal opens", name)
		}
	}
	random := rand.New(rand.NewSource(1))
	for range 300 {
		changed := bytes.Clone(text)
		i := random.Intn(len(text) - 1) // without the last newline, that a crash could have cut
		changed[i] ^= 1 << random.Intn(7)
		refuse(fmt.Sprintf("bit of byte %d", i), changed)
	}
	join := func(list ...[]byte) []byte { return bytes.Join(list, nil) }
	refuse("a line taken out", join(lines[0], lines[2], lines[3]))
	refuse("lines moved", join(lines[0], lines[2], lines[1], lines[3]))
	refuse("a line twice", join(lines[0], lines[1], lines[1], lines[2]))
	refuse("another network's", []byte(strings.Replace(string(text), ionet.Key(w.Network.ID()).String(), payee(1).String(), 1)))
	refuse("no journal", []byte("hello\n"))
}

// After a write whose end is unknown nothing is signed; opened again, whatever is in
// the file counts.
func TestJournalThatCantBeWritten(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	at := w.at("pay-0", 5)
	p := w.payout(at, 1)
	mustSign(t, s, ask(t, p, at))
	s.journal.file.Close() // as a disk that is gone
	next := at.next(t, p)
	for range 2 {
		if answers, err := s.Sign(t.Context(), []Request{ask(t, w.skip(next), next)}); err == nil {
			t.Fatalf("signed without a journal: %+v", answers)
		}
	}
	s = w.server(t, path)
	mustRefuse(t, s, "past", ask(t, w.skip(w.at("pay-0", 4)), w.at("pay-0", 4)))
	mustSign(t, s, ask(t, w.skip(next), next))
}

// The crash between sync and answer: the content is in the journal, the signatures
// are nowhere. Asking again, for the same content or another one, is answered, and the
// position counts once.
func TestSignaturesThatGotLost(t *testing.T) {
	w := newWorld(t)
	path := journalPath(t)
	s := w.server(t, path)
	at := w.at("pay-0", 5)
	lost, other := w.payout(at, 9_000), w.payout(at, 8_000, 1_000)
	sign(t, s, ask(t, lost, at)) // nobody hears the answer
	s.Close()
	s = w.server(t, path)
	mustSign(t, s, ask(t, lost, at))
	mustSign(t, s, ask(t, other, at))
	if got := s.journal.heads.spent(s.journal.heads.moves, chain.KindPayout, w.now); got != 9_000 {
		t.Errorf("%d base units count, want 9000: one of the two lands", got)
	}
	next := at.next(t, other)
	mustSign(t, s, ask(t, w.payout(next, 1_000), next))
}

// What is in a journal does not depend on how requests were batched.
func TestBatchesAreRepeatable(t *testing.T) {
	w := newWorld(t)
	one, many := w.server(t, journalPath(t)), w.server(t, journalPath(t))
	var list []Request
	at := w.at("pay-0", 5)
	for i := range 10 {
		p := w.payout(at, uint64(i+1)*400)
		list = append(list, ask(t, p, at), ask(t, w.skip(at), at))
		at = at.next(t, p)
	}
	together := sign(t, one, list...)
	for i, r := range list {
		alone := sign(t, many, r)[0]
		if (alone.Refused == nil) != (together[i].Refused == nil) || len(alone.Signatures) != len(together[i].Signatures) {
			t.Errorf("request %d: alone %v, in a batch %v", i, alone.Refused, together[i].Refused)
		}
	}
}

func FuzzJournal(f *testing.F) {
	network := ionet.Hash{1}
	var sum chainOf
	text := sum.begin(network)
	text += sum.seal(line{at: 7, lamports: 5000, entries: []entry{{kind: chain.KindPayout, lane: ionet.Key{2}, n: 9, amount: ionet.MustAmount(3)}}})
	f.Add([]byte(text))
	f.Add([]byte(text + sum.seal(line{at: 8, reopen: []Reopening{{Lane: ionet.Key{2}}}})))
	f.Add([]byte(text[:len(text)-1]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var again chainOf
		written := again.begin(network)
		_, good, err := readLines(bytes.NewReader(b), network, func(l line) error {
			written += again.seal(l)
			return nil
		})
		if good > int64(len(b)) {
			t.Fatalf("%d bytes hold, there are %d", good, len(b))
		}
		if err == nil && good > 0 && written != string(b[:good]) {
			t.Errorf("it reads as %q, it is %q", written, b[:good])
		}
	})
}

// FuzzLine is the parser behind the sums, which no fuzzer finds.
func FuzzLine(f *testing.F) {
	e := entry{kind: chain.KindPayout, lane: ionet.Key{2}, n: 9, amount: ionet.MustAmount(3)}
	f.Add(line{at: 7, lamports: 5000, entries: []entry{e, e}}.String())
	mint := entry{kind: chain.KindEpoch, lane: ionet.Key{2}, n: 9, amount: ionet.MustAmount(3), memo: ionet.Hash{4}}
	f.Add(line{at: 7, entries: []entry{mint}}.String())
	mint.from = ionet.Key{5}
	f.Add(line{at: 7, entries: []entry{mint}}.String())
	from := uint64(4)
	f.Add(line{at: -1, reopen: []Reopening{{Lane: ionet.Key{2}}, {ionet.Key{3}, &from}}}.String())
	f.Add("7 5 reopen,")
	f.Fuzz(func(t *testing.T, body string) {
		if l, err := parseLine(body); err == nil && l.String() != body {
			t.Errorf("%q renders as %q", body, l.String())
		}
	})
}
