package signer

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// The journal is text. Its first line names it, each other line is one batch:
//
//	io-signer-journal/1 <network id, base58>
//	<sum> <seconds> <lamports>[ <entry>]...
//	entry = <kind>,<lane>,<n>,<C(n)>,<content>,<C(n+1)>,<amount>[,<H(memo)>][,<K(n)>]  |  reopen,<lane>[,<n>]
//
// H(memo) is an epoch's, K(n) is a co-signer's.
//
// sum(i) = the first 16 hex digits of h(i), h(i) = H(h(i-1) ‖ the line after "<sum> "),
// h(0) = H(the first line): no line can be changed, moved or taken out without
// breaking the next. A batch is one line, so a crash can only cut the last one.
const journalTag = "io-signer-journal/1 "

// maxLine bounds a line: a full batch of fences has 640 entries of some 300 bytes.
const maxLine = 1 << 20

// hole is a block of a batch that was not written when the disk stopped, though a
// later one with the newline was.
var hole = strings.Repeat("\x00", 512)

// line is one batch of the journal.
type line struct {
	at       int64 // Unix seconds of the signer's clock
	lamports uint64
	entries  []entry
	reopen   []Reopening // instead of entries
}

// chainOf is the running hash over the lines.
type chainOf struct{ h ionet.Hash }

func (c *chainOf) begin(network ionet.Hash) string {
	head := journalTag + ionet.Key(network).String()
	c.h = ionet.HashOf([]byte(head))
	return head + "\n"
}

// seal renders a line with its sum and its newline.
func (c *chainOf) seal(l line) string {
	body := l.String()
	c.h = ionet.HashOf(c.h[:], []byte(body))
	return hex.EncodeToString(c.h[:8]) + " " + body + "\n"
}

// String renders the line without its sum.
func (l line) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d", l.at, l.lamports)
	for _, e := range l.entries {
		fmt.Fprintf(&b, " %s,%s,%d,%s,%s,%s,%s", e.kind, e.lane, e.n, e.c, e.content, e.next, e.amount)
		if e.kind == chain.KindEpoch {
			fmt.Fprintf(&b, ",%s", e.memo)
		}
		if !e.from.IsZero() {
			fmt.Fprintf(&b, ",%s", e.from)
		}
	}
	for _, r := range l.reopen {
		fmt.Fprintf(&b, " reopen,%s", r.Lane)
		if r.From != nil {
			fmt.Fprintf(&b, ",%d", *r.From)
		}
	}
	return b.String()
}

// parseLine is the inverse of String; what parses renders byte-equal.
func parseLine(body string) (line, error) {
	words := strings.Split(body, " ")
	if len(words) < 2 {
		return line{}, errors.New("it has no time and lamports")
	}
	var l line
	var err error
	if l.at, err = strconv.ParseInt(words[0], 10, 64); err != nil {
		return line{}, errors.New("its time is no number")
	}
	if l.lamports, err = strconv.ParseUint(words[1], 10, 64); err != nil {
		return line{}, errors.New("its lamports are no number")
	}
	for i, w := range words[2:] {
		if err := l.add(w); err != nil {
			return line{}, fmt.Errorf("entry %d: %w", i+1, err)
		}
	}
	if l.String() != body {
		return line{}, errors.New("it is not in its one form")
	}
	return l, nil
}

