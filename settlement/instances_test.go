package settlement

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Two instances on one database take the same statements at the same time, in large and
// small requests and other orders: each is accepted once, and whoever is asked tells the
// same arrival; of three different ones for a sample two are kept.
func TestTwoInstancesTakeTheSame(t *testing.T) {
	b := newBooks(t)
	var hosts []*host
	for i := range 60 {
		hosts = append(hosts, b.newHost(fmt.Sprint("host ", i), fmt.Sprint("gpu ", i)))
	}
	b.register(hosts...)
	both := []*books{b, b.on(b.url)}
	for sample := range uint16(testSamples) {
		b.toSample(1, sample)
		var all []Submitted
		for i, h := range hosts {
			all = append(all, Submitted{Envelope: h.uptime(1, sample, nil)})
			for n := range byte(2) {
				if i%10 == 0 {
					all = append(all, Submitted{Envelope: h.uptime(1, sample, func(u *proofs.Uptime) { u.Previous = ionet.Hash{n} })})
				}
			}
		}
		backwards := make([]Submitted, len(all))
		for i := range all {
			backwards[len(all)-1-i] = all[i]
		}
		var mu sync.Mutex
		accepted, arrivals, tooMany := map[ionet.Hash]int{}, map[ionet.Hash]map[proofs.Arrival]bool{}, map[ionet.Hash]int{}
		var wg sync.WaitGroup
		for i := range 6 {
			list, step := [][]Submitted{all, backwards}[i/2%2], []int{len(all), 7, 1}[i%3]
			wg.Go(func() {
				for ; len(list) > 0; list = list[min(step, len(list)):] {
					part := list[:min(step, len(list))]
					results, err := both[i%2].Submit(context.Background(), part)
					if err != nil {
						t.Errorf("submit: %v", err)
						return
					}
					mu.Lock()
					for j, r := range results {
						switch {
						case r.Status == Accepted:
							accepted[r.ID]++
						case r.Problem != nil && r.Problem.Type == ProblemTooManyStatements:
							tooMany[r.ID]++
							continue
						case r.Problem != nil:
							t.Errorf("refused: %v", r.Problem)
							continue
						}
						if arrivals[r.ID] == nil {
							arrivals[r.ID] = map[proofs.Arrival]bool{}
						}
						arrivals[r.ID][b.checkAck(part[j].Envelope, r)] = true
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		rows := b.uptimes()
		for _, sub := range all {
			id := sub.Envelope.ID()
			_, kept := rows[id]
			if kept && (accepted[id] != 1 || len(arrivals[id]) != 1 || tooMany[id] != 0) {
				t.Errorf("a statement that is kept was accepted %d times with %d arrivals, and refused %d times", accepted[id], len(arrivals[id]), tooMany[id])
			}
			if !kept && (accepted[id] != 0 || tooMany[id] != 6) {
				t.Errorf("a statement that is not kept was accepted %d times, refused %d of 6", accepted[id], tooMany[id])
			}
		}
	}
	if got, want := b.count(`SELECT count(*) FROM uptimes`), testSamples*(60+6); got != want {
		t.Errorf("%d rows, want %d: one for each sample of a host, two of each tenth host's", got, want)
	}
}
