package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// outage is a trouble with the service as a person is told of it: when it begins, now and
// then while the service is away, and when it is over.
type outage struct {
	told  string        // the trouble that was reported last, "" for none
	away  bool          // the service did not answer at all
	since time.Duration // boot clock
	next  time.Duration // when to tell again
}

const (
	tellFirst = 5 * time.Minute
	tellEach  = 10 * time.Minute
)

// wait reports a trouble when it begins, not at every call, and that it is over.
func (w *Worker) wait(trouble error) {
	o, up := &w.outage, w.host.up()
	if trouble == nil {
		if o.told != "" {
			w.emit(Event{Kind: EventRecovered})
		}
		*o = outage{}
		return
	}
	w.cfg.Logger.Debug("service call", "error", trouble)
	text, away := troubleText(trouble)
	switch {
	case o.told == "" || o.away != away:
		*o = outage{told: text, away: away, since: up, next: up + tellFirst}
		w.emit(Event{Kind: EventWaiting, Text: text})
	case away && up >= o.next:
		o.next = up + tellEach
		w.emit(Event{Kind: EventWaiting, Text: fmt.Sprintf("the service has not answered for %s: %s", inMinutes(up-o.since), w.kept())})
	}
}

// kept says what an outage costs so far.
func (w *Worker) kept() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.spool.readings) + countWhere(w.spool.items, func(it *item) bool {
		return it.e.Kind == proofs.KindUptime && it.ack == nil && it.refused == ""
	})
	return fmt.Sprintf("%d readings kept, spool %d%% full", n, w.spool.percent())
}

// troubleText says what is wrong with the service in a person's words, and whether it is
// away: then nothing of it answered.
func troubleText(err error) (text string, away bool) {
	if p, ok := errors.AsType[*client.Problem](err); ok {
		if strings.HasPrefix(p.Type, client.ProblemPrefix) {
			return err.Error(), false
		}
		return p.Detail, true // a balancer's
	}
	reason := silence(err)
	chain, isChain := errors.AsType[*chainError](err)
	switch {
	case reason == "":
		return err.Error(), false
	case isChain:
		return fmt.Sprintf("check the beacon of epoch %d sample %d: --rpc does not answer: %s", chain.epoch, chain.sample, reason), false
	}
	return "the service does not answer: " + reason, true
}

// silence says why a call had no answer; "" where it had one, or where that is not known.
func silence(err error) string {
	dns, isDNS := errors.AsType[*net.DNSError](err)
	timeout, isNet := errors.AsType[net.Error](err)
	switch {
	case isDNS:
		return "no address is known for " + dns.Name
	case isNet && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "no answer came in time"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens at its address"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was cut"
	case isNet:
		return innermost(err).Error()
	}
	return ""
}

func innermost(err error) error {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}

// inMinutes is a duration for a person, as "5 min" or "2 h 15 min".
func inMinutes(d time.Duration) string {
	m := int(d / time.Minute)
	if m < 60 {
		return fmt.Sprintf("%d min", m)
	}
	return fmt.Sprintf("%d h %d min", m/60, m%60)
}
