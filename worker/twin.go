package worker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// ErrTwin reports that another process signs with this host's key. Two statements of one
// key for one sample are equivocation: the epoch is lost for both.
var ErrTwin = errors.New("ANOTHER PROCESS SIGNS WITH THIS HOST'S KEY: a copy of this folder, or of this machine, is running; " +
	"two statements for one sample are equivocation and cost the epoch: stop one of the two, and make a new folder and key there")

// Statements that this folder does not know may be of an earlier life of it: it was put
// back to a backup, or its spool was lost. Or another process is signing now, with a copy
// of the folder. Only time tells: for a few samples nothing is signed here, and when the
// other one goes on meanwhile, this process ends. What is read in that time is signed
// after it.
type watch struct {
	on      bool
	until   time.Duration // boot clock
	next    time.Duration // when to look again at all, boot clock
	strange ionet.Hash    // the foreign statement that was seen last
}

// Two processes that found each other out must not wait for the same time.
const (
	watchSamples  = 2.5 // and up to watchMore more
	watchMore     = 1.5
	lookEachTimes = 5 // samples
)

// beginWatch is called with a statement that this key signed elsewhere.
func (w *Worker) beginWatch(s client.WorkerStatus) {
	length := time.Duration((watchSamples + watchMore*rand.Float64()) * float64(w.sampleTime()))
	w.watch = watch{on: true, until: w.host.up() + length, strange: s.LastStatement}
	w.emit(Event{Kind: EventStranger, Epoch: s.LastEpoch, Sample: s.LastSample, ID: s.LastStatement,
		Text: fmt.Sprintf("signing nothing for %s, to see whether another process signs with it", length.Round(time.Second))})
}

// lookForTwin asks now and then, and often while the watch is on, which statement of this
// key is the service's last. It returns ErrTwin when another process signed it.
func (w *Worker) lookForTwin(ctx context.Context) error {
	up := w.host.up()
	if !w.watch.on && up < w.watch.next {
		return nil
	}
	status, err := w.cfg.API.Worker(ctx, w.self)
	if err != nil && !client.IsProblem(err, client.UnknownWorker) {
		return &apiError{err}
	}
	w.watch.next = up + lookEachTimes*w.sampleTime()
	at := moment{status.LastEpoch, status.LastSample}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil && status.LastStatement != w.watch.strange && w.spool.life.before(at) && w.spool.foreign(status.LastStatement, at) {
		w.emit(Event{Kind: EventTwin, Epoch: at.epoch, Sample: at.sample, ID: status.LastStatement})
		return fmt.Errorf("%w (statement %s of epoch %d sample %d is not of %s)", ErrTwin, status.LastStatement, at.epoch, at.sample, w.cfg.Folder.dir)
	}
	if w.watch.on && up >= w.watch.until {
		w.watch.on = false
		w.emit(Event{Kind: EventRecovered})
	}
	return nil
}

func (w *Worker) sampleTime() time.Duration {
	return time.Duration(w.clock.SampleSeconds()) * time.Second
}
