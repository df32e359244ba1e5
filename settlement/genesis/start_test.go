package genesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

// later is a second run's configuration: nothing is said, and it is d later.
func later(t *testing.T, c Config, store publish.Reader, d time.Duration) Config {
	t.Helper()
	now := time.Unix(c.Start.Unix(), 0).Add(d)
	return Config{Dir: c.Dir, Cluster: c.Cluster, Chain: newClient(t, rpc.Config{}), Store: store, Now: func() time.Time { return now }}
}

func storeOf(t *testing.T) *publish.Folder {
	t.Helper()
	store, err := publish.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// Nobody has sent lamports in time: the start moves as often as it must, the keys and
// addresses stay, and nothing is published before.
func TestStartMoves(t *testing.T) {
	t.Parallel()
	c, store := testConfig(t.TempDir(), "moves"), storeOf(t)
	p, err := Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: store}); err == nil || !strings.Contains(err.Error(), "send it") {
		t.Fatalf("run without lamports: %v", err)
	}
	if names, err := store.List(""); err != nil || len(names) != 0 {
		t.Fatalf("a run without lamports has published %v, %v", names, err)
	}
	start := c.Start.Unix()
	for _, step := range []struct {
		name  string
		after time.Duration // the first start
		set   func(*Config)
		want  int64 // start, from the first
		told  string
	}{
		{"before the start", -time.Second, func(*Config) {}, 0, ""},
		{"at the start", 0, func(*Config) {}, 0, ""},
		{"a second later", time.Second, func(*Config) {}, 61, "1m0s after the run that writes the network file anew"},
		{"again in time", 2 * time.Second, func(*Config) {}, 61, ""},
		{"asked for a delay", 3 * time.Second, func(c *Config) { c.StartIn = time.Hour }, 3603, "1h0m0s after the run"},
		{"asked for a time", 4 * time.Second, func(c *Config) { c.Start = time.Unix(start+100, 0) }, 100, "because nothing refers to what it says"},
		{"asked for that time again", 4 * time.Second, func(c *Config) { c.Start = time.Unix(start+100, 0) }, 100, ""},
		{"much later", 9 * time.Hour, func(*Config) {}, 9*3600 + 60, "is moved"},
	} {
		again := later(t, c, store, step.after)
		step.set(&again)
		plan := planOf(t, again, store)
		if got := plan.draft.Start(); step.told == "" && got != "" || !strings.Contains(got, step.told) || !strings.Contains(plan.String(), got) {
			t.Errorf("%s: plan says %q, want %q:\n%s", step.name, got, step.told, plan)
		}
		if anew := strings.Contains(plan.String(), "there, to be written anew"); anew != (step.told != "") {
			t.Errorf("%s: plan says that the network file is written anew: %t", step.name, anew)
		}
		next, err := Prepare(t.Context(), again)
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		if got := next.Network.Start - start; got != step.want {
			t.Errorf("%s: start is %d seconds after the first, want %d", step.name, got, step.want)
		}
		same := *next.Network
		same.Start = p.Network.Start
		if a, err := ionet.EncodeNetwork(same); err != nil || !bytes.Equal(a, p.NetworkFile) {
			t.Errorf("%s: more than the start has changed (%v)", step.name, err)
		}
		if next.Network.ID() == p.Network.ID() != (step.want == 0) {
			t.Errorf("%s: the id does not follow the start", step.name)
		}
	}
	bad := later(t, c, store, 10*time.Hour)
	bad.Start = time.Unix(start+100, 0)
	if _, err := Prepare(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "--start "+date(start+100)+" is past") {
		t.Errorf("a start that is past: %v", err)
	}
}

