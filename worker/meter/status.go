package meter

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Status is what a journal says, for a person.
type Status struct {
	Bytes    int64
	Offer    *proofs.Offer // the newest; nil before the first
	OfferID  ionet.Hash
	Taken    bool // the service acked it
	Fees     ionet.Amount
	Jobs     uint64
	Unsealed int // jobs that are in no sealed log yet
	Unacked  int // jobs and batches without an answer of the service
	Loose    int // jobs that wait for a batch
	Channels []ChannelStatus
	Refusals []Refusal
}

// ChannelStatus is a channel of a Status.
type ChannelStatus struct {
	Channel, Renter ionet.Key
	Limit, Spent    ionet.Amount
	Covered         ionet.Amount
	Jobs            uint64
	Unsealed        int
	Expires         int64
	Stuck           string
}

// Refusal is a statement that the service refused for good. It is evidence: it stays.
type Refusal struct {
	ID      ionet.Hash
	Kind    proofs.Kind
	Problem string
}

// ReadStatus reads a journal without touching it: a worker may be at work. It returns nil
// where there is none.
func ReadStatus(path string, network *ionet.Network, worker ionet.Key) (*Status, error) {
	file, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read journal: %w", err)
	}
	j := newJournal(path, network, worker, 0)
	if _, err := j.load(file); err != nil {
		return nil, fmt.Errorf("read journal %s: %w", path, err)
	}
	return j.book.status(int64(len(file)))
}

func (b *book) status(size int64) (*Status, error) {
	s := &Status{Bytes: size, Unacked: b.unanswered()}
	if o := b.newestOffer(); o != nil {
		s.Offer, s.OfferID, s.Taken = &o.offer, o.id, o.ack != nil
	}
	var err error
	for _, ch := range b.sorted() {
		if s.Fees, err = s.Fees.Add(ch.spent); err != nil {
			return nil, err
		}
		s.Jobs += ch.count
		s.Loose += ch.loose
		c := ChannelStatus{
			Channel: ch.key, Renter: ch.session.Renter, Limit: ch.opened.Limit, Spent: ch.spent, Covered: ch.covered,
			Jobs: ch.count, Expires: ch.opened.Expires, Stuck: ch.stuck,
		}
		for _, j := range ch.jobs {
			if j.after.Cmp(ch.sealed) > 0 {
				c.Unsealed++
			}
		}
		s.Unsealed += c.Unsealed
		s.Channels = append(s.Channels, c)
	}
	for id, p := range b.byID {
		if p.refused != "" {
			s.Refusals = append(s.Refusals, Refusal{id, p.e.Kind, p.refused})
		}
	}
	slices.SortFunc(s.Refusals, func(x, y Refusal) int { return slices.Compare(x.ID[:], y.ID[:]) })
	return s, nil
}
