package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// money returns the private keys that move money, those that are there.
func (k Keys) money() []ed25519.PrivateKey {
	keys := slices.Concat([]ed25519.PrivateKey{k.Operator, k.Fees}, k.Members, k.Allocation)
	return slices.DeleteFunc(keys, func(key ed25519.PrivateKey) bool { return key == nil })
}

// signers asks those who hold the keys. What it remembers only saves questions. The
// first alone steps the lanes, and tells lane keys; the others sign with their money keys.
type signers struct {
	list []signer.Signer
	now  func() time.Time

	mu     sync.Mutex
	public map[ionet.Hash]ionet.Key // public half of K(n) by C(n)
	told   []told                   // of each signer
	rests  map[chain.Kind]rest      // kinds that a signer refused a moment ago
}

// told is what a signer said of itself.
type told struct {
	keys   map[ionet.Key]bool // money keys; nil until it answered
	until  time.Time          // it did not answer: not asked again before
	err    error              // what it said instead
	failed int                // how often in a row
}

const (
	maxPublic   = 1 << 16          // remembered public halves
	silentRest  = time.Second      // a signer that did not answer is left alone for that long, twice as long each time,
	longSilence = 16 * time.Second // and never longer: one that hangs would hold up every pass
	askTime     = 2 * time.Second  // how long a signer may take to say what it holds
)

// newSigners takes the signers of cfg, or one made of its keys.
func newSigners(cfg Config) *signers {
	list := cfg.Signers
	if len(list) == 0 {
		list = []signer.Signer{signer.NewLocal(signer.NewRing(&cfg.Keys.Lane, cfg.Keys.money()...))}
	}
	return &signers{list: list, now: cfg.Now, public: map[ionet.Hash]ionet.Key{}, told: make([]told, len(list)), rests: map[chain.Kind]rest{}}
}

// public returns the public half of the key of the position whose C is c.
func (s *Service) public(ctx context.Context, c ionet.Hash) (ionet.Key, error) {
	keys, err := s.signers.publics(ctx, []ionet.Hash{c})
	if err != nil {
		return ionet.Key{}, err
	}
	return keys[0], nil
}

// errNoLaneKeys reports that the signer of the lanes did not tell their keys.
var errNoLaneKeys = errors.New("derive lane keys")

// publics returns the public halves of K(n) for each C(n), in order: those that were
// not asked for before in one question.
func (k *signers) publics(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	keys := make([]ionet.Key, len(cs))
	var missing []ionet.Hash
	k.mu.Lock()
	for i, c := range cs {
		var ok bool
		if keys[i], ok = k.public[c]; !ok {
			missing = append(missing, c)
		}
	}
	k.mu.Unlock()
	if len(missing) == 0 {
		return keys, nil
	}
	found, err := k.askLanes(ctx, missing)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNoLaneKeys, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.public)+len(missing) > maxPublic {
		clear(k.public)
	}
	for i, c := range missing {
		k.public[c] = found[i]
	}
	for i, c := range cs {
		if keys[i].IsZero() {
			keys[i] = found[slices.Index(missing, c)]
		}
	}
	return keys, nil
}

// askLanes asks the first signer, and no other: whoever tells lane keys is believed.
func (k *signers) askLanes(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	if state := k.state(0); state.err != nil && k.now().Before(state.until) {
		return nil, state.err
	}
	keys, err := k.list[0].LaneKeys(ctx, cs)
	switch {
	case errors.Is(err, signer.ErrNoSecret):
		return nil, fmt.Errorf("%w: the one that does must be the first --signer", err)
	case err == nil && len(keys) != len(cs):
		err = fmt.Errorf("%d lane keys came, %d were asked for", len(keys), len(cs))
	}
	if err != nil {
		k.silent(ctx, 0, err)
		return nil, err
	}
	return keys, nil
}

// holds reports whether a signer with that money key is there.
func (s *Service) holds(key ionet.Key) bool {
	for i := range s.signers.list {
		if s.signers.keysOf(i)[key] {
			return true
		}
	}
	return false
}

// keysOf returns the money keys of signer i, nil where it does not say.
func (k *signers) keysOf(i int) map[ionet.Key]bool {
	state := k.state(i)
	if state.keys != nil || state.err != nil && k.now().Before(state.until) {
		return state.keys
	}
	ctx, cancel := context.WithTimeout(context.Background(), askTime)
	defer cancel()
	list, err := k.list[i].Keys(ctx)
	if err != nil {
		k.silent(ctx, i, err)
		return nil
	}
	keys := make(map[ionet.Key]bool, len(list))
	for _, key := range list {
		keys[key] = true
	}
	k.update(i, func(s *told) { s.keys, s.err, s.failed = keys, nil, 0 })
	return keys
}

func (k *signers) state(i int) told {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.told[i]
}

func (k *signers) update(i int, f func(*told)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f(&k.told[i])
}

// silent notes that signer i did not answer. Who stopped asking says nothing of it.
func (k *signers) silent(ctx context.Context, i int, err error) {
	if errors.Is(ctx.Err(), context.Canceled) {
		return
	}
	k.update(i, func(s *told) {
		s.err, s.until = err, k.now().Add(min(silentRest<<min(s.failed, 10), longSilence))
		s.failed++
	})
}

// SignerState is what one signer says of itself now.
type SignerState struct {
	Address string // "" for keys in this process
	Keys    int    // money keys
	Lanes   bool   // whether it steps the lanes: the first alone does
	Err     error  // why it does not answer
}

// Signers asks every signer what it holds.
func (s *Service) Signers(ctx context.Context) (list []SignerState) {
	for i, asked := range s.signers.list {
		var state SignerState
		if c, ok := asked.(*signer.Client); ok {
			state.Address = c.Address()
		}
		keys, err := asked.Keys(ctx)
		if state.Keys, state.Err = len(keys), err; err == nil && i == 0 {
			_, err = asked.LaneKeys(ctx, []ionet.Hash{{}})
			state.Lanes, state.Err = err == nil, err
		}
		list = append(list, state)
	}
	return list
}