func (l *line) add(word string) error {
	f := strings.Split(word, ",")
	if f[0] == "reopen" && (len(f) == 2 || len(f) == 3) {
		lane, err := ionet.ParseKey(f[1])
		r := Reopening{Lane: lane}
		if err == nil && len(f) == 3 {
			var n uint64
			n, err = strconv.ParseUint(f[2], 10, 64)
			r.From = &n
		}
		l.reopen = append(l.reopen, r)
		return err
	}
	kind, err := chain.KindOf("io1 " + f[0] + " ")
	e := entry{kind: kind}
	least := 7
	if kind == chain.KindEpoch {
		least = 8
	}
	if err == nil && len(f) != least && len(f) != least+1 {
		return fmt.Errorf("it has %d fields, not %d or %d", len(f), least, least+1)
	}
	if err == nil {
		e.lane, err = ionet.ParseKey(f[1])
	}
	if err == nil {
		e.n, err = strconv.ParseUint(f[2], 10, 64)
	}
	for i, h := range []*ionet.Hash{&e.c, &e.content, &e.next} {
		if err == nil {
			*h, err = ionet.ParseHash(f[3+i])
		}
	}
	if err == nil {
		e.amount, err = ionet.ParseBase(f[6])
	}
	if err == nil && kind == chain.KindEpoch {
		e.memo, err = ionet.ParseHash(f[7])
	}
	if err == nil && len(f) == least+1 {
		e.from, err = ionet.ParseKey(f[least])
	}
	l.entries = append(l.entries, e)
	return err
}

// readLines calls each for every line of a journal of that network, and returns the
// running hash and how many bytes hold: what follows them is a last line that a
// crash cut, which was never answered for. Any other fault is an error: somebody
// changed the file, or the disk did.
func readLines(r io.Reader, network ionet.Hash, each func(line) error) (sum chainOf, good int64, err error) {
	in := bufio.NewReaderSize(r, maxLine)
	head := sum.begin(network)
	first, whole, err := nextLine(in)
	switch {
	case err != nil:
		return sum, 0, fmt.Errorf("line 1: %w", err)
	case !whole && strings.HasPrefix(head, first): // the file was made, no more
		return sum, 0, nil
	case first+"\n" != head:
		if strings.HasPrefix(first, journalTag) {
			return sum, 0, fmt.Errorf("it is the journal of network %.44s, not of %s", strings.TrimPrefix(first, journalTag), ionet.Key(network))
		}
		return sum, 0, errors.New("it is no journal of a signer")
	case !whole:
		return sum, 0, nil
	}
	for number, good := 2, int64(len(head)); ; number++ {
		text, whole, err := nextLine(in)
		if err != nil {
			return sum, good, fmt.Errorf("line %d: %w", number, err)
		}
		if text == "" && !whole {
			return sum, good, nil
		}
		l, next, err := sum.read(text)
		if err == nil {
			err = each(l)
		}
		if err != nil {
			if cut := !whole || strings.Contains(text, hole); cut && isLast(in) {
				return sum, good, nil
			}
			return sum, good, fmt.Errorf("line %d: %w", number, err)
		}
		sum, good = next, good+int64(len(text))
		if !whole {
			return sum, good, errNoNewline
		}
		good++
	}
}

// errNoNewline reports a last line that is whole but for its newline.
var errNoNewline = errors.New("the last line has no newline")

// read checks a line against the sum before it and returns the sum after it.
func (c chainOf) read(text string) (line, chainOf, error) {
	said, body, ok := strings.Cut(text, " ")
	next := chainOf{ionet.HashOf(c.h[:], []byte(body))}
	if !ok || said != hex.EncodeToString(next.h[:8]) {
		return line{}, c, errors.New("its sum is not that of its text and the lines before")
	}
	l, err := parseLine(body)
	return l, next, err
}

// nextLine returns a line without its newline; whole is false where the file ends
// before one.
func nextLine(in *bufio.Reader) (text string, whole bool, err error) {
	b, err := in.ReadSlice('\n')
	switch {
	case errors.Is(err, io.EOF):
		return string(b), false, nil
	case errors.Is(err, bufio.ErrBufferFull):
		return "", false, fmt.Errorf("it is longer than %d bytes", maxLine)
	case err != nil:
		return "", false, err
	}
	return string(bytes.TrimSuffix(b, []byte("\n"))), true, nil
}

func isLast(in *bufio.Reader) bool {
	_, err := in.Peek(1)
	return errors.Is(err, io.EOF)
}
