package genesis

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
)

// intercept is an http.RoundTripper that lets a test see and stop each call.
type intercept func(call int, body []byte, forward func() (*http.Response, error)) (*http.Response, error)

func (f intercept) transport() http.RoundTripper { return &counted{f: f} }

type counted struct {
	f     intercept
	calls atomic.Int64
}

func (c *counted) RoundTrip(req *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	return c.f(int(c.calls.Add(1)), body, func() (*http.Response, error) {
		again := req.Clone(context.WithoutCancel(req.Context()))
		again.Body = io.NopCloser(bytes.NewReader(body))
		return http.DefaultTransport.RoundTrip(again)
	})
}

var errCrash = errors.New("crash")

// genesisOnce runs Prepare and Run as one process would, through transport.
func genesisOnce(ctx context.Context, t testing.TB, c Config, store string, transport http.RoundTripper) (*Prepared, error) {
	t.Helper()
	p, err := Prepare(ctx, c)
	if err != nil {
		return nil, err
	}
	folder, err := publish.NewFolder(store)
	if err != nil {
		return nil, err
	}
	client := newClient(t, rpc.Config{Transport: transport, Rounds: 1})
	return p, Run(ctx, p, Options{Chain: client, Store: folder, Airdrop: true, Poll: 20 * time.Millisecond})
}

// The process dies at call n, before the call is made (lost) or after it was
// carried out (unheard), for every n; then a new process finishes. The supply
// is exactly that of the network file, and the network is the same.
func TestCrashAtEveryCall(t *testing.T) {
	for _, mode := range []string{"lost", "unheard"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			for n := 1; ; n++ {
				crashed := crashAt(t, mode, n)
				if !crashed {
					if n < 15 {
						t.Fatalf("a whole run makes only %d calls", n-1)
					}
					return
				}
			}
		})
	}
}

