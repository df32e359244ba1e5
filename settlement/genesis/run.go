package genesis

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

// Options say how Run reaches the world. Chain and Store are required.
type Options struct {
	Chain   *rpc.Client
	Store   publish.Store
	Airdrop bool                             // ask the cluster for the lamports that the operator lacks
	Poll    time.Duration                    // between two reads while waiting; 300 ms when zero
	Log     func(format string, args ...any) // one line of what is done or found; nil: nobody
}

// run is one Run, or the reading for one plan.
type run struct {
	Options
	*Prepared
	operator ionet.Key
	rent     rents
	content  chain.Content   // position 0 of the epoch lane
	from, to ionet.Key       // the epoch lane's state before it and after it
	told     map[string]bool // lines that were logged, so that waiting does not repeat them
	sent     map[string]sent // set-up transactions by what they do

	published bool // by this run
}

// rents are the lamports of the accounts that we make.
type rents struct{ mint, account, multisig uint64 }

// sent is a set-up transaction that has left.
type sent struct {
	bytes     []byte
	blockhash rpc.Blockhash
}

// Run makes what is missing of the network on the chain and returns when the
// genesis transaction is final.
func Run(ctx context.Context, p *Prepared, o Options) error {
	if o.Poll == 0 {
		o.Poll = 300 * time.Millisecond
	}
	r, err := open(ctx, p, o)
	if err == nil {
		err = r.run(ctx)
	}
	if err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	return nil
}

// open checks that the chain is the network's and reads what does not change.
func open(ctx context.Context, p *Prepared, o Options) (*run, error) {
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	r := &run{Options: o, Prepared: p, operator: p.Network.Keys.Operator, told: map[string]bool{}, sent: map[string]sent{}}
	cluster, err := r.Chain.GenesisHash(ctx)
	if err != nil {
		return nil, err
	}
	if cluster != r.Network.Cluster {
		return nil, fmt.Errorf("the network file is for cluster %s, this is %s: give that cluster's RPC, or a new folder", r.Network.Cluster, cluster)
	}
	for _, of := range []struct {
		rent *uint64
		size int
	}{{&r.rent.mint, chain.MintSize}, {&r.rent.account, chain.TokenAccountSize}, {&r.rent.multisig, chain.MultisigSize}} {
		if *of.rent, err = r.Chain.MinimumRent(ctx, of.size); err != nil {
			return nil, err
		}
	}
	if r.content, err = genesisContent(r.Network); err != nil {
		return nil, err
	}
	r.from, r.to = r.Keys.Secret.Public(r.content.C), r.Keys.Secret.Public(r.content.Next())
	return r, nil
}