// What fixes the start: the signed transaction, the published file, the chain. Then one
// whose first epoch is over is refused, unless the supply is minted.
func TestStartIsFixed(t *testing.T) {
	t.Parallel()
	signed, published, minted := testConfig(t.TempDir(), "signed"), testConfig(t.TempDir(), "published"), testConfig(t.TempDir(), "minted")
	store := storeOf(t)
	neverLands(t, signed, storeOf(t))
	p, err := Prepare(t.Context(), published)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Put(t.Context(), publish.NetworkName(p.Network.ID()), p.NetworkFile); err != nil {
		t.Fatal(err)
	}
	if p, err = Prepare(t.Context(), minted); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: storeOf(t), Airdrop: true, Poll: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	// A copy of the keys alone, and another store.
	if err := os.RemoveAll(filepath.Join(minted.Dir, attemptsDir)); err != nil {
		t.Fatal(err)
	}
	for _, of := range []struct {
		c    Config
		done bool
		why  string
	}{
		{signed, false, "because the genesis transaction is signed in"},
		{published, false, "because the network file is published"},
		{minted, true, "because the genesis transaction is on the chain"},
	} {
		before := readFile(t, filepath.Join(of.c.Dir, NetworkFile))
		for _, after := range []time.Duration{-time.Second, 30 * time.Minute, time.Hour + time.Second} {
			past := after > time.Hour // past the first epoch
			for _, flag := range []string{"", "--start", "--start-in"} {
				c, want := later(t, of.c, store, after), ""
				switch {
				case flag == "--start":
					c.Start = of.c.Start.Add(2 * time.Hour)
					want = "--start gives"
				case past && !of.done:
					want = "begin again with a new --dir"
				}
				if flag == "--start-in" {
					c.StartIn = 3 * time.Hour
				}
				_, err := Prepare(t.Context(), c)
				if (err != nil) != (want != "") || err != nil && (!strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), of.why)) {
					t.Errorf("%s, %s after the start, flag %q: got %v, want %q", of.c.Name, after, flag, err, want)
				}
				if err == nil && flag == "--start-in" {
					if got := planOf(t, c, store).String(); !strings.Contains(got, "--start-in moves it no more, "+of.why) {
						t.Errorf("%s: plan does not say why --start-in counts for nothing:\n%s", of.c.Name, got)
					}
				}
			}
		}
		if !bytes.Equal(readFile(t, filepath.Join(of.c.Dir, NetworkFile)), before) {
			t.Errorf("%s: the network file has changed", of.c.Name)
		}
	}
}

// neverLands runs until the genesis transaction is signed and sent, and drops it.
func neverLands(t *testing.T, c Config, store *publish.Folder) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := genesisOnce(ctx, t, c, store.Dir(), intercept(func(_ int, body []byte, forward func() (*http.Response, error)) (*http.Response, error) {
		if sentGenesis(body) == nil {
			return forward()
		}
		cancel()
		return nil, errCrash
	}).transport())
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("run that dies when it sends: %v", err)
	}
}

// One run makes the network while others move its start: either all see the moved
// start, or none moves it. The supply is minted for the file that stays.
func TestMovingRacesSigning(t *testing.T) {
	t.Parallel()
	c, store := testConfig(t.TempDir(), "racing"), storeOf(t)
	if _, err := Prepare(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	done := make(chan struct{})
	moves := 0
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			mover := later(t, c, store, 0)
			mover.StartIn = time.Duration(moves+1) * time.Minute
			d, err := NewDraft(t.Context(), mover)
			if err == nil && d.start.moved {
				if _, err = Prepare(t.Context(), mover); err == nil {
					moves++
				}
			}
			if err != nil && !errors.Is(err, fs.ErrExist) {
				t.Errorf("move: %v", err)
				return
			}
		}
	})
	for try := 0; ; try++ {
		p, err := Load(t.Context(), c.Dir)
		if err != nil {
			t.Fatal(err)
		}
		err = Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: store, Airdrop: true, Poll: 5 * time.Millisecond})
		if err == nil {
			break
		}
		if !strings.Contains(err.Error(), "was replaced by another run") || try > 1000 {
			t.Fatalf("run %d: %v", try, err)
		}
	}
	close(done)
	wg.Wait()
	if moves == 0 {
		t.Error("nobody moved the start")
	}
	p, err := Load(t.Context(), c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: store, Poll: 5 * time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	checkSupply(t, p)
	names, err := store.List("")
	if err != nil || len(names) != 2 || !slices.Contains(names, publish.NetworkName(p.Network.ID())) {
		t.Errorf("published are %v (%v), want the content and network %s alone", names, err, p.Network.ID())
	}
}