func crashAt(t *testing.T, mode string, n int) (crashed bool) {
	t.Helper()
	c, store := testConfig(t.TempDir(), fmt.Sprintf("%s-%d", mode, n)), t.TempDir()
	if mode == "unheard" {
		withMultisigs(t, &c)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var dead atomic.Bool
	first, err := genesisOnce(ctx, t, c, store, intercept(func(call int, _ []byte, forward func() (*http.Response, error)) (*http.Response, error) {
		if dead.Load() {
			return nil, errCrash
		}
		if call != n {
			return forward()
		}
		dead.Store(true)
		if mode == "unheard" {
			if resp, err := forward(); err == nil {
				resp.Body.Close()
			}
		}
		cancel()
		return nil, errCrash
	}).transport())
	if crashed = dead.Load(); !crashed {
		if err != nil {
			t.Fatalf("run without a crash: %v", err)
		}
		checkSupply(t, first)
		return false
	}
	c.Start = c.Start.Add(time.Hour) // what an operator's second run says does not count
	second, err := genesisOnce(context.Background(), t, c, store, nil)
	if err != nil {
		t.Fatalf("%s %d: run again: %v", mode, n, err)
	}
	if first != nil && second.Network.ID() != first.Network.ID() {
		t.Fatalf("%s %d: the network changed", mode, n)
	}
	checkSupply(t, second)
	return true
}

// The process dies after each file that it makes; the next one keeps it.
func TestCrashAtEveryFile(t *testing.T) {
	ctx, whole := context.Background(), testConfig(t.TempDir(), "files")
	p, err := Prepare(ctx, whole)
	if err != nil {
		t.Fatal(err)
	}
	order := []string{"operator.json", "fees.json", "service.json", "lane.json"}
	for _, a := range p.Network.Allocation {
		order = append(order, "allocation-"+a.Category+".json")
	}
	order = append(order, secretFile, PolicyFile, NetworkFile)
	entries, err := os.ReadDir(whole.Dir)
	if err != nil || len(entries) != len(order) {
		t.Fatalf("folder holds %v, %v, want %v", entries, err, order)
	}
	for n := range order {
		c := whole
		c.Dir = t.TempDir()
		for _, name := range order[:n] {
			copyFile(t, filepath.Join(whole.Dir, name), filepath.Join(c.Dir, name))
		}
		// What a process that died in the middle of a write leaves behind.
		for _, name := range []string{".key-1", ".put-1"} {
			if err := os.WriteFile(filepath.Join(c.Dir, name), []byte("[1,2"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Prepare(ctx, c)
		if err != nil {
			t.Fatalf("after %d files: %v", n, err)
		}
		for _, name := range order[:n] {
			if got, want := readFile(t, filepath.Join(c.Dir, name)), readFile(t, filepath.Join(whole.Dir, name)); !bytes.Equal(got, want) {
				t.Errorf("after %d files: %s changed", n, name)
			}
		}
		if loaded, err := Load(ctx, c.Dir); err != nil || loaded.Network.ID() != again.Network.ID() {
			t.Errorf("after %d files: Load: %v", n, err)
		}
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, readFile(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
}

// sentGenesis returns the transaction of a sendTransaction call if it is a
// genesis transaction.
func sentGenesis(body []byte) []byte {
	var r struct {
		Method string            `json:"method"`
		Params []json.RawMessage `json:"params"`
	}
	var encoded string
	if json.Unmarshal(body, &r) != nil || r.Method != "sendTransaction" || json.Unmarshal(r.Params[0], &encoded) != nil {
		return nil
	}
	tx, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil
	}
	if d, err := chain.Decode(tx); err != nil || d.Plan.Kind != chain.KindGenesis {
		return nil
	}
	return tx
}

func answer(result string) *http.Response {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader([]byte(`{"jsonrpc":"2.0","id":1,"result":` + result + `}`)))}
}

// The endpoint says that it took the genesis transaction and drops it, until it
// can't land any more. Only then a second attempt is signed, and the first one,
// let loose at last, does nothing.
func TestSecondAttemptOnlyAfterTheFirstIsDead(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var attempts [][]byte // as they were first seen
	var head rpc.Head     // finalized when the second attempt came
	client := newClient(t, rpc.Config{})
	c, store := testConfig(t.TempDir(), "dropped"), t.TempDir()
	p, err := genesisOnce(context.Background(), t, c, store, intercept(func(_ int, body []byte, forward func() (*http.Response, error)) (*http.Response, error) {
		tx := sentGenesis(body)
		if tx == nil {
			return forward()
		}
		mu.Lock()
		defer mu.Unlock()
		if len(attempts) == 0 || !bytes.Equal(attempts[len(attempts)-1], tx) {
			attempts = append(attempts, tx)
			head, _ = client.FinalizedHead(context.Background())
		}
		if len(attempts) == 1 {
			return answer(`"dropped"`), nil
		}
		return forward()
	}).transport())
	if err != nil {
		t.Fatal(err)
	}
	checkSupply(t, p)
	if len(attempts) != 2 {
		t.Fatalf("%d attempts were sent, want 2", len(attempts))
	}
	var dropped attempt
	if err := json.Unmarshal(readFile(t, filepath.Join(c.Dir, attemptsDir, attemptName(0))), &dropped); err != nil {
		t.Fatal(err)
	}
	if head.BlockHeight <= dropped.LastValidHeight {
		t.Errorf("the second attempt came at finalized height %d, the first could land until %d", head.BlockHeight, dropped.LastValidHeight)
	}
	if err := client.Send(context.Background(), attempts[0], rpc.SendOptions{SkipPreflight: true}); err == nil {
		time.Sleep(50 * time.Millisecond)
	}
	checkSupply(t, p)
	names, err := os.ReadDir(filepath.Join(c.Dir, attemptsDir))
	if err != nil || len(names) != 2 {
		t.Errorf("folder holds attempts %v, %v, want 2", names, err)
	}
}

// The slots with the genesis transaction, and some before it, are forked away
// after it was confirmed: everything is made again, and minted once.
func TestForkTakesGenesisBack(t *testing.T) {
	for _, depth := range []int{1, 4, 25} {
		var forks atomic.Int64
		p, err := genesisOnce(context.Background(), t, testConfig(t.TempDir(), fmt.Sprint("fork-", depth)), t.TempDir(), intercept(func(_ int, body []byte, forward func() (*http.Response, error)) (*http.Response, error) {
			resp, err := forward()
			if sentGenesis(body) != nil && forks.Add(1) == 1 {
				if err := node.Fork(depth); err != nil {
					t.Error(err)
				}
			}
			return resp, err
		}).transport())
		if err != nil {
			t.Fatalf("fork of %d slots: %v", depth, err)
		}
		if forks.Load() < 2 {
			t.Errorf("fork of %d slots: the genesis transaction was sent once only", depth)
		}
		checkSupply(t, p)
	}
}

// Two processes make the same network at once.
func TestTwoRunsAtOnce(t *testing.T) {
	t.Parallel()
	c, store := testConfig(t.TempDir(), "twins"), t.TempDir()
	if _, err := Prepare(context.Background(), c); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if _, err := genesisOnce(context.Background(), t, c, store, nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	p, err := Load(context.Background(), c.Dir)
	if err != nil {
		t.Fatal(err)
	}
	checkSupply(t, p)
}

func TestRefusals(t *testing.T) {
	ctx, c := context.Background(), testConfig(t.TempDir(), "refusals")
	p, err := Prepare(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no folder":     func(c *Config) { c.Dir = "" },
		"bad name":      func(c *Config) { c.Name = "No Name" },
		"no pay lane":   func(c *Config) { c.PayLanes = -1 },
		"many lanes":    func(c *Config) { c.ClaimLanes = 65 },
		"bad policy":    func(c *Config) { c.Policy = []byte("x = 1") },
		"few samples":   func(c *Config) { c.Samples, c.EpochSeconds = 1, 1 },
		"bad reading":   func(c *Config) { c.Reading = "of_nothing" },
		"no cluster":    func(c *Config) { c.Cluster = [32]byte{} },
		"before 1970":   func(c *Config) { c.Start = time.Unix(-5, 0) },
		"odd schedule":  func(c *Config) { c.Schedule.EpochsPerStep = 7 },
		"two schedules": func(c *Config) { c.Profile = emissions.ProfileMonthly },
		"odd profile":   func(c *Config) { c.Schedule, c.Profile = emissions.Params{}, "daily" },
		"odd category":  func(c *Config) { c.Unlocks = map[string]emissions.Unlock{"friends": {Kind: emissions.UnlockImmediate}} },
		"late policy": func(c *Config) {
			c.Policy = bytes.Replace(emissions.DefaultPolicy(), []byte("first_epoch = 1"), []byte("first_epoch = 2"), 1)
		},
	} {
		bad := c
		bad.Dir = filepath.Join(t.TempDir(), "new")
		change(&bad)
		if _, err := Prepare(ctx, bad); err == nil {
			t.Errorf("%s: accepted", name)
		}
		if _, err := os.Stat(bad.Dir); err == nil && bad.Dir != "" {
			t.Errorf("%s: the refusal left a folder", name)
		}
	}
	if _, err := Load(ctx, t.TempDir()); err == nil {
		t.Error("Load of an empty folder is accepted")
	}
	// No airdrop: the error says whom to pay and how much.
	store, err := publish.NewFolder(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	err = Run(ctx, p, Options{Chain: newClient(t, rpc.Config{}), Store: store})
	if err == nil || !bytes.Contains([]byte(err.Error()), []byte(p.Network.Keys.Operator.String())) {
		t.Errorf("Run without lamports: got %v, want an error that names the operator", err)
	}
}
