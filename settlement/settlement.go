package settlement

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/robfig/cron/v3"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// Keys are the private keys of the service. Lane is the lane secret; the lane
// key itself, which opened the lanes, is not needed any more.
type Keys struct {
	Operator ed25519.PrivateKey   // pays fees, mints, owns the reward vault
	Fees     ed25519.PrivateKey   // owns the fee vault
	Service  ed25519.PrivateKey   // signs acks
	Members  []ed25519.PrivateKey // of the network's multisigs, that sign here; may be none
	Lane     chain.Secret

	Allocation []ed25519.PrivateKey // owners of genesis categories that are released here; may be none
}

// Config is what a service needs. The first group is required.
type Config struct {
	Pool        *pgxpool.Pool
	Chain       *rpc.Client
	Store       publish.Store
	Network     *ionet.Network
	NetworkFile []byte            // exact bytes that Network was parsed from
	Policy      *emissions.Policy // that of the genesis; later ones are announced, see AnnouncePolicy
	PolicyFile  []byte            // exact bytes that Policy was parsed from
	Keys        Keys

	// Signers make the signatures by which money moves, each by its own keys; then Keys
	// needs nothing but Service. None: the keys of Keys sign, in this process.
	Signers []signer.Signer

	Front               *pgxpool.Pool    // connections that outsiders' requests may use up; Pool when nil
	Rand                io.Reader        // crypto/rand when nil; a simulation seeds it
	Senders             int              // simulations and sends at once; 8 when zero, 1 makes a pass deterministic
	MaxPriorityLamports uint64           // ceiling of a transaction's priority fee; 100,000 when zero
	ResendEvery         time.Duration    // between two sends of one transaction; 2 s when zero, every pass when negative
	Instance            [16]byte         // names this run of the service; drawn at random when zero
	Now                 func() time.Time // time.Now when nil
	Logger              *slog.Logger     // discards when nil
	Events              func(Event)      // called for what a person wants to see; nil: nobody
	LeaseTime           time.Duration    // how long a silent leader is waited for; 6 s when zero
	Poll                time.Duration    // between two passes of Run; 400 ms when zero
	PayoutEvery         time.Duration    // between two payout runs of their own accord; zero: only on demand, or by PayoutSchedule
	PayoutSchedule      cron.Schedule    // when payout runs are asked for, in place of PayoutEvery; see ParsePayoutCron
	CheckpointEvery     time.Duration    // how often the receipt log is published and compared; 1 s when zero
	SealEvery           time.Duration    // between two seals of the receipt log of their own accord; zero: by SealSchedule, or never
	SealSchedule        cron.Schedule    // when such seals are asked for, in place of SealEvery; see ParsePayoutCron
	SealReceiptsCount   uint64           // a seal is asked for before its time after so many records; zero: never
	BlockhashAge        time.Duration    // for how long claims that are prepared share a blockhash; 2 s when zero, not at all when negative
	HeldRetry           time.Duration    // how long a payee that can't be paid is left alone; 10 min when zero
	SealRetry           time.Duration    // how long nobody is asked again when an epoch was sealed, where an endpoint did not answer; 1 min when zero, not at all when negative
}