// The process dies at call n and is started again two hours after the start: it moves the
// start and finishes, or finds it fixed and finishes what is minted, or refuses.
func TestMovingAfterACrash(t *testing.T) {
	t.Parallel()
	moved, kept := 0, 0
	calls := []int{1 << 20} // this one does not die
	for n := 2; n <= 30; n += 2 {
		calls = append(calls, n)
	}
	for _, n := range calls {
		c, store := testConfig(t.TempDir(), fmt.Sprint("late-", n)), storeOf(t)
		dieAt(t, c, store.Dir(), n)
		awaitFinal(t) // what can land has landed
		_, err := os.Stat(filepath.Join(c.Dir, attemptsDir, attemptName(0)))
		fixed := err == nil
		names, err := store.List("")
		if err != nil || (len(names) > 0) != fixed {
			t.Errorf("died at call %d: signed %t, published %v (%v)", n, fixed, names, err)
		}
		before := readFile(t, filepath.Join(c.Dir, NetworkFile))
		p, err := Prepare(t.Context(), later(t, c, store, 2*time.Hour))
		if err != nil {
			if !fixed || !strings.Contains(err.Error(), "begin again with a new --dir") {
				t.Errorf("died at call %d: %v", n, err)
			}
			continue
		}
		if same := bytes.Equal(p.NetworkFile, before); same != fixed {
			t.Errorf("died at call %d: signed %t, the network file stays: %t", n, fixed, same)
		}
		if fixed {
			kept++
		} else {
			moved++
		}
		if err := Run(t.Context(), p, Options{Chain: newClient(t, rpc.Config{}), Store: store, Airdrop: true, Poll: 5 * time.Millisecond}); err != nil {
			t.Fatalf("died at call %d: %v", n, err)
		}
		checkSupply(t, p)
		if names, err := store.List(""); err != nil || len(names) != 2 || !slices.Contains(names, publish.NetworkName(p.Network.ID())) {
			t.Errorf("died at call %d: published are %v (%v)", n, names, err)
		}
	}
	if moved < 3 || kept < 1 {
		t.Errorf("%d runs moved the start and %d kept it", moved, kept)
	}
}

// awaitFinal waits until what is on the chain now, and what was on its way, is final.
func awaitFinal(t *testing.T) {
	t.Helper()
	client, slot := newClient(t, rpc.Config{}), node.Slot()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		head, err := client.FinalizedHead(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if head.Slot > slot+1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("slot %d did not become final", slot+1)
		}
	}
}

// A genesis that comes after the first epoch is not signed: that would fix a start with
// which nobody can earn. What was made until then is kept.
func TestTooLateForTheFirstEpoch(t *testing.T) {
	t.Parallel()
	c, store := testConfig(t.TempDir(), "too-late"), storeOf(t)
	c.Start = time.Now().Add(-2 * time.Hour) // as if making the accounts had taken that long
	p, err := Prepare(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Chain: newClient(t, rpc.Config{}), Store: store, Airdrop: true, Poll: 5 * time.Millisecond}
	if err := Run(t.Context(), p, o); err == nil || !strings.Contains(err.Error(), "run this again, which moves the start") {
		t.Fatalf("got %v, want that it is too late", err)
	}
	if _, err := os.Stat(filepath.Join(c.Dir, attemptsDir, attemptName(0))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an attempt was stored: %v", err)
	}
	if names, err := store.List(""); err != nil || len(names) != 0 {
		t.Errorf("published are %v (%v), want nothing", names, err)
	}
	if p, err = Prepare(t.Context(), Config{Dir: c.Dir, Cluster: c.Cluster, Chain: o.Chain, Store: store}); err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), p, o); err != nil {
		t.Fatal(err)
	}
	checkSupply(t, p)
}

// Begun again in a new folder with the same operator's key and the same name, while the
// old transaction may still land: another lane, and so another token. Each has its own
// supply, once.
func TestTwoFoldersMakeTwoTokens(t *testing.T) {
	t.Parallel()
	a, b := testConfig(t.TempDir(), "twins"), testConfig(t.TempDir(), "twins")
	p, err := genesisOnce(t.Context(), t, a, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.Dir, operatorFile), readFile(t, filepath.Join(a.Dir, operatorFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	q, err := genesisOnce(t.Context(), t, b, t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if p.Network.Keys.Operator != q.Network.Keys.Operator || p.Network.Mint == q.Network.Mint || p.Network.Vaults.Reward == q.Network.Vaults.Reward {
		t.Errorf("operators %s and %s made mints %s and %s", p.Network.Keys.Operator, q.Network.Keys.Operator, p.Network.Mint, q.Network.Mint)
	}
	checkSupply(t, p)
	checkSupply(t, q)
	// With the lane key too it is the same token, of which the lane knows.
	c := testConfig(t.TempDir(), "twins")
	for _, name := range []string{operatorFile, laneFile} {
		if err := os.WriteFile(filepath.Join(c.Dir, name), readFile(t, filepath.Join(a.Dir, name)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := genesisOnce(t.Context(), t, c, t.TempDir(), nil); err == nil {
		t.Errorf("a second genesis of mint %s ended well", r.Network.Mint)
	}
	checkSupply(t, p)
}
