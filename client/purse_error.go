package client

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
)

// Codes of a PurseError.
const (
	CodeUnknownModel = "model_not_found"     // nobody offers it
	CodeNoOffers     = "no_offer"            // no offer can be used: price caps, or the list can't be had
	CodeBusy         = "rate_limit_exceeded" // those who offer it have no capacity just now
	CodeReserve      = "insufficient_quota"  // the session's reserve does not cover it
	CodeAboveMost    = "above_max_fee"       // it may cost more than one request is allowed to
	CodeSession      = "session_over"        // the session expired
	CodeWorkers      = "workers_failed"      // all that were tried failed
	CodeLost         = "answer_lost"         // the worker billed it, and has its answer no more
	CodeBadRequest   = "invalid_request"
)

// PurseError is why a request could not be served, as HTTP would say it.
type PurseError struct {
	Status     int
	Code       string
	Message    string
	RetryAfter time.Duration // 0: not said

	most ionet.Amount // with CodeReserve: the limit that the channel can have
}

func (e *PurseError) Error() string { return e.Message }

// workerFault is a worker's failure: another one may do better.
type workerFault struct {
	worker ionet.Key
	reason string
	busy   bool // it serves as many as it can
	after  time.Duration
}

func (e *workerFault) Error() string { return fmt.Sprintf("worker %s: %s", e.worker, e.reason) }

// meterProblem reads the problem of an answer that is none; one that no worker wrote has
// the type "about:blank".
func meterProblem(resp *http.Response, body []byte) *MeterProblem {
	p := &MeterProblem{}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if media != ProblemMediaType || json.Unmarshal(body, p) != nil || p.Type == "" {
		p = &MeterProblem{Type: "about:blank", Title: resp.Status, Detail: "its address answers " + resp.Status}
	}
	p.Status = resp.StatusCode
	if d, ok := retryAfter(resp.Header.Get("Retry-After"), time.Now()); ok {
		p.RetryAfter = int64(d / time.Second)
	}
	return p
}

// readAtMost reads all of r, which must not be longer than limit.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(b)) > limit {
		err = fmt.Errorf("answer has more than %d bytes", limit)
	}
	return b, err
}