func (c Config) withDefaults() Config {
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Instance == [16]byte{} {
		c.Instance = draw(c.Rand)
	}
	if c.Senders == 0 {
		c.Senders = 8
	}
	if c.MaxPriorityLamports == 0 {
		c.MaxPriorityLamports = 100_000
	}
	if c.ResendEvery == 0 {
		c.ResendEvery = 2 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Events == nil {
		c.Events = func(Event) {}
	}
	if c.LeaseTime == 0 {
		c.LeaseTime = 6 * time.Second
	}
	if c.Poll == 0 {
		c.Poll = 400 * time.Millisecond
	}
	if c.BlockhashAge == 0 {
		c.BlockhashAge = 2 * time.Second
	}
	if c.Front == nil {
		c.Front = c.Pool
	}
	if c.HeldRetry == 0 {
		c.HeldRetry = 10 * time.Minute
	}
	if c.CheckpointEvery == 0 {
		c.CheckpointEvery = time.Second
	}
	if c.SealRetry == 0 {
		c.SealRetry = time.Minute
	}
	return c
}

// check compares the keys and files with the network that they should be of.
func (c Config) check() error {
	if err := c.checkSchedules(); err != nil {
		return err
	}
	if c.Pool == nil || c.Chain == nil || c.Store == nil || c.Network == nil || c.Policy == nil {
		return errors.New("open settlement: pool, chain, store, network or policy is missing")
	}
	if ionet.HashOf(c.NetworkFile) != c.Network.ID() {
		return errors.New("open settlement: network file is not the one that the network was parsed from")
	}
	if c.Policy.Hash() != c.Network.Policy || ionet.HashOf(c.PolicyFile) != c.Network.Policy {
		return fmt.Errorf("open settlement: policy has hash %s, the network wants %s: give the policy file that the genesis was made with", c.Policy.Hash(), c.Network.Policy)
	}
	for _, k := range []struct {
		name  string
		key   ed25519.PrivateKey
		want  ionet.Key
		money bool
	}{
		{"operator", c.Keys.Operator, c.Network.Keys.Operator, true},
		{"fees", c.Keys.Fees, c.Network.Keys.Fees, true},
		{"service", c.Keys.Service, c.Network.Keys.Service, false},
	} {
		if k.money && len(c.Signers) > 0 {
			continue
		}
		if len(k.key) != ed25519.PrivateKeySize || chain.PublicOf(k.key) != k.want {
			return fmt.Errorf("open settlement: %s key is not that of the network, %s", k.name, k.want)
		}
	}
	return nil
}

// Service is safe for concurrent use. Its state is in the database; what it
// holds in memory can be made anew at any time.
type Service struct {
	cfg       Config
	pool      *pgxpool.Pool // for settling
	front     *pgxpool.Pool // for statements and questions of outsiders
	clock     ionet.Clock
	log       *slog.Logger
	metrics   *metrics
	lease     lease
	pass      sync.Mutex               // one settle pass at a time; holds known and earners too
	known     map[laneEntry]*laneStep  // what recovery read of lanes' histories; recover.go
	earners   map[ionet.Key]ionet.Key  // payees by token account, while lanes catch up; recover.go
	claims    [claimStripes]sync.Mutex // by wallet, while a claim is prepared
	recent    recentHash
	offering  sync.Map                 // wallets that a claim is being signed for; offers.go
	rehearsed atomic.Int32             // claims that are simulated now; submit.go
	handIns   turns                    // of wallets that hand in claims; turns.go
	untimed   map[uint64]*untimed      // by epoch; guarded by pass; sealtime.go
	sentAt    map[ionet.Hash]time.Time // when live attempts were last sent, by message; guarded by pass
	signers   *signers
	cosigners cosigners
	waiting   waiting                  // waiting.go
	payees    int                      // of one payout at most
	feePayees int                      // of one batch of fees at most
	fees      feeDebts                 // guarded by pass; payfees.go
	reserves  reserves                 // guarded by pass; withdrawing.go
	fenced    int64                    // number of the lease whose fence was told; guarded by pass
	lifted    ionet.Key                // held payee that was looked at last; guarded by pass; lift.go
	undelayed [16]byte                 // withdrawal that was looked at last; guarded by pass; lift.go
	began     atomic.Int64             // Unix nanoseconds: since when own payout runs are counted; schedule.go
	swept     time.Time                // when prepared claims were last swept; guarded by pass
	looked    time.Time                // when a pass last looked at endpoints and lamports; guarded by pass
	top       topSlot                  // guarded by pass; lanes.go
	scanner   scanner                  // scan.go; guarded by pass
	comparer  comparer                 // compare.go; guarded by pass
	noted     noted                    // reconcile.go; guarded by pass
	view      view                     // what the last pass saw; for Status and metrics
	intake    *intake                  // intake.go
	recall    recall                   // recall.go
	logbook   logbook                  // logbook.go
	session   atomic.Pointer[[16]byte] // see Instance
	parsed    sync.Map                 // *rules by hash; inforce.go
	receipts  receiptLog               // log.go
}

// New checks cfg against the database, which must be migrated, and returns a
// service that holds no lease and has sent nothing. A database that belongs to
// another network is refused.
func New(ctx context.Context, cfg Config) (*Service, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	s := &Service{cfg: cfg, pool: cfg.Pool, front: cfg.Front, clock: cfg.Network.Clock(), log: cfg.Logger, metrics: newMetrics(), untimed: map[uint64]*untimed{}}
	s.payees, s.feePayees, s.signers = maxPayees(cfg.Network, chain.KindPayout), maxPayees(cfg.Network, chain.KindFees), newSigners(cfg)
	if err := s.adopt(ctx); err != nil {
		return nil, fmt.Errorf("open settlement: %w", err)
	}
	// The auditor finds every policy in the published store, the first one too.
	if err := cfg.Store.Put(ctx, publish.PolicyName(cfg.Policy.Hash()), cfg.PolicyFile); err != nil {
		return nil, fmt.Errorf("open settlement: publish the genesis policy: %w", err)
	}
	if err := s.openIntake(ctx); err != nil {
		return nil, fmt.Errorf("open settlement: %w", err)
	}
	s.began.Store(s.now().UnixNano())
	s.begin(cfg.Instance)
	return s, nil
}

// adopt makes the database that of the network, or finds that it is already.
func (s *Service) adopt(ctx context.Context) error {
	id := s.cfg.Network.ID()
	return s.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, insertNetwork, id[:], s.cfg.NetworkFile, s.cfg.PolicyFile); err != nil {
			return fmt.Errorf("store the network: %w", err)
		}
		var stored []byte
		if err := tx.QueryRow(ctx, selectNetwork).Scan(&stored); err != nil {
			return fmt.Errorf("read the network: %w", err)
		}
		if !bytes.Equal(stored, id[:]) {
			return fmt.Errorf("the database belongs to network %s, not to %s: use another database or another folder of keys", ionet.Key(stored), ionet.Key(id))
		}
		var names []string
		var addresses, first [][]byte
		for _, l := range s.cfg.Network.Lanes {
			c := chain.FirstC(l.Address)
			names, addresses, first = append(names, l.Name), append(addresses, l.Address[:]), append(first, c[:])
		}
		if _, err := tx.Exec(ctx, insertLanes, names, addresses, first); err != nil {
			return fmt.Errorf("store the lanes: %w", err)
		}
		if _, err := tx.Exec(ctx, insertIntake); err != nil {
			return fmt.Errorf("store the intake: %w", err)
		}
		return nil
	})
}