func (r *run) run(ctx context.Context) error {
	attempts, err := publish.NewFolder(filepath.Join(r.Dir, attemptsDir))
	if err != nil {
		return err
	}
	refused := refusals{left: -1}
	for {
		// All of it again each time: a fork may have taken back what was only
		// confirmed.
		s, err := r.survey(ctx)
		if err != nil {
			return err
		}
		for _, o := range s.objects {
			if o.exists {
				r.tell("%s %s: there", o.name, o.address)
			}
		}
		hash, err := r.Chain.LatestBlockhash(ctx)
		if err != nil {
			return err
		}
		actions, err := r.decide(s, hash)
		if err != nil {
			return err
		}
		if err := r.fund(ctx, s, actions); err != nil {
			return err
		}
		var done bool
		if setUp := setUpOf(actions); len(setUp) > 0 {
			err = refused.count(setUp, r.setUp(ctx, setUp, hash))
		} else {
			done, err = r.mint(ctx, attempts)
		}
		if err != nil || done {
			return err
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// publish makes the files that the genesis memo and content commit to readable
// by everybody before anything on the chain names them: when the first attempt is
// signed. Before that the start may still be moved.
func (r *run) publish(ctx context.Context) error {
	if r.published {
		return nil
	}
	if err := r.Store.Put(ctx, publish.NetworkName(r.Network.ID()), r.NetworkFile); err != nil {
		return err
	}
	if err := r.Store.Put(ctx, publish.ContentName(r.content.Hash()), r.content.Encode()); err != nil {
		return err
	}
	r.published = true
	r.tell("network %s: published", ionet.Key(r.Network.ID()))
	return nil
}

// tell logs a line once.
func (r *run) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if !r.told[line] {
		r.told[line] = true
		r.Log("%s", line)
	}
}

// setUpOf returns the actions that make accounts.
func setUpOf(actions []action) (list []action) {
	for _, a := range actions {
		if len(a.objects) > 0 {
			list = append(list, a)
		}
	}
	return list
}

// blockhashLife is for how many blocks a blockhash can be used.
const blockhashLife = 150

// setUp sends what can be sent now. Such transactions may be sent any number of
// times, by any number of runs: each fails as a whole when what it makes
// exists. Within a run the same bytes go out again for as long as they can
// land, so that no fee is paid twice. The outcome is for the next survey to
// tell; what comes back is a refusal.
func (r *run) setUp(ctx context.Context, actions []action, hash rpc.Blockhash) error {
	var refused error
	for _, a := range actions {
		if a.waits {
			continue
		}
		tx, ok := r.sent[a.what]
		if !ok || hash.LastValidHeight > tx.blockhash.LastValidHeight+blockhashLife {
			bytes, missing, err := chain.SignMessage(a.message, a.keys...)
			if err != nil || len(missing) > 0 {
				return fmt.Errorf("sign the making of %s: %w (missing %v)", a.what, err, missing)
			}
			tx = sent{bytes, hash}
			r.sent[a.what] = tx
			r.tell("making %s", a.what)
		}
		err := r.Chain.Send(ctx, tx.bytes, rpc.SendOptions{MinContextSlot: tx.blockhash.ContextSlot})
		var preflight *rpc.PreflightError
		switch {
		case errors.As(err, &preflight):
			refused = errors.Join(refused, fmt.Errorf("make %s: %w", a.what, err))
			delete(r.sent, a.what)
		case errors.Is(err, rpc.ErrBlockhashNotFound):
			delete(r.sent, a.what) // its block was forked away, or is too old
		}
	}
	return refused
}

// maxRefusals is how often the cluster may refuse set-up transactions in a row
// without any progress before the reason is given back.
const maxRefusals = 5

// refusals counts refusals since something was made.
type refusals struct{ left, n int }

func (c *refusals) count(actions []action, err error) error {
	left := 0
	for _, a := range actions {
		left += len(a.objects)
	}
	if left != c.left {
		*c = refusals{left: left}
	}
	var preflight *rpc.PreflightError
	if !errors.As(err, &preflight) {
		return err
	}
	if c.n++; c.n >= maxRefusals {
		return err
	}
	return nil
}

// fund sees to it that the operator can pay for the actions. The reserve is
// asked for once, before anything is made: what was enough then is enough.
func (r *run) fund(ctx context.Context, s survey, actions []action) error {
	need := needOf(s, actions)
	if s.balance >= need {
		return nil
	}
	if !r.Airdrop {
		return fmt.Errorf("operator %s has %d lamports and needs %d: send it %d lamports and run this again; --plan tells what for", r.operator, s.balance, need, need-s.balance)
	}
	r.tell("operator %s: asking the cluster for lamports", r.operator)
	if err := r.Chain.Airdrop(ctx, r.operator, airdropFor(need-s.balance)); err != nil {
		r.tell("airdrop: %v", err)
	}
	for range 40 {
		accounts, _, err := r.Chain.Accounts(ctx, []ionet.Key{r.operator}, rpc.Confirmed, 0)
		if err != nil {
			return err
		}
		if accounts[0].Lamports >= need {
			return nil
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("operator %s still lacks lamports after an airdrop: send it %d lamports", r.operator, need-s.balance)
}

// needOf returns the lamports that the operator must have for the actions.
func needOf(s survey, actions []action) uint64 {
	rent, fees := cost(actions)
	if s.isFresh() {
		return rent + fees + feeReserve
	}
	return rent + fees
}

// airdropLamports is what a test cluster is asked for at least: enough for the
// fees of a long demo.
const airdropLamports = 10_000_000_000

// airdropFor returns what is asked for where the operator lacks that much.
func airdropFor(lacks uint64) uint64 {
	if lacks == 0 {
		return 0
	}
	return max(lacks, airdropLamports)
}

func (r *run) wait(ctx context.Context) error {
	t := time.NewTimer(r.Poll)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
