package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/ionet-settlement/ionet"
)

// ServerConfig is what a Server needs; Now and Logger may be nil.
type ServerConfig struct {
	Ring    *Ring
	Policy  Policy
	Journal string      // path of the journal; begun where it is missing
	Reopen  []Reopening // lanes whose journal starts anew
	Now     func() time.Time
	Logger  *slog.Logger
}

// Reopening is a person's word that a lane goes on elsewhere than the journal has it:
// at the next position that is asked for, if that is not past; with From, at one from
// there on, though it may be past.
type Reopening struct {
	Lane ionet.Key
	From *uint64
}

// Server signs what its policy and its journal allow. It implements Signer.
type Server struct {
	ring   *Ring
	policy Policy
	now    func() time.Time
	log    *slog.Logger

	mu      sync.Mutex // journal and heads; held while a batch is judged, written and synced
	journal *journal
}

// NewServer opens the journal and checks that keys and policy belong to one network.
func NewServer(c ServerConfig) (*Server, error) {
	if err := c.Policy.check(); err != nil {
		return nil, err
	}
	if err := CheckKeys(c.Policy.Network, c.Ring); err != nil {
		return nil, fmt.Errorf("open signer: %w", err)
	}
	s := &Server{ring: c.Ring, policy: c.Policy, now: c.Now, log: c.Logger}
	if s.now == nil {
		s.now = time.Now
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.journal, err = openJournal(c.Journal, c.Policy.Network.ID(), newHeads(&s.policy, c.Ring.HasSecret())); err != nil {
		return nil, err
	}
	if err := s.journal.reopen(c.Reopen, s.now()); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// CheckKeys checks that the network file names every key of the ring.
func CheckKeys(n *ionet.Network, r *Ring) error {
	known := moneyKeys(n)
	for _, k := range r.Keys() {
		if !slices.Contains(known, k) {
			return fmt.Errorf("key %s is none that the network file names", k)
		}
	}
	return nil
}

// moneyKeys are the keys that a signer of the network may hold.
func moneyKeys(n *ionet.Network) []ionet.Key {
	keys := []ionet.Key{n.Keys.Operator, n.Keys.Fees, n.Keys.Lane}
	for _, a := range n.Allocation {
		keys = append(keys, a.Owner)
	}
	for _, m := range n.Multisigs {
		keys = append(keys, m.Members...)
	}
	return keys
}

// Close lets go of the journal; what is asked afterwards is an error.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.journal.broken == nil {
		s.journal.broken = errors.New("the signer is closed")
	}
	return s.journal.close()
}

// Network returns the network that it signs for.
func (s *Server) Network() *ionet.Network { return s.policy.Network }

// Keys implements Signer.
func (s *Server) Keys(context.Context) ([]ionet.Key, error) { return s.ring.Keys(), nil }

// LaneKeys implements Signer. Public halves are no secret: the chain shows them.
func (s *Server) LaneKeys(_ context.Context, cs []ionet.Hash) ([]ionet.Key, error) {
	if len(cs) > MaxLaneKeys {
		return nil, fmt.Errorf("derive lane keys: %d are asked for, %d at most", len(cs), MaxLaneKeys)
	}
	return s.ring.laneKeys(cs)
}

// Sign implements Signer. The batch is one line of the journal: when a signature
// leaves, the line that has its content is durable. If we stop before, the line may
// or may not be there; either way nobody has the signatures, and whoever asks again
// is answered as if it were the first time.
func (s *Server) Sign(ctx context.Context, list []Request) ([]Signed, error) {
	if len(list) > MaxRequests {
		return nil, fmt.Errorf("sign: %d messages are asked for, %d at most", len(list), MaxRequests)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	if s.journal.broken != nil {
		return nil, s.journal.write(line{})
	}
	now := s.now()
	if s.journal.heads.misses(now) {
		s.log.Warn("the clock was set back: the journal is read again")
		if err := s.journal.recall(&s.policy); err != nil {
			return nil, err
		}
	}
	s.journal.heads.forget(now)
	batch := line{at: now.Unix()}
	answers, verdicts := make([]Signed, len(list)), make([]verdict, len(list))
	for i, r := range list {
		verdicts[i], answers[i].Refused = s.decide(r, now, &batch)
	}
	if len(batch.entries) > 0 || batch.lamports > 0 {
		if err := s.journal.write(batch); err != nil {
			s.log.Error("nothing is signed any more", "error", err)
			return nil, err
		}
	}
	for i, r := range list {
		if answers[i].Refused == nil {
			answers[i].Signatures = s.ring.sign(r.Message, verdicts[i].signers, r.Lanes)
		}
	}
	return answers, nil
}

// decide judges r, takes it into account, and adds to batch what the journal does not
// have yet.
func (s *Server) decide(r Request, now time.Time, batch *line) (verdict, *Refusal) {
	v, refusal := s.policy.judge(r, s.view(now))
	if refusal == nil && !s.ring.HasSecret() && !slices.ContainsFunc(v.signers, s.holds) {
		refusal = refuse("signers", "signers", "it needs no signature by a key of this signer")
	}
	h := s.journal.heads
	if refusal == nil {
		refusal = h.admit(v, &s.policy, now)
	}
	if refusal != nil {
		s.log.Warn("a signature is refused", "rule", refusal.Rule, "field", refusal.Field, "detail", refusal.Detail)
		return verdict{}, refusal
	}
	if h.isCounted(v.message, now) {
		return v, nil
	}
	h.messages[v.message] = now.Unix()
	line := !h.repeats(v, now)
	for _, e := range v.entries {
		name, _ := s.policy.Network.LaneName(e.lane)
		if line {
			batch.entries = append(batch.entries, e)
		}
		if _, known := h.lanes[e.lane]; !known {
			s.log.Info("a lane's journal begins", "lane", name, "position", e.n)
		}
		h.note(e, now.Unix(), line)
		s.log.Info("signed", "kind", e.kind.String(), "lane", name, "position", e.n, "amount", e.amount.String(), "content", e.content.String())
	}
	if s.pays() {
		h.pay(v.lamports, now.Unix())
		batch.lamports += v.lamports
	}
	return v, nil
}

func (s *Server) holds(k ionet.Key) bool {
	_, ok := s.ring.money[k]
	return ok
}

// pays reports whether fees are paid by a key of this signer.
func (s *Server) pays() bool { return s.holds(s.policy.Network.Keys.Operator) }

func (s *Server) view(now time.Time) view {
	v := view{now: now, ours: s.holds}
	if s.ring.HasSecret() {
		v.lane = s.ring.secret.Public
	}
	return v
}
