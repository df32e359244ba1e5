package proofs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
)

// maxLife is the longest a delegation may run, in seconds.
const maxLife = 400 * 24 * 3600

// maxWorkers is the largest number of workers of one delegation.
const maxWorkers = 256

const timeForm = "2006-01-02T15:04:05Z"

// ErrNetwork reports a text that was signed for another network.
var ErrNetwork = errors.New("text is for another network")

// Delegation is a provider's word that these workers prove GPU time for him and
// that rewards go to the payout wallet. Workers ascend by their bytes.
type Delegation struct {
	Provider ionet.Key // the signer
	Payout   ionet.Key
	Workers  []ionet.Key // 1..256
	Issued   int64
	Expires  int64
}

// Has reports whether the delegation names the worker.
func (d Delegation) Has(worker ionet.Key) bool {
	for _, w := range d.Workers {
		if w == worker {
			return true
		}
	}
	return false
}

// Text renders what the wallet shows and signs; FORMAT.md, section 4.
func (d Delegation) Text(network ionet.Hash) (string, error) {
	if err := d.check(); err != nil {
		return "", fmt.Errorf("render delegation: %w", err)
	}
	t := openText("delegation", network)
	t.key("Provider", d.Provider)
	t.key("Payout wallet", d.Payout)
	for _, w := range d.Workers {
		t.key("Worker", w)
	}
	t.time("Issued", d.Issued)
	t.time("Expires", d.Expires)
	return t.close("These workers prove GPU time for me. Rewards go to the payout wallet."), nil
}

// ParseDelegation parses a delegation's text, signed by signer.
func ParseDelegation(network ionet.Hash, signer ionet.Key, body []byte) (Delegation, error) {
	l := readText("delegation", network, body)
	d := Delegation{Provider: l.signer("Provider", signer), Payout: l.key("Payout wallet")}
	for l.peek("Worker") && len(d.Workers) <= maxWorkers {
		d.Workers = append(d.Workers, l.key("Worker"))
	}
	d.Issued, d.Expires = l.time("Issued"), l.time("Expires")
	return parsed(l, "delegation", d, d.Text, network, body)
}

func (d Delegation) check() error {
	switch {
	case d.Payout.IsZero():
		return errors.New("payout wallet is missing")
	case len(d.Workers) == 0 || len(d.Workers) > maxWorkers:
		return fmt.Errorf("%d workers, not 1..%d", len(d.Workers), maxWorkers)
	case d.Issued >= d.Expires:
		return errors.New("expires is not after issued")
	case d.Expires-d.Issued > maxLife:
		return errors.New("expires is more than 400 days after issued")
	}
	for i := 1; i < len(d.Workers); i++ {
		if bytes.Compare(d.Workers[i-1][:], d.Workers[i][:]) >= 0 {
			return fmt.Errorf("worker %s does not ascend", d.Workers[i])
		}
	}
	return checkTimes(d.Issued, d.Expires)
}

// Revocation ends a delegation from the epoch after its arrival on.
type Revocation struct {
	Provider   ionet.Key // the signer
	Delegation ionet.Hash
	Issued     int64
}

// Text renders what the wallet shows and signs.
func (r Revocation) Text(network ionet.Hash) (string, error) {
	t := openText("revocation", network)
	t.key("Provider", r.Provider)
	t.line("Delegation", r.Delegation.String())
	t.time("Issued", r.Issued)
	return t.close("This delegation counts no more from the next epoch on."), checkTimes(r.Issued)
}

// ParseRevocation parses a revocation's text, signed by signer.
func ParseRevocation(network ionet.Hash, signer ionet.Key, body []byte) (Revocation, error) {
	l := readText("revocation", network, body)
	r := Revocation{Provider: l.signer("Provider", signer), Delegation: l.hash("Delegation"), Issued: l.time("Issued")}
	return parsed(l, "revocation", r, r.Text, network, body)
}

// Release frees a device from the worker that it is bound to, from the epoch
// after its arrival on.
type Release struct {
	Provider ionet.Key // the signer
	Worker   ionet.Key
	Device   ionet.UUID
	Issued   int64
}

// Text renders what the wallet shows and signs.
func (r Release) Text(network ionet.Hash) (string, error) {
	t := openText("release", network)
	t.key("Provider", r.Provider)
	t.key("Worker", r.Worker)
	t.line("Device", r.Device.String())
	t.time("Issued", r.Issued)
	return t.close("Another worker may use this device from the next epoch on."), checkTimes(r.Issued)
}

