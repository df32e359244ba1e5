package meter

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// Times of asking for channels.
const (
	askEvery = 15 * time.Second // for those in use
	askTime  = 3 * time.Second  // that a request waits for the answer
	askPause = 5 * time.Second  // in which requests do not ask a service again that did not answer
	askIdle  = 10 * time.Minute // for those that are not in use, where the journal is short of room
	idleOnce = 64               // of those at once
)

// askFirst has the service say how a channel is before the first request on it is served:
// the ack of an opening is good for ever, and the channel may be over since. Where the
// service does not answer, that is not waited for.
func (m *Meter) askFirst(ctx context.Context, key ionet.Key) *client.MeterProblem {
	if m.cfg.API == nil {
		return nil
	}
	j := m.journal
	j.mu.Lock()
	ch := j.book.channels[key]
	if ch == nil || ch.known {
		j.mu.Unlock()
		return nil
	}
	if asked := ch.asking; asked != nil {
		j.mu.Unlock()
		select {
		case <-asked:
		case <-ctx.Done():
		}
		return m.unknownState(key)
	}
	asked := make(chan struct{})
	ch.asking = asked
	j.mu.Unlock()
	// Others wait for it, so that it goes on where this renter leaves.
	wait, cancel := context.WithTimeout(context.WithoutCancel(ctx), askTime)
	defer cancel()
	var err error
	if at := m.away.Load(); at == 0 || m.cfg.Now().Sub(time.Unix(0, at)) >= askPause {
		if err = m.askChannel(wait, key); err != nil && silent(err) {
			m.away.Store(m.cfg.Now().UnixNano())
		}
	}
	j.mu.Lock()
	ch.asking = nil
	close(asked)
	j.mu.Unlock()
	if err != nil {
		m.cfg.Logger.Info("a channel's state is not known", "channel", key, "error", err)
	}
	return m.unknownState(key)
}

// unknownState refuses a request on a channel whose state is not known though the service
// answers.
func (m *Meter) unknownState(key ionet.Key) *client.MeterProblem {
	m.journal.mu.Lock()
	defer m.journal.mu.Unlock()
	if ch := m.journal.book.channels[key]; ch == nil || ch.known || m.away.Load() != 0 {
		return nil
	}
	return later(http.StatusServiceUnavailable, client.Busy, "the service has not said yet that the channel is open", 1)
}

// silent reports whether an error is that the service does not answer, or can't.
func silent(err error) bool {
	p, ok := errors.AsType[*client.Problem](err)
	return !ok || p.Status >= 500
}

// askChannel asks the service for one channel.
func (m *Meter) askChannel(ctx context.Context, key ionet.Key) error {
	c, err := m.cfg.API.Channel(ctx, key)
	if p, ok := errors.AsType[*client.Problem](err); ok && p.Status == http.StatusNotFound {
		c, err = client.Channel{Channel: key, State: client.StateOpen}, nil // it forgot: its jobs will say so
	}
	if err != nil {
		return fmt.Errorf("ask for channel %s: %w", key, err)
	}
	m.hear()
	return m.takeState(c)
}

// askChannels asks for channels in use, and for those that are new here: the service may
// know of jobs that a lost journal held, or that the channel is closed. Where the journal
// is short of room it asks for others as well, for what is over can be forgotten.
func (m *Meter) askChannels(ctx context.Context) error {
	now := m.cfg.Now()
	each := now.Sub(m.send.askedAt) >= askEvery || now.Before(m.send.askedAt)
	if each {
		m.send.askedAt = now
	}
	m.journal.mu.Lock()
	var keys []ionet.Key
	idle := 0
	if m.journal.short() {
		idle = idleOnce
	}
	for _, ch := range m.journal.book.channels {
		switch {
		case !ch.known || each && (ch.active || len(ch.running) > 0):
			keys = append(keys, ch.key)
		case each && idle > 0 && ch.count > 0 && ch.closed == "" && now.Unix()-ch.askedAt >= int64(askIdle.Seconds()):
			idle--
			keys = append(keys, ch.key)
		}
	}
	m.journal.mu.Unlock()
	return m.askEach(ctx, keys)
}

// askBeforeBatches asks for the channels that have a batch to sign and served since they
// were asked for.
func (m *Meter) askBeforeBatches(ctx context.Context) error {
	m.journal.mu.Lock()
	var keys []ionet.Key
	for _, ch := range m.journal.book.channels {
		if ch.active && m.nextBatch(ch) > 0 {
			keys = append(keys, ch.key)
		}
	}
	m.journal.mu.Unlock()
	return m.askEach(ctx, keys)
}

func (m *Meter) askEach(ctx context.Context, keys []ionet.Key) error {
	for _, key := range keys {
		if err := m.askChannel(ctx, key); err != nil {
			return err
		}
	}
	return nil
}

// takeState takes what the service has of a channel. Where it has jobs of a channel that
// is empty here, an earlier life of this worker served them.
func (m *Meter) takeState(c client.Channel) error {
	j := m.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	ch := j.book.channels[c.Channel]
	if ch == nil {
		return nil
	}
	ch.known, ch.active, ch.askedAt, ch.closing = true, false, m.cfg.Now().Unix(), c.ClosingAt
	if ch.closed = ""; c.State != client.StateOpen {
		ch.closed = c.State
	}
	if len(ch.running) > 0 || ch.count > 0 || c.Spent.IsZero() {
		return nil
	}
	m.cfg.Logger.Warn("the service has jobs of a channel that this journal does not", "channel", ch.key, "spent", c.Spent)
	earlier := channel{key: ch.key, base: c.Spent, count: c.Jobs, covered: ch.covered, voucher: ch.voucher}
	_, err := j.add(tagTotals, earlier.totals())
	return err
}
