package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// TestOutageIsTold: that the service is away is said at once, after five minutes and then
// every ten, with what is kept; and once that it is back.
func TestOutageIsTold(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	s.live(1, 2)
	s.wire.down.Store(true)
	began := len(s.saw(EventWaiting))
	s.toSample(28, 2, s.tick) // 27 minutes
	got := s.saw(EventWaiting)[began:]
	if len(got) != 4 || got[0].Text != "the service does not answer: the wire is cut" {
		t.Fatalf("waiting: %v", got)
	}
	for i, minutes := range []string{"5 min", "15 min", "25 min"} {
		want := `^the service has not answered for ` + minutes + `: [1-9][0-9]* readings kept, spool [0-9]+% full$`
		if !regexp.MustCompile(want).MatchString(got[i+1].Text) {
			t.Errorf("after %s: %q", minutes, got[i+1].Text)
		}
	}
	s.wire.down.Store(false)
	before := len(s.saw(EventRecovered))
	s.toSample(28, 4, s.tick)
	if n := len(s.saw(EventRecovered)) - before; n != 1 {
		t.Errorf("told %d times that it is over", n)
	}
}

func TestTroubleText(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		err  error
		want string
		away bool
	}{
		{dial, "nothing listens at its address", true},
		{context.DeadlineExceeded, "no answer came in time", true},
		{&net.DNSError{Name: "ionetd.example", Err: "no such host"}, "no address is known for ionetd.example", true},
		{fmt.Errorf("read answer: %w", io.ErrUnexpectedEOF), "the connection was cut", true},
		{&client.Problem{Type: "about:blank", Title: "502 Bad Gateway", Status: http.StatusBadGateway, Detail: "the service's address answers 502 Bad Gateway"}, "502 Bad Gateway", true},
		{&client.Problem{Type: client.ProblemPrefix + client.Busy, Detail: "come later"}, "come later (busy)", false},
		{&chainError{3, 4, dial}, "check the beacon of epoch 3 sample 4: --rpc does not answer: nothing listens", false},
		{errors.New("the book of epoch 3: it is of epoch 4"), "the book of epoch 3", false},
	} {
		text, away := troubleText(&apiError{fmt.Errorf("GET /v1/head: %w", c.err)})
		if !strings.Contains(text, c.want) || away != c.away || strings.Contains(text, "about:blank") || away && strings.Contains(text, "tcp") {
			t.Errorf("%v: got %q, %v", c.err, text, away)
		}
	}
}

// TestNewestDelegationOnly: a refusal of what names an older delegation, or is about
// something else, has no new one signed.
func TestNewestDelegationOnly(t *testing.T) {
	s := newStage(t)
	s.openWorker()
	w := s.w
	it, older := *w.inventory, *w.inventory
	older.names[0][0] ^= 1
	for kind, want := range map[string]bool{
		client.DeviceBound: false, client.WrongDeviceCount: false, client.Busy: false,
		client.DelegationRevoked: true, client.DelegationExpired: true, client.ForeignDelegation: true,
	} {
		if got := w.aboutDelegation(&it, kind); got != want {
			t.Errorf("%s: got %v", kind, got)
		}
		if w.aboutDelegation(&older, kind) {
			t.Errorf("%s of an older delegation is about the newest", kind)
		}
	}
	if !w.aboutDelegation(w.spool.latest(proofs.KindDelegation), client.DelegationRevoked) {
		t.Error("a refusal of the delegation itself is not about it")
	}
}
