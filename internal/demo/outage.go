package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet/client"
)

// shortOutage is what is not worth a line.
const shortOutage = 3 * time.Second

// A watch asks, a few times in a second, whether some instance would pay, and keeps how
// long none did, and what was done last before.
type watch struct {
	g    *siege
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	servers []string // where instances may answer
	last    string   // disturbance

	began   time.Time
	down    time.Duration // in sum
	outages []outage
}

type outage struct {
	length time.Duration
	after  string // the disturbance before it
}

func watchPaying(ctx context.Context, g *siege) *watch {
	ctx, stop := context.WithCancel(ctx)
	w := &watch{g: g, stop: stop, done: make(chan struct{}), began: time.Now(), last: "the chain's own faults"}
	w.struck(w.last)
	go w.run(ctx)
	return w
}

// struck says what is done next; where instances answer is looked up with it.
func (w *watch) struck(name string) {
	servers := []string{w.g.server}
	if w.g.second != nil {
		for _, l := range w.g.second.said() {
			if at, ok := strings.CutPrefix(l, "listening "); ok {
				servers = append(servers, at)
			}
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last, w.servers = name, servers
}

func (w *watch) run(ctx context.Context) {
	defer close(w.done)
	var since time.Time // zero: somebody pays
	var after string
	for pause(ctx, 250*time.Millisecond) == nil {
		w.mu.Lock()
		servers, last := w.servers, w.last
		w.mu.Unlock()
		switch pays := slices.ContainsFunc(servers, func(at string) bool { return w.pays(ctx, at) }); {
		case !pays && since.IsZero():
			since, after = time.Now(), last
		case pays && !since.IsZero():
			w.add(outage{time.Since(since), after})
			since = time.Time{}
		}
	}
	if !since.IsZero() {
		w.add(outage{time.Since(since), after})
	}
}

func (w *watch) add(o outage) {
	w.outages = append(w.outages, o)
	w.down += o.length
	if o.length > shortOutage {
		w.g.tellFault("nobody paid for %s, since: %s", o.length.Round(100*time.Millisecond), o.after)
	}
}

func (w *watch) pays(ctx context.Context, server string) bool {
	api, err := client.New(client.Config{Server: server, Network: w.g.network.ID(), Timeout: time.Second, Attempts: 1})
	if err != nil {
		return false
	}
	health, err := api.Health(ctx)
	return err == nil && health.Ready && health.Halted == ""
}

// end stops the watch; its numbers may be read then.
func (w *watch) end() {
	w.stop()
	<-w.done
}

// after tells of the outages that began with that disturbance, or before the next one.
func (w *watch) after(name string) string {
	var all []time.Duration
	for _, o := range w.outages {
		if o.after == name {
			all = append(all, o.length)
		}
	}
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	tenth := 100 * time.Millisecond
	return fmt.Sprintf("; %d outages, median %s, longest %s", len(all), all[len(all)/2].Round(tenth), all[len(all)-1].Round(tenth))
}

// summary tells how much of the time somebody paid, and of the longest outage.
func (w *watch) summary() string {
	var longest outage
	for _, o := range w.outages {
		if o.length > longest.length {
			longest = o
		}
	}
	share := 100 - int(100*w.down/max(time.Since(w.began), 1))
	return fmt.Sprintf("somebody paid %d%% of the time; %d outages, the longest %s, since: %s",
		share, len(w.outages), longest.length.Round(100*time.Millisecond), longest.after)
}
