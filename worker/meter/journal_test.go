package meter

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker/framed"
)

// script is a life of a journal with every kind of record in it. Each step is one sync.
func script(r *rig) []func(*journal) error {
	t := r.t
	p, q := r.sessionOf(10_000), r.sessionOf(10_000)
	add := func(tag byte, payload ...[]byte) func(*journal) error {
		return func(j *journal) error {
			j.mu.Lock()
			ticket, err := j.add(tag, payload...)
			j.mu.Unlock()
			if err != nil {
				return err
			}
			return j.wait(ticket)
		}
	}
	ackOf := func(e proofs.Envelope) []byte {
		return proofs.SignAcks(r.network.ID(), serviceKey, proofs.Arrival{Epoch: 1}, []ionet.Hash{e.ID()})[0].Append(nil)
	}
	open := func(p *payer, limit uint64) func(*journal) error {
		p.open.Limit = ionet.MustAmount(limit)
		body, err := p.open.Encode()
		must(t, err)
		e := proofs.Sign(r.network.ID(), proofs.KindChannelOpen, p.key, body)
		return add(tagChannel, p.session.Append(nil), e.Append(nil), ackOf(e))
	}
	offer := func(sequence uint64) proofs.Envelope {
		body, err := mustOffer(t, fmt.Sprintf(offerText, 4, "http://x")).statement(sequence, 1_900_000_000).Encode()
		must(t, err)
		return proofs.Sign(r.network.ID(), proofs.KindOffer, workerKey, body)
	}
	spent := map[*payer]uint64{}
	job := func(p *payer, fee uint64) (proofs.Job, proofs.Envelope) {
		j := proofs.Job{
			Channel: p.open.Channel, ID: [16]byte{byte(spent[p]), byte(fee), p.open.Channel[0]}, Served: 1_800_000_000, Offer: ionet.Hash{7}, Model: "chat", Units: fee, Price: ionet.MustAmount(1), Per: 1,
			Before: ionet.MustAmount(spent[p]), Fee: ionet.MustAmount(fee), After: ionet.MustAmount(spent[p] + fee), Request: ionet.Hash{1}, Response: ionet.Hash{2}, Cumulative: ionet.MustAmount(5000),
			Voucher: proofs.SignVoucher(p.key, p.open.Channel, ionet.MustAmount(5000)),
		}
		spent[p] += fee
		body, err := j.Encode()
		must(t, err)
		return j, proofs.Sign(r.network.ID(), proofs.KindJob, workerKey, body)
	}
	first, second := offer(1), offer(2)
	_, j1 := job(p, 10)
	_, j2 := job(p, 20)
	g1, e1 := job(q, 5)
	g2, e2 := job(q, 6)
	_, e3 := job(q, 7)
	b, err := proofs.BatchOf([16]byte{1}, 1_800_000_000, []proofs.Job{g1, g2}, g2.Cumulative, g2.Voucher)
	must(t, err)
	body, err := b.Encode()
	must(t, err)
	batch := proofs.Sign(r.network.ID(), proofs.KindJobBatch, workerKey, body)
	id := second.ID()
	return []func(*journal) error{
		add(tagOffer, first.Append(nil)), open(p, 1000), add(tagJob, j1.Append(nil)), add(tagAck, ackOf(first)), add(tagAck, ackOf(j1)), open(p, 2000),
		add(tagJob, j2.Append(nil)), add(tagOffer, second.Append(nil)), add(tagRefused, id[:], []byte("expired")), open(q, 3000),
		add(tagSealed, sealRecord(p.open.Channel, ionet.MustAmount(10), 5)), add(tagGrouped, e1.Append(nil)), add(tagGrouped, e2.Append(nil)), add(tagGrouped, e3.Append(nil)),
		add(tagBatch, batch.Append(nil)), add(tagAck, ackOf(batch)), add(tagSealed, sealRecord(q.open.Channel, ionet.MustAmount(11), 6)),
		add(tagDropped, dropRecord(q.open.Channel, ionet.MustAmount(11))), add(tagSealed, sealRecord(p.open.Channel, ionet.MustAmount(30), 8)), add(tagForget, p.open.Channel[:]),
	}
}

func openTest(t testing.TB, r *rig, path string) *journal {
	t.Helper()
	j, err := openJournal(path, r.network, public(workerKey), 0)
	must(t, err)
	t.Cleanup(func() { j.Close() })
	return j
}

