package proofs

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/ionet-settlement/ionet"
)

// maxCaps is the largest number of price caps of a session, and of models of an
// offer.
const maxCaps = 64

// isModel reports whether a name is 1..64 of A-Z a-z 0-9 . _ : / -. It is asked of
// every job, so it is no regular expression.
func isModel(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		case c == '.', c == '_', c == ':', c == '/', c == '-':
		default:
			return false
		}
	}
	return len(name) >= 1 && len(name) <= 64
}

// Session lets a key spend up to the reserve from a renter's balance.
type Session struct {
	Renter  ionet.Key // the signer
	Key     ionet.Key
	Reserve ionet.Amount
	Caps    []PriceCap // ascending by model, 0..64
	Issued  int64
	Expires int64
}

// PriceCap is the most that Per units of a model may cost.
type PriceCap struct {
	Model string // 1..64 of A-Z a-z 0-9 . _ : / -
	Price ionet.Amount
	Per   uint64 // 1 or more
}

func (c PriceCap) String() string { return fmt.Sprintf("%s %s per %d", c.Model, c.Price, c.Per) }

// Text renders what the wallet shows and signs; FORMAT.md, section 4.
func (s Session) Text(network ionet.Hash) (string, error) {
	if err := s.check(); err != nil {
		return "", fmt.Errorf("render session: %w", err)
	}
	t := openText("session", network)
	t.key("Renter", s.Renter)
	t.key("Session key", s.Key)
	t.amount("Reserve", s.Reserve)
	for _, c := range s.Caps {
		t.line("Price cap", c.String())
	}
	t.time("Issued", s.Issued)
	t.time("Expires", s.Expires)
	return t.close("This key may spend up to the reserve from my balance."), nil
}

// ParseSession parses a session's text, signed by signer.
func ParseSession(network ionet.Hash, signer ionet.Key, body []byte) (Session, error) {
	l := readText("session", network, body)
	s := Session{Renter: l.signer("Renter", signer), Key: l.key("Session key"), Reserve: l.amount("Reserve")}
	for l.peek("Price cap") && len(s.Caps) <= maxCaps {
		s.Caps = append(s.Caps, get(l, "Price cap", parseCap))
	}
	s.Issued, s.Expires = l.time("Issued"), l.time("Expires")
	return parsed(l, "session", s, s.Text, network, body)
}

func (s Session) check() error {
	if len(s.Caps) > maxCaps {
		return fmt.Errorf("%d price caps, not 0..%d", len(s.Caps), maxCaps)
	}
	for i, c := range s.Caps {
		switch {
		case !isModel(c.Model):
			return fmt.Errorf("price cap: model %q is not 1..64 of A-Z a-z 0-9 . _ : / -", c.Model)
		case c.Per == 0:
			return fmt.Errorf("price cap of %s is per 0 units", c.Model)
		case i > 0 && s.Caps[i-1].Model >= c.Model:
			return fmt.Errorf("price cap of %s does not ascend", c.Model)
		}
	}
	if s.Issued >= s.Expires {
		return errors.New("expires is not after issued")
	}
	return checkTimes(s.Issued, s.Expires)
}

func parseCap(s string) (c PriceCap, err error) {
	words := strings.Split(s, " ")
	if len(words) != 4 || words[2] != "per" {
		return c, fmt.Errorf("%q is not of the form <model> <base units> per <units>", s)
	}
	c.Model = words[0]
	if c.Price, err = ionet.ParseBase(words[1]); err != nil {
		return c, err
	}
	c.Per, err = strconv.ParseUint(words[3], 10, 64)
	return c, err
}

// Withdrawal asks for a part of a renter's unspent balance.
type Withdrawal struct {
	Renter  ionet.Key // the signer
	ID      [16]byte  // made by the renter: one id is paid once
	Amount  ionet.Amount
	To      ionet.Key // wallet
	Expires int64
}

// Text renders what the wallet shows and signs.
func (w Withdrawal) Text(network ionet.Hash) (string, error) {
	if err := checkTimes(w.Expires); err != nil {
		return "", fmt.Errorf("render withdrawal: %w", err)
	}
	t := openText("withdrawal", network)
	t.key("Renter", w.Renter)
	t.line("Id", hex.EncodeToString(w.ID[:]))
	t.amount("Amount", w.Amount)
	t.key("To", w.To)
	t.time("Expires", w.Expires)
	return t.close("Pay this part of my unspent balance to the wallet above."), nil
}

// ParseWithdrawal parses a withdrawal's text, signed by signer.
func ParseWithdrawal(network ionet.Hash, signer ionet.Key, body []byte) (Withdrawal, error) {
	l := readText("withdrawal", network, body)
	w := Withdrawal{
		Renter: l.signer("Renter", signer), ID: l.id16("Id"), Amount: l.amount("Amount"), To: l.key("To"), Expires: l.time("Expires"),
	}
	return parsed(l, "withdrawal", w, w.Text, network, body)
}

// Dispute says that a job's receipt does not match the worker's signed response.
type Dispute struct {
	Renter   ionet.Key  // the signer
	Job      ionet.Hash // id of the job statement
	Response ionet.Hash // id of the worker's statement that the renter holds
	Issued   int64
}

// Text renders what the wallet shows and signs.
func (d Dispute) Text(network ionet.Hash) (string, error) {
	if err := checkTimes(d.Issued); err != nil {
		return "", fmt.Errorf("render dispute: %w", err)
	}
	t := openText("dispute", network)
	t.key("Renter", d.Renter)
	t.line("Job", d.Job.String())
	t.line("Response", d.Response.String())
	t.time("Issued", d.Issued)
	return t.close("The receipt of this job does not match the worker's signed response."), nil
}

// ParseDispute parses a dispute's text, signed by signer.
func ParseDispute(network ionet.Hash, signer ionet.Key, body []byte) (Dispute, error) {
	l := readText("dispute", network, body)
	d := Dispute{Renter: l.signer("Renter", signer), Job: l.hash("Job"), Response: l.hash("Response"), Issued: l.time("Issued")}
	return parsed(l, "dispute", d, d.Text, network, body)
}
