package proofs

import (
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/ionet-settlement/ionet"
)

// Tag says what a record of the receipt log is; FORMAT.md, section 12.
type Tag uint8

// The tags of records.
const (
	TagReceipt     Tag = 1
	TagSession     Tag = 2
	TagChannel     Tag = 3
	TagOffer       Tag = 4
	TagClose       Tag = 5
	TagChannelOver Tag = 6
	TagSessionOver Tag = 7
)

var tagNames = [...]string{
	TagReceipt: "receipt", TagSession: "session", TagChannel: "channel", TagOffer: "offer", TagClose: "close",
	TagChannelOver: "channel-over", TagSessionOver: "session-over",
}

// String returns the tag's name, or "tag N".
func (t Tag) String() string {
	if int(t) < len(tagNames) && tagNames[t] != "" {
		return tagNames[t]
	}
	return fmt.Sprintf("tag %d", uint8(t))
}

// MaxRecord is the largest record in bytes: an entry bundle tells its length in 16 bits.
const MaxRecord = 1<<16 - 1

// maxIndex keeps indexes and totals inside a signed 64-bit column.
const maxIndex = math.MaxInt64

// Record is a leaf of the receipt log, which is the journal of all that changes sessions
// and channels.
type Record struct {
	Index    uint64 // from 0
	Accepted int64  // never less than that of the record before
	Entry    Entry  // a Receipt, SessionEntry and so on, as a value
}

// Entry is the payload of a record.
type Entry interface {
	Tag() Tag
	put(w *writer)
	check() error
}

// Receipt says who was paid for a job, or a batch of them, out of its channel.
type Receipt struct {
	Renter       ionet.Key
	Payee        ionet.Key    // of the channel
	BasisPoints  uint16       // of the policy in force in the epoch of Accepted, at most 10,000
	ProviderPart ionet.Amount // the fee without the network's part
	NetworkPart  ionet.Amount // floor(fee * basis points / 10000)
	TotalFees    ionet.Amount // of all receipts up to this one
	TotalJobs    uint64       // likewise; a batch counts as its count
	Statement    Envelope     // job or job-batch
}

// SessionEntry takes a session's reserve from the renter's balance.
type SessionEntry struct{ Statement Envelope }

// ChannelEntry takes a channel's limit, or what a greater limit adds, from its session.
type ChannelEntry struct {
	Delegation Envelope // its payout wallet is the payee of the channel's fees
	Statement  Envelope // channel-open
}

// OfferEntry stands before the first receipt that names the offer.
type OfferEntry struct{ Statement Envelope }

// CloseEntry begins the grace of a channel, or of a session and all its channels.
type CloseEntry struct{ Statement Envelope } // channel-close or session-close

// ChannelOver gives what a channel did not spend back to its session.
type ChannelOver struct {
	Channel  ionet.Key
	Spent    ionet.Amount
	Returned ionet.Amount // limit - spent
}

// SessionOver gives what a session has left back to the renter's balance.
type SessionOver struct {
	Session  ionet.Hash
	Returned ionet.Amount
}

// Tag implements Entry.
func (Receipt) Tag() Tag { return TagReceipt }

// Tag implements Entry.
func (SessionEntry) Tag() Tag { return TagSession }

// Tag implements Entry.
func (ChannelEntry) Tag() Tag { return TagChannel }

// Tag implements Entry.
func (OfferEntry) Tag() Tag { return TagOffer }

// Tag implements Entry.
func (CloseEntry) Tag() Tag { return TagClose }

// Tag implements Entry.
func (ChannelOver) Tag() Tag { return TagChannelOver }

// Tag implements Entry.
func (SessionOver) Tag() Tag { return TagSessionOver }

// Encode returns the record's bytes.
func (r Record) Encode() ([]byte, error) { return r.Append(nil) }

// Append appends the record's bytes to b.
func (r Record) Append(b []byte) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("encode record %d: %w", r.Index, err)
	}
	w := writer{b: b}
	w.u64(r.Index)
	w.i64(r.Accepted)
	w.u8(uint8(r.Entry.Tag()))
	r.Entry.put(&w)
	if n := len(w.b) - len(b); n > MaxRecord {
		return nil, fmt.Errorf("encode record %d: it has %d bytes, more than %d", r.Index, n, MaxRecord)
	}
	return w.b, nil
}

// ParseRecord parses exactly one record. It checks its form and the kinds of the
// statements in it, no signatures and no bodies: envelopes share b's memory.
func ParseRecord(b []byte) (Record, error) {
	if len(b) > MaxRecord {
		return Record{}, fmt.Errorf("parse record: %d bytes are more than %d", len(b), MaxRecord)
	}
	r := reader{b: b}
	rec := Record{Index: r.u64(), Accepted: r.i64()}
	switch tag := Tag(r.u8()); tag {
	case TagReceipt:
		rec.Entry = Receipt{
			Renter: r.b32(), Payee: r.b32(), BasisPoints: r.u16(), ProviderPart: r.money(), NetworkPart: r.money(),
			TotalFees: r.money(), TotalJobs: r.u64(), Statement: r.envelope(),
		}
	case TagSession:
		rec.Entry = SessionEntry{Statement: r.envelope()}
	case TagChannel:
		rec.Entry = ChannelEntry{Delegation: r.envelope(), Statement: r.envelope()}
	case TagOffer:
		rec.Entry = OfferEntry{Statement: r.envelope()}
	case TagClose:
		rec.Entry = CloseEntry{Statement: r.envelope()}
	case TagChannelOver:
		rec.Entry = ChannelOver{Channel: r.b32(), Spent: r.money(), Returned: r.money()}
	case TagSessionOver:
		rec.Entry = SessionOver{Session: r.b32(), Returned: r.money()}
	default:
		r.fail(fmt.Errorf("%s is unknown", tag))
	}
	return ended(&r, "record", rec, rec.check)
}

