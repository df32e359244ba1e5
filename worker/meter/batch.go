package meter

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// maxBatch bounds the jobs of a batch.
const maxBatch = 1 << 16

// batches reports whether jobs go to the service in batches.
func (m *Meter) batches() bool { return m.cfg.BatchJobs > 1 }

// makeBatches closes the batches that are due: of a channel with enough jobs, or with
// one that waited long enough. Where no batches are made any more, those that waited go
// in a last one.
func (m *Meter) makeBatches() error {
	j := m.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ch := range j.book.channels {
		for {
			n := m.nextBatch(ch)
			if n == 0 {
				break
			}
			if err := m.makeBatch(ch, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// nextBatch returns how many of the channel's waiting jobs make a batch now: those of
// one offer, without a gap.
func (m *Meter) nextBatch(ch *channel) (n int) {
	waiting := ch.waiting()
	if ch.stuck != "" || len(waiting) == 0 {
		return 0
	}
	most := maxBatch
	if m.batches() {
		most = min(m.cfg.BatchJobs, maxBatch)
	}
	late := ch.late(waiting[0])
	for n < len(waiting) && n < most && waiting[n].job.Offer == waiting[0].job.Offer && ch.late(waiting[n]) == late {
		n++
	}
	if !m.batches() || n == most || n < len(waiting) || n < ch.loose || m.now()-waiting[0].job.Served >= int64(m.cfg.BatchEvery.Seconds()) {
		return n
	}
	return 0
}

// late reports whether a job was served when the channel had been asked to close. It must
// not take those before it with it.
func (ch *channel) late(j *job) bool {
	t := ch.terms()
	t.Closing = ch.closing
	return t.ClosedAt(j.job.Served)
}

// makeBatch signs a batch of the channel's next n jobs. Its id follows from them: the
// same jobs make the same statement whenever they are batched.
func (m *Meter) makeBatch(ch *channel, n int) error {
	jobs := make([]proofs.Job, n)
	served := int64(0)
	for i, j := range ch.waiting()[:n] {
		jobs[i] = j.job
		served = max(served, j.job.Served)
	}
	last := jobs[n-1]
	root := proofs.BatchRoot(jobs)
	id := ionet.HashOf([]byte("io/batch/1"), ch.key[:], root[:])
	b, err := proofs.BatchOf([16]byte(id[:16]), served, jobs, last.Cumulative, last.Voucher)
	if err != nil {
		return fmt.Errorf("batch jobs of channel %s: %w", ch.key, err)
	}
	body, err := b.Encode()
	if err != nil {
		return err
	}
	e := proofs.Sign(m.cfg.Network.ID(), proofs.KindJobBatch, m.cfg.Key, body)
	_, err = m.journal.add(tagBatch, e.Append(nil))
	return err
}

// letGo drops what nobody needs any more: batches that were sealed a while ago, or at
// once where the journal fills up, and channels that can't serve again.
func (m *Meter) letGo() error {
	if at := m.cfg.Now(); at.Sub(m.send.tidiedAt) >= headEvery || at.Before(m.send.tidiedAt) {
		m.send.tidiedAt = at
		m.forgetFiles()
		return m.tidy(m.now())
	}
	return nil
}

func (m *Meter) tidy(now int64) error {
	j := m.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	short := j.short()
	if short {
		if err := j.forgetUnused(); err != nil {
			return err
		}
	}
	for _, ch := range j.book.channels {
		if after, any := ch.idle(now, short); any {
			if _, err := j.add(tagDropped, dropRecord(ch.key, after)); err != nil {
				return err
			}
		}
		if ch.overAt(now) {
			if _, err := j.add(tagForget, ch.key[:]); err != nil {
				return err
			}
		}
	}
	return nil
}

// forgetUnused makes room: it forgets channels that served nothing, which can be handed in
// again, and those that the service calls over. The caller holds the lock.
func (j *journal) forgetUnused() error {
	for _, ch := range j.book.channels {
		if len(ch.jobs) > 0 || len(ch.running) > 0 || ch.reading > 0 || ch.stuck != "" || ch.count > 0 && ch.closed != client.StateOver {
			continue
		}
		if _, err := j.add(tagForget, ch.key[:]); err != nil {
			return err
		}
	}
	return nil
}

// idle returns up to where the channel's batches are of no use here any more.
func (ch *channel) idle(now int64, short bool) (after ionet.Amount, any bool) {
	for _, b := range ch.batches {
		if b.sealedAt == 0 || !short && now-b.sealedAt < int64(batchKeep.Seconds()) {
			break
		}
		after, any = b.after, true
	}
	return after, any
}

// Times after a session's end at which its channels are forgotten. No opening of them is
// taken any more, so that their totals can't begin anew; what was refused is kept for
// longer, as evidence.
const (
	forgetAfter = 2 * 24 * 3600
	forgetStuck = 60 * 24 * 3600
)

func (ch *channel) overAt(now int64) bool {
	since := now - ch.session.Expires
	if ch.stuck != "" {
		return since > forgetStuck
	}
	return len(ch.jobs) == 0 && len(ch.running) == 0 && ch.reading == 0 && since > forgetAfter
}

// batchTree is what the path of a batch's jobs is had from.
type batchTree struct {
	of   *batch
	at   map[*job]int
	tree *proofs.BatchTree
}

// prove adds a job's way into its batch. The tree of the batch that was asked for last is
// kept, and no two are made at once: one has up to 65,536 leaves.
func (m *Meter) prove(b *batch, j *job, out *client.WorkerJob) error {
	m.proving.Lock()
	defer m.proving.Unlock()
	if m.proven == nil || m.proven.of != b {
		t := &batchTree{of: b, at: make(map[*job]int, len(b.jobs))}
		jobs := make([]proofs.Job, len(b.jobs))
		for i, other := range b.jobs {
			jobs[i], t.at[other] = other.job, i
		}
		t.tree = proofs.NewBatchTree(jobs)
		m.proven = t
	}
	i := m.proven.at[j]
	path, err := m.proven.tree.Prove(i)
	if err != nil {
		return err
	}
	out.Batch, out.Index, out.Size, out.Path = b.e.Append(nil), uint32(i), uint32(len(b.jobs)), path
	return nil
}