const insertNetwork = `
INSERT INTO network (id, file, policy) VALUES ($1, $2, $3)
ON CONFLICT (one) DO NOTHING`

const selectNetwork = `SELECT id FROM network`

const insertLanes = `
INSERT INTO lanes (name, address, position, chain)
SELECT t.name, t.address, 0, t.chain FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS t (name, address, chain)
ON CONFLICT (name) DO NOTHING`

const insertIntake = `
INSERT INTO intake (frozen_through) VALUES (0)
ON CONFLICT (one) DO NOTHING`

// Network returns the network that the service settles; it must not be changed.
func (s *Service) Network() *ionet.Network { return s.cfg.Network }

// NetworkFile returns the exact bytes of the network file.
func (s *Service) NetworkFile() []byte { return bytes.Clone(s.cfg.NetworkFile) }

// Instance names this run of the service on this database. It is another one after the
// database was put back to an older copy under it: whoever was told of something by an
// instance that is gone tells it again.
func (s *Service) Instance() [16]byte { return *s.session.Load() }

// begin starts a run on the database that is there now. What workers were acked may
// not be in it, so epochs stay open for a grace from now on.
func (s *Service) begin(session [16]byte) {
	s.session.Store(&session)
	s.intake.opened.Store(s.now().UnixNano())
	s.intake.current.Store(false)
	s.intake.facts.forget()
	s.doubtLog()
}

// draw returns 16 random bytes. crypto/rand ends the program rather than fail; another
// source that fails would name two things alike, so that ends it too.
func draw(source io.Reader) (id [16]byte) {
	if _, err := io.ReadFull(source, id[:]); err != nil {
		panic(fmt.Errorf("read random bytes: %w", err))
	}
	return id
}

func (s *Service) now() time.Time { return s.cfg.Now() }
