package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"strings"
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

// signers asks those who hold the keys. What it remembers only saves questions.
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
	keys     map[ionet.Key]bool // money keys; nil until it answered
	noSecret bool               // it can't step lanes
	until    time.Time          // it did not answer: not asked again before
	err      error              // what it said instead
	failed   int                // how often in a row
}

// rest is for how long a kind is not asked for again, and why.
type rest struct {
	since time.Time
	until time.Time
	why   string
}

const (
	maxPublic   = 1 << 16          // remembered public halves
	silentRest  = time.Second      // a signer that did not answer is left alone for that long, twice as long each time,
	longSilence = 16 * time.Second // and never longer: one that hangs would hold up every pass
	longestRest = 30 * time.Second // a kind that goes on being refused rests for
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
		return nil, fmt.Errorf("derive lane keys: %w", err)
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

// askLanes asks the signers that hold the lane secret, one after the other.
func (k *signers) askLanes(ctx context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	var failed error
	for i, s := range k.list {
		if state := k.state(i); state.noSecret {
			continue
		} else if state.err != nil && k.now().Before(state.until) {
			failed = errors.Join(failed, state.err)
			continue
		}
		keys, err := s.LaneKeys(ctx, cs)
		switch {
		case err == nil && len(keys) == len(cs):
			return keys, nil
		case err == nil:
			err = fmt.Errorf("%d lane keys came, %d were asked for", len(keys), len(cs))
		case errors.Is(err, signer.ErrNoSecret):
			k.update(i, func(s *told) { s.noSecret = true })
			continue
		}
		k.silent(ctx, i, err)
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		failed = errors.New("no signer holds the lane secret: start the one that does, and name it by --signer")
	}
	return nil, failed
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
	noSecret := false
	if err == nil {
		_, err = k.list[i].LaneKeys(ctx, []ionet.Hash{{}}) // any C tells whether it can
		noSecret = errors.Is(err, signer.ErrNoSecret)
	}
	if err != nil && !noSecret {
		k.silent(ctx, i, err)
		return nil
	}
	keys := make(map[ionet.Key]bool, len(list))
	for _, key := range list {
		keys[key] = true
	}
	k.update(i, func(s *told) { s.keys, s.noSecret, s.err, s.failed = keys, noSecret, nil, 0 })
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

// errRefused reports what a signer's policy does not allow. Nothing of it was
// persisted, and it is not asked for again for a while.
var errRefused = errors.New("a signer refuses it")

// resting returns why no transaction of that kind is signed at the moment.
func (k *signers) resting(kind chain.Kind) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r, ok := k.rests[kind]; ok && k.now().Before(r.until) {
		return fmt.Errorf("%w: %s", errRefused, r.why)
	}
	return nil
}

// refused lets a kind rest: for a second at first, and as long as it has been refused
// where that goes on. It reports whether the reason is another than before.
func (k *signers) refused(kind chain.Kind, why string) (told bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	r, again := k.rests[kind]
	if !again {
		r.since = now
	}
	told = r.why != why
	r.why, r.until = why, now.Add(min(max(now.Sub(r.since), time.Second), longestRest))
	k.rests[kind] = r
	return told
}

// allow ends the rest of the kinds of which all were signed.
func (k *signers) allow(jobs []toSign, errs []error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, j := range jobs {
		refused := func(n int) bool { return jobs[n].kind == j.kind && errors.Is(errs[n], errRefused) }
		if errs[i] == nil && !slices.ContainsFunc(indices(jobs), refused) {
			delete(k.rests, j.kind)
		}
	}
}

func indices[T any](list []T) []int {
	at := make([]int, len(list))
	for i := range at {
		at[i] = i
	}
	return at
}

// toSign is a message that lacks signatures; tx has those that are there.
type toSign struct {
	kind    chain.Kind
	tx      []byte
	message []byte
	missing []ionet.Key
	lanes   []lane
}

// sign returns the signed transaction of each, or why it was not signed.
func (s *Service) sign(ctx context.Context, list []unsigned) ([][]byte, []error) {
	jobs := make([]toSign, len(list))
	errs := make([]error, len(list))
	for i, u := range list {
		jobs[i] = toSign{kind: u.draft.kind, message: u.message}
		for _, st := range u.steps {
			jobs[i].lanes = append(jobs[i].lanes, st.lane)
		}
		jobs[i].tx, jobs[i].missing, errs[i] = chain.SignMessage(u.message)
	}
	signed, missing, why := s.complete(ctx, jobs)
	for i := range list {
		if errs[i] == nil {
			errs[i] = s.lacks(missing[i], why[i])
		}
	}
	s.signers.allow(jobs, errs)
	return signed, errs
}

// lacks is the error of a transaction that still lacks signatures; nil where it has
// all. Co-signers that did not sign are not chosen for a while.
func (s *Service) lacks(missing []ionet.Key, why error) error {
	if len(missing) == 0 {
		return nil
	}
	for _, key := range missing {
		s.cosigners.fail(key, s.now())
	}
	if why != nil {
		return why
	}
	return fmt.Errorf("a key to sign with is missing: that of %s", missing[0])
}

// complete asks all signers side by side for what they owe to each transaction, and
// puts it in. It returns what is still missing of each, and what those said who were
// asked. Nothing that it does is durable: whoever reads the transaction back and
// persists it makes it count.
func (s *Service) complete(ctx context.Context, jobs []toSign) (txs [][]byte, missing [][]ionet.Key, why []error) {
	k := s.signers
	txs, missing, why = make([][]byte, len(jobs)), make([][]ionet.Key, len(jobs)), make([]error, len(jobs))
	requests := make([]signer.Request, len(jobs))
	found := make([]map[ionet.Key]chain.Signature, len(jobs))
	for i, j := range jobs {
		txs[i], missing[i], found[i] = j.tx, j.missing, map[ionet.Key]chain.Signature{}
		why[i] = k.resting(j.kind)
		requests[i].Message = j.message
		for _, l := range j.lanes {
			requests[i].Lanes = append(requests[i].Lanes, signer.Position{Lane: l.address, N: l.position, C: l.c})
		}
	}
	asks := make([][]int, len(k.list))
	for n := range k.list {
		asks[n] = k.wanted(n, missing, why)
	}
	var mu sync.Mutex
	s.each(len(k.list), func(n int) {
		asked := asks[n]
		if len(asked) == 0 {
			return
		}
		part := make([]signer.Request, len(asked))
		for i, at := range asked {
			part[i] = requests[at]
		}
		answers, err := k.ask(ctx, n, part)
		mu.Lock()
		defer mu.Unlock()
		for i, at := range asked {
			switch {
			case err != nil:
				why[at] = errors.Join(why[at], err)
			case answers[i].Refused != nil:
				why[at] = errors.Join(why[at], s.refusal(jobs[at].kind, answers[i].Refused))
			default:
				for key, signature := range answers[i].Signatures {
					if slices.Contains(missing[at], key) {
						found[at][key] = signature
					}
				}
			}
		}
	})
	for i := range jobs {
		if len(found[i]) > 0 {
			tx, left, err := chain.Attach(txs[i], found[i])
			if err != nil {
				why[i] = errors.Join(why[i], err)
				continue
			}
			txs[i], missing[i] = tx, left
		}
	}
	return txs, missing, why
}

// wanted returns which transactions lack a signature that signer n may make.
func (k *signers) wanted(n int, missing [][]ionet.Key, why []error) (asked []int) {
	keys, state := k.keysOf(n), k.state(n)
	for i, list := range missing {
		owes := func(key ionet.Key) bool { return keys[key] }
		if why[i] == nil && len(list) > 0 && (!state.noSecret || slices.ContainsFunc(list, owes)) {
			asked = append(asked, i)
		}
	}
	return asked
}

// ask asks signer n, unless it did not answer a moment ago.
func (k *signers) ask(ctx context.Context, n int, list []signer.Request) ([]signer.Signed, error) {
	if state := k.state(n); state.err != nil && k.now().Before(state.until) {
		return nil, state.err
	}
	answers, err := k.list[n].Sign(ctx, list)
	if err == nil && len(answers) != len(list) {
		err = fmt.Errorf("%d answers came to %d questions", len(answers), len(list))
	}
	if err != nil {
		k.silent(ctx, n, err)
		return nil, err
	}
	k.update(n, func(s *told) { s.err, s.failed = nil, 0 })
	return answers, nil
}

// refusal makes a signer's refusal visible, once for each reason, and lets the kind
// rest. A claim's faults may be its wallet's, so of claims only a limit that was
// reached concerns the others.
func (s *Service) refusal(kind chain.Kind, r *signer.Refusal) error {
	s.metrics.refusals.WithLabelValues(kind.String(), r.Rule).Inc()
	if kind != chain.KindClaim || r.Rule == "window" {
		if s.signers.refused(kind, r.Error()) {
			s.log.Warn("a signer refuses to sign", "kind", kind.String(), "rule", r.Rule, "field", r.Field, "detail", r.Detail)
			s.emit(Event{Kind: EventRefused, Detail: fmt.Sprintf("%s: %s", kind, r)})
		}
	}
	return fmt.Errorf("%w: %s", errRefused, strings.TrimSpace(r.Error()))
}

// unrefused leaves out the drafts whose kind a signer refused a moment ago: preparing
// them would ask the chain again and again for nothing.
func (s *Service) unrefused(drafts []draft) (list []draft, err error) {
	told := map[chain.Kind]bool{}
	for _, d := range drafts {
		why := s.signers.resting(d.kind)
		if why == nil {
			list = append(list, d)
		} else if !told[d.kind] {
			told[d.kind], err = true, errors.Join(err, fmt.Errorf("prepare %s: %w", d.kind, why))
		}
	}
	return list, err
}

// SignerState is what one signer says of itself now.
type SignerState struct {
	Address string // "" for keys in this process
	Keys    int    // money keys
	Lanes   bool   // whether it steps the lanes
	Err     error  // why it does not answer
}

// Signers asks every signer what it holds.
func (s *Service) Signers(ctx context.Context) (list []SignerState) {
	for _, asked := range s.signers.list {
		var state SignerState
		if c, ok := asked.(*signer.Client); ok {
			state.Address = c.Address()
		}
		keys, err := asked.Keys(ctx)
		if state.Keys, state.Err = len(keys), err; err == nil {
			_, err = asked.LaneKeys(ctx, []ionet.Hash{{}})
			if state.Lanes = err == nil; !errors.Is(err, signer.ErrNoSecret) {
				state.Err = err
			}
		}
		list = append(list, state)
	}
	return list
}
