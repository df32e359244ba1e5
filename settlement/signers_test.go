package settlement

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mr-tron/base58"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs/audit"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// keeper is a signer process: a server behind a socket, with keys that the service
// does not have.
type keeper struct {
	t       *testing.T
	cfg     signer.ServerConfig
	address string
	stop    func()
}

// newKeeper starts one on a journal of its own.
func (m *machine) newKeeper(t *testing.T, log *slog.Logger, secret *chain.Secret, limit uint64, keys ...ed25519.PrivateKey) *keeper {
	t.Helper()
	schedule, err := emissions.New(emissions.ParamsOf(m.net.Network.Schedule))
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "v") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	v := &keeper{t: t, address: "unix:" + filepath.Join(dir, "sock"), stop: func() {}}
	v.cfg = signer.ServerConfig{
		Ring: signer.NewRing(secret, keys...), Journal: filepath.Join(dir, "journal"), Now: m.cfg.Now, Logger: log,
		Policy: signer.Policy{
			Network: m.net.Network, Schedule: schedule, Window: 10 * 365 * 24 * time.Hour, MaxPriority: 100_000, MaxUnits: 600_000, MaxLamports: 1 << 40,
			Limits: map[chain.Kind]ionet.Amount{},
		},
	}
	for _, kind := range []chain.Kind{chain.KindPayout, chain.KindClaim, chain.KindWithdrawal, chain.KindUnlock, chain.KindFees} {
		v.cfg.Policy.Limits[kind] = ionet.MustAmount(limit)
	}
	v.start()
	t.Cleanup(func() { v.stop() })
	return v
}

func (v *keeper) start() {
	v.t.Helper()
	s, err := signer.NewServer(v.cfg)
	if err != nil {
		v.t.Fatal(err)
	}
	l, err := signer.Listen(v.address, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- signer.Serve(ctx, s, l) }()
	v.stop = func() {
		cancel()
		if err := errors.Join(<-done, s.Close()); err != nil {
			v.t.Error(err)
		}
		v.stop = func() {}
	}
}

// signedBy takes the service's keys away and has vaults sign for it.
func (m *machine) signedBy(vaults ...*keeper) {
	m.t.Helper()
	cfg := m.Service.cfg
	cfg.Keys, cfg.Signers = Keys{Service: cfg.Keys.Service}, nil
	for _, v := range vaults {
		c, err := signer.NewClient(signer.ClientConfig{Address: v.address, Network: m.net.Network.ID()})
		if err != nil {
			m.t.Fatal(err)
		}
		m.t.Cleanup(c.Close)
		cfg.Signers = append(cfg.Signers, c)
	}
	if err := cfg.check(); err != nil {
		m.t.Fatal(err)
	}
	m.Service.cfg, m.Service.signers = cfg, newSigners(cfg)
}

const unlimited = 1 << 60

// fullKeeper has all keys but the service's.
func (m *machine) fullKeeper(t *testing.T, log *slog.Logger, limit uint64) *keeper {
	k := m.net.Keys
	return m.newKeeper(t, log, &k.Secret, limit, k.Operator, k.Fees)
}

// transcript is everything that service and signer log.
type transcript struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (w *transcript) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf.Write(b)
}

// A whole journey signed by another process: epochs, payouts, claims, a restart of
// either side; the books agree, the audit holds, and nothing that is said or kept
// anywhere has a private key in it.
func TestSignerProcess(t *testing.T) {
	m := newMachine(t)
	said := &transcript{}
	log := slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	v := m.fullKeeper(t, log, unlimited)
	m.signedBy(v)
	m.Service.log = log
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.payAll()
	m.claimAll(m.alice)

	v.stop() // an upgrade of the signer
	v.start()
	m.seal(m.alice, m.bob)
	m.reopen() // and one of the service, which fences anew
	m.signedBy(v)
	m.Service.log = log
	m.fenceUp()
	m.payAll()
	m.claimAll(m.alice)
	m.checkBooks()
	m.advance(40)
	r, err := audit.Run(t.Context(), audit.Config{Chain: m.clean, Store: m.store, Mint: m.net.Network.Mint})
	if err != nil || r.Status() != 0 {
		t.Errorf("audit: %v, %+v", err, r)
	}
	for _, e := range m.events {
		said.Write([]byte(e.Line(8)))
	}
	for _, err := range []error{m.provoke(v)} {
		said.Write([]byte(err.Error()))
	}
	journal, err := os.ReadFile(v.cfg.Journal)
	if err != nil {
		t.Fatal(err)
	}
	said.Write(journal)
	m.checkSecrets(said.buf.String())
}