// said is what a book says, whatever the order of its maps.
func (j *journal) said() []byte {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, ch := range j.book.channels { // one order of ids
		if len(ch.byID) > 64 {
			panic("too many ids to compare")
		}
	}
	var list []string
	for b := j.book.records(); len(b) > 0; {
		payload, rest, err := framed.Take(b)
		if err != nil {
			panic(err)
		}
		if payload[0] == tagIDs {
			for ids := payload[33:]; len(ids) > 0; ids = ids[16:] {
				list = append(list, string(payload[:33])+string(ids[:16]))
			}
			slices.Sort(list[max(0, len(list)-len(payload[33:])/16):])
		} else {
			list = append(list, string(payload))
		}
		b = rest
	}
	return []byte(strings.Join(list, "|"))
}

// TestJournalCut kills the writer at every byte: what was synced is there, what was being
// written is gone, and the journal can be written on. A journal that is written anew says
// the same.
func TestJournalCut(t *testing.T) {
	r := newRig(t, nil)
	dir := t.TempDir()
	j := openTest(t, r, filepath.Join(dir, "journal"))
	type point struct {
		size int64
		said []byte
		live int
	}
	points := []point{{j.size, j.said(), 0}}
	steps := script(r)
	for i, step := range steps {
		if err := step(j); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		points = append(points, point{j.size, j.said(), j.book.live})
	}
	file, err := os.ReadFile(j.path)
	must(t, err)
	rnd := rand.New(rand.NewPCG(1, 2))
	for cut := points[0].size; cut <= int64(len(file)); cut++ {
		left := bytes.Clone(file[:cut])
		if cut%3 == 0 {
			left = append(left, make([]byte, rnd.IntN(40))...)
		}
		n := len(points) - 1
		for points[n].size > cut && !bytes.HasPrefix(left, file[:points[n].size]) { // zeros may be what was cut off
			n--
		}
		path := filepath.Join(dir, "cut")
		again := newJournal(path, r.network, public(workerKey), 0)
		if cut == points[n].size || cut%97 == 0 {
			must(t, os.WriteFile(path, left, 0o600))
			err = again.open()
		} else {
			_, err = again.load(left)
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		if !bytes.Equal(again.said(), points[n].said) || again.book.live != points[n].live {
			t.Fatalf("cut at %d: not what was synced after step %d", cut, n)
		}
		if cut == points[n].size && len(left) == int(cut) {
			again.mu.Lock()
			again.rewrite()
			again.mu.Unlock()
			must(t, again.broken)
			must(t, again.Close())
			again = openTest(t, r, path)
			if !bytes.Equal(again.said(), points[n].said) || again.book.live != points[n].live {
				t.Fatalf("written anew after step %d it says something else", n)
			}
			for i := n; i < len(steps); i++ {
				if err := steps[i](again); err != nil {
					t.Fatalf("written anew after step %d: step %d: %v", n, i, err)
				}
			}
			if !bytes.Equal(again.said(), points[len(points)-1].said) {
				t.Fatalf("written anew after step %d it ends elsewhere", n)
			}
		}
		must(t, again.Close())
	}
}

// TestJournalDamage: a bit that flips before the end is an error, never another total.
func TestJournalDamage(t *testing.T) {
	r := newRig(t, nil)
	dir := t.TempDir()
	j := openTest(t, r, filepath.Join(dir, "journal"))
	for _, step := range script(r)[:8] {
		must(t, step(j))
	}
	said := j.said()
	file, err := os.ReadFile(j.path)
	must(t, err)
	path := filepath.Join(dir, "bad")
	last := int64(0) // where the last group begins
	for b := file[journalHeader:]; len(b) > 0; {
		_, rest, err := framed.Take(b)
		must(t, err)
		last, b = int64(len(file)-len(b)), rest
	}
	for at := 0; at < len(file); at += 7 {
		bad := bytes.Clone(file)
		bad[at] ^= 0x10
		must(t, os.WriteFile(path, bad, 0o600))
		again, err := openJournal(path, r.network, public(workerKey), 0)
		if err == nil {
			// Only the last group can pass for one that was being written.
			if int64(at) < last || bytes.Equal(again.said(), said) {
				t.Fatalf("byte %d flipped: taken", at)
			}
			must(t, again.Close())
		}
	}
	for name, open := range map[string]func() (*journal, error){
		"another worker": func() (*journal, error) { return openJournal(j.path, r.network, public(renterKey), 0) },
		"no journal": func() (*journal, error) {
			must(t, os.WriteFile(path, []byte("something else"), 0o600))
			return openJournal(path, r.network, public(workerKey), 0)
		},
	} {
		if _, err := open(); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

// TestJournalTogether: many write at once, and what was waited for is in the file.
func TestJournalTogether(t *testing.T) {
	r := newRig(t, nil)
	j := openTest(t, r, filepath.Join(t.TempDir(), "journal"))
	p := r.sessionOf(10_000)
	p.open.Limit = ionet.MustAmount(10_000)
	body, err := p.open.Encode()
	must(t, err)
	open := proofs.Sign(r.network.ID(), proofs.KindChannelOpen, p.key, body)
	payload := [][]byte{p.session.Append(nil), open.Append(nil), proofs.SignAcks(r.network.ID(), serviceKey, proofs.Arrival{}, []ionet.Hash{open.ID()})[0].Append(nil)}
	j.mu.Lock()
	_, err = j.add(tagChannel, payload...)
	j.mu.Unlock()
	must(t, err)
	const writers, each = 16, 2000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range each / 100 {
				ids := make([]byte, 32, 32+1600)
				copy(ids, p.open.Channel[:])
				for k := range 100 {
					ids = binary.BigEndian.AppendUint64(ids, uint64(w))
					ids = binary.BigEndian.AppendUint64(ids, uint64(i*100+k))
				}
				j.mu.Lock()
				ticket, err := j.add(tagIDs, ids)
				j.mu.Unlock()
				if err == nil {
					err = j.wait(ticket)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if n := len(j.book.channels[p.open.Channel].byID); n != writers*each {
		t.Fatalf("%d ids are in the book", n)
	}
	again := openTest(t, r, j.path)
	if n := len(again.book.channels[p.open.Channel].byID); n != writers*each {
		t.Errorf("%d ids are in the file", n)
	}
}

// TestJournalFull: a full journal takes no new work, stays below its bound, and goes on
// when jobs are settled.
func TestJournalFull(t *testing.T) {
	r, s := withService(t, func(c *Config) { c.JournalBytes = 1 })
	p := r.newPayer(1_000_000)
	s.knows(p)
	s.set(func() { s.down = true })
	served := 0
	for {
		g := p.send(try{covers: 900_000})
		if g.job == nil {
			if g.problem.Kind() != client.JournalFull {
				t.Fatalf("refused by %+v", g.problem)
			}
			break
		}
		if served++; served > 5000 {
			t.Fatal("it is never full")
		}
	}
	if served < 100 {
		t.Errorf("full after %d jobs", served)
	}
	if info, err := os.Stat(r.cfg.Journal); err != nil || info.Size() > minJournalBytes {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	r.restart()
	if g := p.send(try{covers: 900_000}); g.problem == nil || g.problem.Kind() != client.JournalFull {
		t.Errorf("served by a full journal after a restart: %+v", g)
	}
	s.set(func() { s.down = false })
	must(t, r.steps(2))
	s.set(func() { s.sealed = len(s.logged) })
	must(t, r.steps(2))
	if g := p.send(try{covers: 900_000}); g.job == nil {
		t.Errorf("not served though all is settled: %+v", g.problem)
	}
	// Ids of jobs that were let go are remembered.
	first := got{}
	for id := range r.meter.journal.book.channels[p.open.Channel].byID {
		if first = p.send(try{covers: 900_000, job: id}); first.problem == nil || first.problem.Kind() != client.JobDone && first.problem.Kind() != client.JobConflict {
			t.Fatalf("job %s again: %+v", hex.EncodeToString(id[:]), first)
		}
		break
	}
	for range 3 * served { // the file is written anew on the way
		if g := p.send(try{covers: 900_000}); g.job == nil {
			t.Fatalf("not served: %+v", g.problem)
		}
		if served++; served%100 == 0 {
			must(t, r.steps(1))
			s.set(func() { s.sealed = len(s.logged) })
			must(t, r.steps(1))
		}
	}
	if info, err := os.Stat(r.cfg.Journal); err != nil || info.Size() > minJournalBytes+compactAbove {
		t.Errorf("the file has %d bytes, %v", info.Size(), err)
	}
	r.checkLive()
}

func FuzzJournal(f *testing.F) {
	r := newRig(f, nil)
	j := openTest(f, r, filepath.Join(f.TempDir(), "journal"))
	for _, step := range script(r) {
		must(f, step(j))
	}
	file, err := os.ReadFile(j.path)
	must(f, err)
	f.Add(file[journalHeader:])
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		again := newJournal("", r.network, public(workerKey), 0)
		if _, err := again.load(append(bytes.Clone(j.header), b...)); err != nil {
			return
		}
		once := newJournal("", r.network, public(workerKey), 0)
		if _, err := once.load(again.whole()); err != nil {
			t.Fatalf("what it writes is not read: %v", err)
		}
		if !bytes.Equal(once.said(), again.said()) {
			t.Error("what it writes says something else")
		}
	})
}
