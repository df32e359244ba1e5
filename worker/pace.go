package worker

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// pace holds calls of the service back after one that it did not answer. Many hosts lose
// a service at one moment, and all are told to come back after one second: each waits for
// a time of its own, so that they do not come at once.
type pace struct {
	until    time.Duration // boot clock
	failures int           // since the last answer
}

// rests reports whether no call is due yet.
func (p *pace) rests(up time.Duration) bool { return up < p.until }

// took notes how a round of calls went. A service that asks for time gets it, up to
// maxRest; one that is away is asked again after a pause that grows to half a sample.
func (p *pace) took(trouble error, up, sample time.Duration) {
	if trouble == nil {
		*p = pace{}
		return
	}
	p.failures = min(p.failures+1, 8)
	var said *client.Problem
	if errors.As(trouble, &said) && said.RetryAfter > 0 {
		asked := min(said.RetryAfter, maxRest)
		p.until = up + asked + rand.N(asked)
		return
	}
	pause := min(sample/64<<p.failures, sample/2)
	p.until = up + pause/2 + rand.N(pause/2+1)
}

// maxRest bounds what a Retry-After can cost: it may be that of a broken proxy, and after
// a few samples a statement is late.
const maxRest = 2 * time.Minute

// tooLarge reports whether the service, or a proxy before it, takes no request of that size.
func tooLarge(err error) bool {
	var p *client.Problem
	return errors.As(err, &p) && (p.Status == http.StatusRequestEntityTooLarge || p.Kind() == client.BodyTooLarge || p.Kind() == client.TooManyStatements)
}