// ParseRelease parses a release's text, signed by signer.
func ParseRelease(network ionet.Hash, signer ionet.Key, body []byte) (Release, error) {
	l := readText("release", network, body)
	r := Release{Provider: l.signer("Provider", signer), Worker: l.key("Worker"), Device: l.device("Device"), Issued: l.time("Issued")}
	return parsed(l, "release", r, r.Text, network, body)
}

// checkTimes keeps times within what the text form can show.
func checkTimes(times ...int64) error {
	for _, t := range times {
		if t < 0 || t > 253402300799 {
			return fmt.Errorf("time %d is not in the years 1970..9999", t)
		}
	}
	return nil
}

// parsed ends the parsing of a text: it must render byte-equal again.
func parsed[T any](l *lines, what string, v T, render func(ionet.Hash) (string, error), network ionet.Hash, body []byte) (T, error) {
	var none T
	if l.err != nil {
		return none, fmt.Errorf("parse %s: %w", what, l.err)
	}
	text, err := render(network)
	if err != nil {
		return none, fmt.Errorf("parse %s: %w", what, err)
	}
	if text != string(body) {
		return none, fmt.Errorf("parse %s: text differs from its template", what)
	}
	return v, nil
}

// page renders a text statement line by line.
type page struct{ b strings.Builder }

func openText(name string, network ionet.Hash) *page {
	p := &page{}
	p.b.WriteString("io-settlement v1: " + name + "\n")
	p.key("Network", ionet.Key(network))
	return p
}

func (p *page) line(field, value string)        { p.b.WriteString(field + ": " + value + "\n") }
func (p *page) key(field string, k ionet.Key)   { p.line(field, k.String()) }
func (p *page) time(field string, t int64)      { p.line(field, time.Unix(t, 0).UTC().Format(timeForm)) }
func (p *page) amount(f string, a ionet.Amount) { p.line(f, a.String()) }
func (p *page) close(last string) string        { return p.b.String() + last }

// lines reads a text statement line by line; the first error stays.
type lines struct {
	rest []string
	err  error
}

func readText(name string, network ionet.Hash, body []byte) *lines {
	l := &lines{rest: strings.Split(string(body), "\n")}
	if l.rest[0] != "io-settlement v1: "+name {
		l.err = fmt.Errorf("line 1 is not %q", "io-settlement v1: "+name)
		return l
	}
	l.rest = l.rest[1:]
	if k := l.key("Network"); l.err == nil && k != ionet.Key(network) {
		l.err = fmt.Errorf("field Network is %s: %w", k, ErrNetwork)
	}
	return l
}

// peek reports whether the next line has that field.
func (l *lines) peek(field string) bool {
	return l.err == nil && len(l.rest) > 0 && strings.HasPrefix(l.rest[0], field+": ")
}

func (l *lines) value(field string) string {
	if l.err != nil {
		return ""
	}
	if !l.peek(field) {
		l.err = fmt.Errorf("field %s is missing or out of order", field)
		return ""
	}
	v := l.rest[0][len(field)+2:]
	l.rest = l.rest[1:]
	return v
}

func get[T any](l *lines, field string, parse func(string) (T, error)) T {
	v := l.value(field)
	if l.err != nil {
		var none T
		return none
	}
	out, err := parse(v)
	if err != nil {
		l.err = fmt.Errorf("field %s: %w", field, err)
	}
	return out
}

func (l *lines) key(field string) ionet.Key       { return get(l, field, ionet.ParseKey) }
func (l *lines) hash(field string) ionet.Hash     { return get(l, field, ionet.ParseHash) }
func (l *lines) device(field string) ionet.UUID   { return get(l, field, ionet.ParseUUID) }
func (l *lines) amount(field string) ionet.Amount { return get(l, field, ionet.ParseBase) }

func (l *lines) time(field string) int64 {
	return get(l, field, func(s string) (int64, error) {
		t, err := time.Parse(timeForm, s)
		return t.Unix(), err
	})
}

func (l *lines) id16(field string) [16]byte {
	return get(l, field, func(s string) (id [16]byte, err error) {
		if len(s) != 32 {
			return id, fmt.Errorf("%q is not 32 hexadecimal digits", s)
		}
		_, err = hex.Decode(id[:], []byte(s))
		return id, err
	})
}

// ErrSigner reports a text that names another signer than the one who signed.
var ErrSigner = errors.New("text names another signer")

// signer reads the field that must name the statement's signer.
func (l *lines) signer(field string, signer ionet.Key) ionet.Key {
	k := l.key(field)
	if l.err == nil && k != signer {
		l.err = fmt.Errorf("field %s is %s, signed by %s: %w", field, k, signer, ErrSigner)
	}
	return k
}