// provoke returns an error of a signer that was asked for nonsense.
func (m *machine) provoke(v *keeper) error {
	answers, err := m.Service.signers.list[0].Sign(m.t.Context(), []signer.Request{{Message: []byte{1, 2, 3}}, {Message: m.net.Keys.Operator}})
	if err != nil {
		return err
	}
	return errors.Join(answers[0].Refused, answers[1].Refused)
}

// checkSecrets looks for every private key in the forms in which programs print
// bytes. The whole and the seed are looked for: a public half is no secret.
func (m *machine) checkSecrets(said string) {
	m.t.Helper()
	k := m.net.Keys
	secrets := map[string][]byte{"operator": k.Operator.Seed(), "fees": k.Fees.Seed(), "service": k.Service.Seed(), "lane": k.Lane.Seed(), "secret": k.Secret[:]}
	for _, a := range k.Allocation {
		secrets["allocation"] = a.Seed()
	}
	rows, err := m.pool.Query(m.t.Context(), `SELECT chain FROM lanes`)
	if err != nil {
		m.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var c []byte
		if err := rows.Scan(&c); err != nil {
			m.t.Fatal(err)
		}
		secrets["one-time key of "+hex.EncodeToString(c[:4])] = k.Secret.Key(ionet.Hash(c)).Seed()
	}
	if len(said) < 1000 || !strings.Contains(said, "payout") {
		m.t.Fatalf("the transcript has %d bytes: nothing was recorded", len(said))
	}
	for name, b := range secrets {
		for form, text := range formsOf(b) {
			if strings.Contains(said, text) {
				m.t.Errorf("the %s is said, as %s", name, form)
			}
		}
	}
}

func formsOf(b []byte) map[string]string {
	numbers := make([]int, len(b))
	for i, n := range b {
		numbers[i] = int(n)
	}
	array, _ := json.Marshal(numbers)
	list := strings.Trim(string(array), "[]")
	return map[string]string{
		"hex": hex.EncodeToString(b), "HEX": strings.ToUpper(hex.EncodeToString(b)), "base58": base58.Encode(b), "raw": string(b),
		"base64": base64.StdEncoding.EncodeToString(b)[:40], "base64url": base64.URLEncoding.EncodeToString(b)[:40],
		"JSON": list, "fmt": strings.ReplaceAll(list, ",", " "),
	}
}

// The forms are found where they are said.
func TestSecretsWouldBeFound(t *testing.T) {
	key := keyOf("found")
	numbers := make([]int, len(key))
	for i, n := range key {
		numbers[i] = int(n)
	}
	array, err := json.Marshal(numbers)
	if err != nil {
		t.Fatal(err)
	}
	said := strings.Join([]string{hex.EncodeToString(key), strings.ToUpper(hex.EncodeToString(key)), base58.Encode(key.Seed()), string(key), base64.StdEncoding.EncodeToString(key), base64.URLEncoding.EncodeToString(key), string(array), strings.ReplaceAll(string(array), ",", " ")}, "\n")
	for form, text := range formsOf(key.Seed()) {
		if !strings.Contains(said, text) {
			t.Errorf("a key said as %s is not found", form)
		}
	}
}

