package meter

import (
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// streaming is an answer that goes on to the renter as it comes.
type streaming struct {
	run    *run
	resp   *http.Response
	cancel func()
	began  time.Time

	events events
	sum    hash.Hash // salt and what was sent
	sent   int64
	copied []byte // what was sent, while it is short enough to be kept
	gone   bool   // the renter hung up: what still comes is only counted
	ended  bool   // the back end came to its end
}

// stream hands a stream on, event by event, and bills what was produced. What breaks on
// the back end's side costs nothing; a renter who hangs up pays for what there was.
func (m *Meter) stream(w http.ResponseWriter, r *http.Request, s *streaming) {
	s.events.hide = !s.run.request.usage
	s.sum = sha256.New()
	s.sum.Write(s.run.ask.salt[:])
	h := w.Header()
	passHeaders(h, s.resp.Header)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	h.Set("Trailer", client.StatementHeader+", "+client.UnbilledHeader)
	w.WriteHeader(s.resp.StatusCode)
	err := m.copy(w, r, s)
	s.gone = s.gone || r.Context().Err() != nil
	if s.gone && m.ending.Load() { // it is we who hung up
		m.metrics.requests.WithLabelValues("stopped").Inc()
		m.release(s.run)
		panic(http.ErrAbortHandler)
	}
	if !s.gone && (err != nil || s.events.failed) {
		m.cfg.Logger.Warn("back end failed", "model", s.run.model.Name, "reason", "its stream breaks off", "error", err)
		m.metrics.requests.WithLabelValues("back-end-failed").Inc()
		m.release(s.run)
		if err != nil {
			panic(http.ErrAbortHandler) // the only way to tell a renter who has a part
		}
		h.Set(client.UnbilledHeader, "back-end-failed")
		return
	}
	m.finish(w, s)
}

// finish bills a stream that ended, or that the renter left.
func (m *Meter) finish(w http.ResponseWriter, s *streaming) {
	if !s.gone && s.copied != nil {
		m.kept.put(s.run.ask.channel, s.run.ask.job, &keptAnswer{
			status: s.resp.StatusCode, media: s.resp.Header.Get("Content-Type"), body: s.copied, stream: true,
		})
	}
	e, err := m.bill(s.run, s.units(m.cfg.Now().Sub(s.began)), ionet.Hash(s.sum.Sum(nil)))
	switch {
	case errors.Is(err, errUnbilled):
		m.unbilled(s.run)
		w.Header().Set(client.UnbilledHeader, "usage-missing")
	case err != nil:
		m.cfg.Logger.Error("job not signed", "error", err)
		panic(http.ErrAbortHandler)
	default:
		outcome := "billed"
		if s.gone {
			outcome = "hung-up"
		}
		m.metrics.requests.WithLabelValues(outcome).Inc()
		w.Header().Set(client.StatementHeader, client.EncodeStatement(e))
	}
}

// units counts what a stream is sold by. Where usage is not told, a chunk that carries
// some of the answer counts as one token: never too many. A renter who leaves before it is
// told pays for his prompt by its bytes, or the prompt would be free to all who hang up.
func (s *streaming) units(took time.Duration) uint64 {
	if s.sent == 0 && !s.gone || s.events.produced == 0 && !s.events.usage.known {
		return 0 // nothing was produced
	}
	switch s.run.request.sold.Unit.Unit {
	case proofs.UnitSecond:
		return seconds(took)
	case proofs.UnitRequest:
		return 1
	}
	if s.events.usage.known {
		return s.events.usage.tokens
	}
	if s.gone && !s.ended {
		return s.events.produced + s.run.request.prompt
	}
	return s.events.produced
}

// copy hands on until the stream ends. It returns an error where the back end broke it
// off; a renter who takes nothing any more has hung up. Then the back end is read on for a
// while, for the usage that it tells last.
func (m *Meter) copy(w http.ResponseWriter, r *http.Request, s *streaming) error {
	out := http.NewResponseController(w)
	_ = out.Flush()
	var stalled atomic.Bool
	watch := time.AfterFunc(m.cfg.Stall, func() { stalled.Store(true); s.cancel() })
	defer watch.Stop()
	s.copied = []byte{}
	buf := make([]byte, 32<<10)
	for {
		n, err := s.resp.Body.Read(buf)
		watch.Reset(m.cfg.Stall)
		on := s.events.take(buf[:n])
		if err == io.EOF {
			on = append(on, s.events.rest()...)
		}
		if s.gone = s.gone || r.Context().Err() != nil; !s.gone && len(on) > 0 && !m.sendOn(w, out, s, on) {
			s.gone = true
			defer time.AfterFunc(m.linger(s.run), s.cancel).Stop()
		}
		s.ended = err == io.EOF
		switch {
		case s.ended, s.gone && (err != nil || s.events.usage.known || m.ending.Load()):
			s.cancel()
			return nil
		case err != nil && stalled.Load():
			return errors.New("nothing came for too long")
		case err != nil:
			return err
		}
	}
}

// sendOn sends a piece and reports whether the renter takes it.
func (m *Meter) sendOn(w http.ResponseWriter, out *http.ResponseController, s *streaming, on []byte) bool {
	_ = out.SetWriteDeadline(time.Now().Add(m.cfg.Stall)) // where the server has deadlines
	if _, err := w.Write(on); err != nil {
		return false
	}
	if err := out.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return false
	}
	s.sum.Write(on)
	s.sent += int64(len(on))
	if s.copied != nil {
		if s.copied = append(s.copied, on...); len(s.copied) > maxKeptOne {
			s.copied = nil
		}
	}
	return true
}