func (r Record) check() error {
	if r.Entry == nil {
		return errors.New("it has no entry")
	}
	if r.Index > maxIndex {
		return fmt.Errorf("index is %d, more than %d", r.Index, uint64(maxIndex))
	}
	if err := checkTimes(r.Accepted); err != nil {
		return fmt.Errorf("accepted: %w", err)
	}
	if err := r.Entry.check(); err != nil {
		return fmt.Errorf("%s: %w", r.Entry.Tag(), err)
	}
	return nil
}

// envelope appends vec<u8> of an envelope.
func (w *writer) envelope(e *Envelope) {
	w.u32(uint32(envelopeHead + len(e.Body)))
	w.b = e.Append(w.b)
}

// envelope reads vec<u8> that holds exactly one envelope.
func (r *reader) envelope() Envelope {
	b := r.vec()
	if r.err != nil {
		return Envelope{}
	}
	e, rest, err := ParseEnvelope(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes after an envelope", len(rest))
	}
	if err != nil {
		r.fail(err)
	}
	return e
}

func (e Receipt) put(w *writer) {
	w.raw(e.Renter[:])
	w.raw(e.Payee[:])
	w.u16(e.BasisPoints)
	w.money(e.ProviderPart)
	w.money(e.NetworkPart)
	w.money(e.TotalFees)
	w.u64(e.TotalJobs)
	w.envelope(&e.Statement)
}

func (e SessionEntry) put(w *writer) { w.envelope(&e.Statement) }

func (e ChannelEntry) put(w *writer) {
	w.envelope(&e.Delegation)
	w.envelope(&e.Statement)
}

func (e OfferEntry) put(w *writer) { w.envelope(&e.Statement) }

func (e CloseEntry) put(w *writer) { w.envelope(&e.Statement) }

func (e ChannelOver) put(w *writer) {
	w.raw(e.Channel[:])
	w.money(e.Spent)
	w.money(e.Returned)
}

func (e SessionOver) put(w *writer) {
	w.raw(e.Session[:])
	w.money(e.Returned)
}

func (e Receipt) check() error {
	switch {
	case e.BasisPoints > wholeFee:
		return fmt.Errorf("basis points are %d, more than %d", e.BasisPoints, wholeFee)
	case e.TotalJobs > maxIndex:
		return fmt.Errorf("total of jobs is %d, more than %d", e.TotalJobs, uint64(maxIndex))
	}
	return isOfKind(&e.Statement, KindJob, KindJobBatch)
}

func (e SessionEntry) check() error { return isOfKind(&e.Statement, KindSession) }

func (e ChannelEntry) check() error {
	if err := isOfKind(&e.Delegation, KindDelegation); err != nil {
		return err
	}
	return isOfKind(&e.Statement, KindChannelOpen)
}

func (e OfferEntry) check() error { return isOfKind(&e.Statement, KindOffer) }

func (e CloseEntry) check() error {
	return isOfKind(&e.Statement, KindChannelClose, KindSessionClose)
}

func (ChannelOver) check() error { return nil }

func (SessionOver) check() error { return nil }

func isOfKind(e *Envelope, kinds ...Kind) error {
	for _, k := range kinds {
		if e.Kind == k {
			if len(e.Body) > MaxBody {
				return fmt.Errorf("body of the %s has %d bytes, more than %d", k, len(e.Body), MaxBody)
			}
			return nil
		}
	}
	return fmt.Errorf("statement is a %s", e.Kind)
}

// wholeFee is a fee in basis points.
const wholeFee = 10_000

// Split divides a fee: the network's part is floor(fee * basis points / 10000), the
// provider has the rest. Basis points above 10,000 are an error.
func Split(fee ionet.Amount, basisPoints uint16) (provider, network ionet.Amount, err error) {
	if basisPoints > wholeFee {
		return provider, network, fmt.Errorf("split fee: %d basis points are more than %d", basisPoints, wholeFee)
	}
	hi, lo := bits.Mul64(fee.Base(), uint64(basisPoints))
	part, _ := bits.Div64(hi, lo, wholeFee)
	if network, err = ionet.NewAmount(part); err != nil {
		return provider, network, err
	}
	provider, err = fee.Sub(network)
	return provider, network, err
}

// NewReceipt makes the receipt of a bill after one whose totals were fees and jobs.
func NewReceipt(statement Envelope, b Bill, renter, payee ionet.Key, basisPoints uint16, fees ionet.Amount, jobs uint64) (Receipt, error) {
	r := Receipt{Renter: renter, Payee: payee, BasisPoints: basisPoints, TotalJobs: jobs + uint64(b.Count), Statement: statement}
	var err error
	if r.ProviderPart, r.NetworkPart, err = Split(b.Fee, basisPoints); err != nil {
		return Receipt{}, fmt.Errorf("make receipt: %w", err)
	}
	if r.TotalFees, err = fees.Add(b.Fee); err != nil {
		return Receipt{}, fmt.Errorf("make receipt: total of fees: %w", err)
	}
	return r, r.check()
}

// Statement returns the statement that the record is about and true, or false where it
// is the service's own word: a channel or a session that is over.
func (r Record) Statement() (*Envelope, bool) {
	switch e := r.Entry.(type) {
	case Receipt:
		return &e.Statement, true
	case SessionEntry:
		return &e.Statement, true
	case ChannelEntry:
		return &e.Statement, true
	case OfferEntry:
		return &e.Statement, true
	case CloseEntry:
		return &e.Statement, true
	}
	return nil, false
}