// What a signer refuses is told once, persisted nowhere, and does not stop the rest:
// epochs go on. Once the limit allows it the same debts are paid.
func TestSignerRefuses(t *testing.T) {
	m := newMachine(t)
	v := m.fullKeeper(t, nil, 1)
	m.signedBy(v)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	owed := m.owed(m.bob)
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := m.Settle(t.Context()); err != nil && !errors.Is(err, errRefused) {
			t.Fatal(err)
		}
		m.advance(1)
	}
	err := m.Settle(t.Context())
	if !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "window (movements)") {
		t.Errorf("pass: got %v, want the refusal", err)
	}
	if n := m.count(`SELECT count(*) FROM attempts WHERE kind = $1`, int16(chain.KindPayout)); n != 0 {
		t.Errorf("%d payouts are persisted that nobody signed", n)
	}
	if n := m.count(`SELECT count(*) FROM payments`); n != 0 || m.owed(m.bob) != owed {
		t.Errorf("%d payments are persisted, bob is owed %d, want %d", n, m.owed(m.bob), owed)
	}
	told := 0
	for _, e := range m.events {
		if e.Kind == EventRefused {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the refusal is told %d times, want once", told)
	}
	m.mustFailClaim()
	k := m.playNext(m.alice, m.bob)
	for i := 0; m.position(epochLane) <= k; i++ {
		if err := m.Settle(t.Context()); err != nil && !errors.Is(err, errRefused) || i > 100 {
			t.Fatalf("epoch %d is not sealed while payouts are refused: %v", k, err)
		}
		m.advance(2)
	}
	v.stop()
	v.cfg.Policy.Limits[chain.KindPayout], v.cfg.Policy.Limits[chain.KindClaim] = ionet.MustAmount(unlimited), ionet.MustAmount(unlimited)
	v.start()
	m.goTo(handTime.Load() + 60) // the kind has rested
	m.payAll()
	m.claimAll(m.alice)
	m.checkBooks()
}

// mustFailClaim hands in a claim that a signer refuses: its wallet is asked to come
// again, and its debt is untouched.
func (m *machine) mustFailClaim() {
	m.t.Helper()
	owed := m.owed(m.alice)
	_, err := m.SubmitClaim(m.t.Context(), m.signClaim(m.alice, m.prepare(m.alice)))
	var p *Problem
	if !errors.As(err, &p) || p.Type != ProblemBusy {
		m.t.Errorf("claim: got %v, want a problem %s", err, ProblemBusy)
	}
	if m.owed(m.alice) != owed {
		m.t.Errorf("alice is owed %d, want %d", m.owed(m.alice), owed)
	}
}

// A signer that is away, and comes back: nothing is lost, nothing is signed twice
// over, and a database that fails after the signatures leaves them harmless.
func TestSignerAwayAndSignaturesLost(t *testing.T) {
	m := newMachine(t)
	v := m.fullKeeper(t, nil, unlimited)
	m.signedBy(v)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	v.stop()
	if _, err := m.RequestPayout(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if err := m.Settle(t.Context()); err == nil {
			t.Error("a pass succeeds without a signer")
		}
		m.advance(1)
	}
	if n := m.count(`SELECT count(*) FROM payments`); n != 0 {
		t.Errorf("%d payments are persisted that nobody signed", n)
	}
	v.start()
	m.goTo(handTime.Load() + 2)

	// The signatures of the first payout get lost: as when the process dies between
	// the signer's answer and the commit.
	lost := &losing{Signer: m.Service.signers.list[0], kind: chain.KindPayout}
	m.Service.signers.list[0] = lost
	for i := 0; lost.count == 0; i++ {
		if err := m.Settle(t.Context()); i > 50 {
			t.Fatalf("no payout is signed: %v", err)
		}
		m.advance(1)
	}
	if n := m.count(`SELECT count(*) FROM payments`); n != 0 {
		t.Errorf("%d payments are persisted whose signatures got lost", n)
	}
	m.goTo(handTime.Load() + 2)
	m.payAll()
	m.claimAll(m.alice)
	m.checkBooks()
}

// losing is a signer whose first answer for a kind gets lost.
type losing struct {
	signer.Signer
	kind  chain.Kind
	count int
}

func (l *losing) Sign(ctx context.Context, list []signer.Request) ([]signer.Signed, error) {
	answers, err := l.Signer.Sign(ctx, list)
	for _, r := range list {
		tx, _, serr := chain.SignMessage(r.Message)
		if serr != nil {
			return nil, serr
		}
		if d, derr := chain.Decode(tx); derr == nil && d.Plan.Kind == l.kind && l.count == 0 {
			l.count++
			return nil, errors.New("the connection broke")
		}
	}
	return answers, err
}

