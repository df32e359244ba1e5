package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
)

// road is the way to workers, on which requests and answers are lost.
type road struct {
	mu   sync.Mutex
	next func(*http.Request) (*http.Response, error) // for the next inference; nil passes
	dead bool
}

func (r *road) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	next, dead := r.next, r.dead
	if strings.HasPrefix(req.URL.Path, "/v1/") {
		r.next = nil
	} else {
		next = nil
	}
	r.mu.Unlock()
	switch {
	case dead:
		return nil, errLost
	case next != nil:
		return next(req)
	}
	return http.DefaultTransport.RoundTrip(req)
}

var errLost = errors.New("lost on the road")

// meets says what becomes of the next inference.
func (r *road) meets(fault func(*http.Request) (*http.Response, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.next = fault
}

// The faults of one inference.
var faults = map[string]func(*http.Request) (*http.Response, error){
	"never arrives": func(*http.Request) (*http.Response, error) { return nil, errLost },
	"answer is lost": func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			err = errLost
		}
		return nil, err
	},
	"answer breaks off": func(req *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			resp.Body = &torn{ReadCloser: resp.Body, left: 20}
		}
		return resp, err
	},
	"a balancer answers": func(req *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 502, Status: "502 Bad Gateway", Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>")), Request: req}, nil
	},
}

// torn is a body that ends too early.
type torn struct {
	io.ReadCloser
	left int
}

func (b *torn) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, io.ErrUnexpectedEOF
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// spender is a purse in a town, that may be killed.
type spender struct {
	w       *town
	cfg     client.PurseConfig
	road    *road
	purse   *client.Purse
	folders int
}

func (x *spender) open() {
	x.w.t.Helper()
	x.road = &road{}
	x.cfg.Transport = x.road
	var err error
	x.purse, err = client.OpenPurse(x.cfg)
	x.w.check(err)
}

// kill takes the folder as it is at this moment, as a killed process leaves it, and goes
// on from there.
func (x *spender) kill() {
	x.w.t.Helper()
	x.folders++
	copied := filepath.Join(filepath.Dir(x.cfg.Dir), fmt.Sprintf("purse-%d", x.folders))
	x.road.mu.Lock()
	x.road.dead = true // it sends nothing more
	x.road.mu.Unlock()
	x.w.check(os.CopyFS(copied, os.DirFS(x.cfg.Dir)))
	x.purse.Close()
	x.cfg.Dir = copied
	x.open()
}

// ask makes one request; left leaves a stream at its first bytes.
func (x *spender) ask(text string, stream, left bool) {
	ctx, cancel := context.WithTimeout(x.w.t.Context(), 20*time.Second)
	defer cancel()
	body := fmt.Sprintf(`{"model":"talker","max_tokens":%d,"stream":%v,"messages":[{"role":"user","content":%q}]}`, 50+len(text), stream, text)
	a, err := x.purse.Do(ctx, client.Inference{Path: client.PathChat, Body: []byte(body)})
	if err != nil {
		return // the fault that was asked for
	}
	defer a.Body.Close()
	if left {
		io.ReadFull(a.Body, make([]byte, 10))
		return
	}
	io.Copy(io.Discard, a.Body)
}

// TestPurseSurvives: whatever is lost on the way, and whenever the purse is killed, it ends
// with a statement for every unit that the worker earned and the service paid: no more, no
// less, and none of its vouchers forgotten.
func TestPurseSurvives(t *testing.T) {
	w := openTown(t)
	wallet := w.renter("1")
	w.sell(echo(t))
	w.eventually("the worker's offer is listed", func() bool { out, _ := w.do("offers", "--server", w.server); return strings.Contains(out, "talker") })
	for seed := range uint64(15) {
		dice := rand.New(rand.NewPCG(seed, 6))
		dir := filepath.Join(w.dir, fmt.Sprintf("run-%d", seed))
		w.check(os.Mkdir(dir, 0o700))
		file := filepath.Join(dir, "session.json")
		w.says([]string{"session", "open", "--server", w.server, "--keypair", wallet, "--key-out", file, "--reserve", "0.005"}, `is open`)
		api, err := client.New(client.Config{Server: w.server})
		w.check(err)
		flags := sessionFile{Session: file}
		key, err := flags.key()
		w.check(err)
		e, _, err := readSession(file, w.network)
		w.check(err)
		x := &spender{w: w, cfg: client.PurseConfig{
			Service: api, Network: w.network, Key: key, Session: e, Dir: filepath.Join(dir, "purse-0"), Now: w.clock,
			Most: ionet.MustAmount(5_000), First: ionet.MustAmount(1_000),
		}}
		x.open()
		names := []string{"none", "none", "never arrives", "answer is lost", "answer breaks off", "a balancer answers", "kill"}
		for i := range 1 + dice.IntN(8) {
			fault := names[dice.IntN(len(names))]
			stream, left := dice.IntN(2) == 0, dice.IntN(2) == 0
			text := strings.Repeat("word ", 1+dice.IntN(40))
			if fault == "kill" {
				reached := make(chan struct{})
				served := dice.IntN(2) == 0
				x.road.meets(func(req *http.Request) (*http.Response, error) {
					if served { // the worker has it, and answers nobody
						resp, err := http.DefaultTransport.RoundTrip(req)
						if err == nil {
							io.Copy(io.Discard, resp.Body)
							resp.Body.Close()
						}
					}
					close(reached)
					<-req.Context().Done()
					return nil, errLost
				})
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan struct{})
				purse := x.purse
				go func() {
					defer close(done)
					body := fmt.Sprintf(`{"model":"talker","max_tokens":50,"messages":[{"role":"user","content":%q}]}`, text)
					purse.Do(ctx, client.Inference{Path: client.PathChat, Body: []byte(body)})
				}()
				select {
				case <-reached:
				case <-done:
				}
				x.kill()
				cancel()
				<-done
				continue
			}
			x.road.meets(faults[fault])
			x.ask(text, stream, left && i > 0)
		}
		w.now.Add(10) // what was lost can't arrive any more
		for range 3000 {
			if x.purse.Settle(t.Context()) == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if err := x.agree(api); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		x.purse.Close()
	}
}

// agree compares purse, receipts, worker and service.
func (x *spender) agree(api *client.Client) error {
	kept, err := client.ReadReceipts(x.cfg.Dir)
	x.w.check(err)
	paid := map[ionet.Key]uint64{}
	for _, k := range kept {
		paid[k.Channel] += k.Fee.Base()
	}
	for _, ch := range x.purse.Channels() {
		if ch.Unknown != 0 || ch.Left != "" || ch.Signed.Cmp(ch.Limit) > 0 || ch.Spent.Base() != paid[ch.Channel] {
			return fmt.Errorf("channel %+v, receipts of %d", ch, paid[ch.Channel])
		}
		resp, err := http.Get(ch.Endpoint + "/ionet/v1/channels/" + ch.Channel.String())
		x.w.check(err)
		var has client.WorkerChannel
		x.w.check(decode(resp, &has))
		if has.Spent != ch.Spent || has.Covered.Cmp(ch.Signed) > 0 || !has.Running.IsZero() {
			return fmt.Errorf("the worker has %+v, the purse %+v", has, ch)
		}
		x.w.eventually("the service comes to what the worker has", func() bool {
			paid, err := api.Channel(x.w.t.Context(), ch.Channel)
			return err == nil && paid.Spent == ch.Spent
		})
	}
	return nil
}
