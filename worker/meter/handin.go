package meter

import (
	"context"
	"time"
)

// HandIn presents once more what has no answer: a worker that stops may not come back
// before its channels end. It is for after Run has ended. left is how many jobs and
// batches stay without an answer; before, where there are such, is when the first of
// their channels ends.
func (m *Meter) HandIn(ctx context.Context) (left int, before time.Time, err error) {
	if left, before = m.notHandedIn(); left == 0 || m.cfg.API == nil {
		return left, before, nil
	}
	m.send.headAt = time.Time{} // it may be another instance by now
	err = m.step(ctx)
	left, before = m.notHandedIn()
	return left, before, err
}

func (m *Meter) notHandedIn() (left int, before time.Time) {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	first := int64(0)
	for _, ch := range m.journal.book.channels {
		n := ch.loose
		for _, p := range ch.parcels() {
			if p.ack == nil && p.refused == "" {
				n++
			}
		}
		if left += n; n > 0 && (first == 0 || ch.opened.Expires < first) {
			first = ch.opened.Expires
		}
	}
	if left == 0 {
		return 0, time.Time{}
	}
	return left, time.Unix(first, 0).UTC()
}