// Two of three co-signers, each a process with a journal of its own and no lane
// secret, beside the one that steps the lanes; one of them is lost on the way.
func TestCoSignerProcesses(t *testing.T) {
	names := []string{"member a", "member b", "member c"}
	m := newBoard(t, names...)
	k := m.net.Keys
	vaults := []*keeper{m.newKeeper(t, nil, &k.Secret, unlimited, k.Operator)}
	for _, name := range names {
		vaults = append(vaults, m.newKeeper(t, nil, nil, unlimited, keyOf(name)))
	}
	m.signedBy(vaults...)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	m.payAll()
	before := m.landedBy(chain.KindPayout)
	if len(before) != 2 {
		t.Fatalf("the payout was signed by %v, want two members", before)
	}
	lost := slices.IndexFunc(names, func(n string) bool { return publicOf(n) == before[0] })
	vaults[1+lost].stop()
	k2 := m.playNext(m.alice, m.bob)
	for i := 0; m.position(epochLane) <= k2; i++ { // whoever is lost is chosen once more, and then not
		if err := m.Settle(t.Context()); i > 100 {
			t.Fatalf("epoch %d is not sealed by those who are left: %v", k2, err)
		}
		m.advance(2)
	}
	m.payAll()
	if got := m.landedBy(chain.KindPayout); slices.Contains(got, before[0]) || len(got) != 2 {
		t.Errorf("the payout was signed by %v, want the two that are left", got)
	}
	m.claimAll(m.alice)
	m.checkBooks()
	journal, err := os.ReadFile(vaults[1].cfg.Journal)
	if err != nil || !bytes.Contains(journal, []byte("epoch,")) {
		t.Errorf("the journal has no epoch, %v:\n%s", err, journal)
	}
	vaults[1+lost].start() // the cleanup stops it
}

// With IONET_TEST_SIGNER=server all tests of this package, the matrix among them, have
// their transactions signed by a policy and a journal that outlive each service.
func testSigners(t testing.TB, cfg Config) []signer.Signer {
	if os.Getenv("IONET_TEST_SIGNER") != "server" {
		return nil
	}
	id := cfg.Network.ID()
	if s, ok := testServers.Load(id); ok {
		return []signer.Signer{s.(signer.Signer)}
	}
	schedule, err := emissions.New(emissions.ParamsOf(cfg.Network.Schedule))
	if err != nil {
		t.Fatal(err)
	}
	limit := ionet.MustAmount(1 << 62)
	s, err := signer.NewServer(signer.ServerConfig{
		Ring: signer.NewRing(&cfg.Keys.Lane, cfg.Keys.money()...), Journal: filepath.Join(t.TempDir(), "journal"), Now: cfg.Now,
		Policy: signer.Policy{
			Network: cfg.Network, Schedule: schedule, Window: time.Hour, MaxPriority: 100_000, MaxUnits: 600_000, MaxLamports: 1 << 50,
			Limits: map[chain.Kind]ionet.Amount{chain.KindPayout: limit, chain.KindClaim: limit, chain.KindWithdrawal: limit, chain.KindUnlock: limit, chain.KindFees: limit},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	testServers.Store(id, s) // open until the process ends: other tests may share the network
	return []signer.Signer{s}
}

var testServers sync.Map // by network id; a test's network is its own

func TestConfigWithSignersNeedsNoMoneyKeys(t *testing.T) {
	b := newBooks(t)
	cfg := b.config(b.pool)
	cfg.Keys, cfg.Signers = Keys{Service: cfg.Keys.Service}, nil
	if err := cfg.check(); err == nil {
		t.Error("a service without keys and signers opens")
	}
	cfg.Signers = []signer.Signer{signer.NewLocal(signer.NewRing(nil))}
	if err := cfg.check(); err != nil {
		t.Error(err)
	}
	cfg.Keys.Service = keyOf("another")
	if err := cfg.check(); err == nil {
		t.Error("a service with another service key opens")
	}
}

// A signer that is away is no fault of the service in the eyes of a wallet.
func TestClaimWithoutSigner(t *testing.T) {
	m := newMachine(t)
	v := m.fullKeeper(t, nil, unlimited)
	m.signedBy(v)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	v.stop()
	m.signedBy(v) // without lane keys from before
	_, err := m.PrepareClaim(t.Context(), m.alice.payout)
	var p *Problem
	if !errors.As(err, &p) || p.Type != ProblemBusy || p.Status != http.StatusServiceUnavailable || p.Retry == 0 {
		t.Fatalf("a claim while the signer is down: %v, want %s, to come again", err, ProblemBusy)
	}
	v.start()
	m.signedBy(v)
	if _, err := m.PrepareClaim(t.Context(), m.alice.payout); err != nil {
		t.Errorf("a claim once the signer is back: %v", err)
	}
}
