package genesis

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// attempt is one signed genesis transaction, as its file holds it.
type attempt struct {
	Transaction     []byte     `json:"transaction"`
	Content         ionet.Hash `json:"content"`
	Blockhash       ionet.Key  `json:"blockhash"`
	LastValidHeight uint64     `json:"last_valid_height"`
	ContextSlot     uint64     `json:"context_slot"`
}

// content is position 0 of the epoch lane: the same for every attempt.
func (r *run) content() (chain.Content, error) {
	lane, ok := r.Network.Lane("epoch")
	if !ok {
		return chain.Content{}, errors.New("the network has no epoch lane")
	}
	c := chain.Content{Kind: chain.KindGenesis, Lane: lane, C: chain.FirstC(lane),
		Memo: proofs.GenesisMemo{Network: r.Network.ID(), Emission: r.Network.Schedule.Hash}.String()}
	for _, a := range r.Network.Allocation {
		c.Movements = append(c.Movements, chain.Movement{Op: chain.Mint, Source: r.Network.Mint, Destination: a.Account, Amount: a.Amount})
	}
	return c, c.Check()
}

// mint sends the genesis transaction until the lane's finalized state tells
// that it landed.
func (r *run) mint(ctx context.Context, c chain.Content) error {
	folder, err := publish.NewFolder(filepath.Join(r.Dir, attemptsDir))
	if err != nil {
		return err
	}
	from, to := r.Keys.Secret.Public(c.C), r.Keys.Secret.Public(c.Next())
	for {
		// Again each time: a fork may have taken back what was only confirmed.
		if err := r.setUp(ctx); err != nil {
			return err
		}
		done, err := r.landed(ctx, c, from, to)
		if err != nil || done {
			return err
		}
		a, number, err := r.newest(ctx, folder, c)
		if err != nil {
			return err
		}
		// Only a dead attempt may be followed by another. No answer, or any
		// doubt, means: the same bytes again.
		if a == nil || r.Chain.CheckDead(ctx, c.Lane, from, a.LastValidHeight) == nil {
			a, err = r.sign(ctx, folder, number, c, from, to)
			if errors.Is(err, publish.ErrConflict) {
				continue // another run was faster; its attempt is ours too
			}
			if err != nil {
				return err
			}
			r.tell("genesis transaction %s: signed, attempt %d", a.signature(), number+1)
		}
		if err := r.Chain.Send(ctx, a.Transaction, rpc.SendOptions{MinContextSlot: a.ContextSlot}); err != nil && !errors.Is(err, rpc.ErrAlreadyProcessed) {
			r.tell("genesis transaction %s: %v", a.signature(), err)
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// landed reads the lane at finalized. K(1) depends on the content, so that the
// lane showing it proves that this content was executed.
func (r *run) landed(ctx context.Context, c chain.Content, from, to ionet.Key) (bool, error) {
	accounts, _, err := r.Chain.Accounts(ctx, []ionet.Key{c.Lane}, rpc.Finalized, 0)
	if err != nil {
		return false, err
	}
	state, err := chain.ParseLane(accounts[0].Owner, accounts[0].Data)
	switch {
	case errors.Is(err, chain.ErrNoAccount):
		return false, nil // opened, but not finalized yet
	case err != nil:
		return false, err
	case state == from:
		return false, nil
	case state == to:
		r.tell("genesis of %s tokens: final", r.Network.Schedule.Genesis.Tokens(r.Network.Decimals))
		return true, nil
	}
	return true, r.findInHistory(ctx, c, from, to)
}

// findInHistory finds the genesis transaction of a lane that has gone on.
func (r *run) findInHistory(ctx context.Context, c chain.Content, from, to ionet.Key) error {
	for e, err := range r.Chain.History(ctx, chain.GenesisReference(r.Network.Mint), chain.Signature{}, 0) {
		if err != nil {
			return err
		}
		if e.Err != nil {
			continue
		}
		tx, err := r.Chain.Transaction(ctx, e.Signature)
		if err != nil {
			return err
		}
		d, err := chain.Decode(tx.Bytes)
		if err != nil {
			continue // a stranger's transaction may name the reference
		}
		got, err := d.Content(c.Lane, 0, c.C)
		if err == nil && got.Hash() == c.Hash() && d.Plan.Steps[0] == (chain.Step{Lane: c.Lane, From: from, To: to}) {
			r.tell("genesis transaction %s: final, and the network has gone on since", e.Signature)
			return nil
		}
	}
	return errors.New("the epoch lane has passed position 0 and the endpoint's history does not show how: use an archive RPC, or the folder that made this lane")
}

// newest returns the last attempt in the folder, nil where there is none, and
// how many there are.
func (r *run) newest(ctx context.Context, folder *publish.Folder, c chain.Content) (*attempt, int, error) {
	names, err := folder.List("")
	if err != nil || len(names) == 0 {
		return nil, 0, err
	}
	name := names[len(names)-1]
	if name != attemptName(len(names)-1) {
		return nil, 0, fmt.Errorf("attempts in %s: newest of %d is %s", folder.Dir(), len(names), name)
	}
	data, err := folder.Get(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	var a attempt
	if err := json.Unmarshal(data, &a); err != nil {
		return nil, 0, fmt.Errorf("read attempt %s: %w", name, err)
	}
	if err := a.check(c); err != nil {
		return nil, 0, fmt.Errorf("read attempt %s: %w", name, err)
	}
	return &a, len(names), nil
}

func attemptName(number int) string { return fmt.Sprintf("attempt-%06d.json", number) }

// check decodes the final bytes, which must give the same content.
func (a *attempt) check(c chain.Content) error {
	d, err := chain.Decode(a.Transaction)
	if err != nil {
		return err
	}
	got, err := d.Content(c.Lane, c.N, c.C)
	if err != nil {
		return err
	}
	if got.Hash() != c.Hash() || a.Content != c.Hash() || d.Blockhash != a.Blockhash {
		return errors.New("its bytes are not those of this network's genesis")
	}
	return d.VerifySignatures()
}

func (a *attempt) signature() chain.Signature {
	d, err := chain.Decode(a.Transaction)
	if err != nil {
		return chain.Signature{} // check has decoded it before
	}
	return d.Signature()
}

// sign makes the next attempt. When it returns, the bytes are durable in the
// folder and none has left; if we stop here, the next run sends these bytes.
func (r *run) sign(ctx context.Context, folder *publish.Folder, number int, c chain.Content, from, to ionet.Key) (*attempt, error) {
	hash, err := r.Chain.LatestBlockhash(ctx)
	if err != nil {
		return nil, err
	}
	p := chain.Plan{
		Kind: c.Kind, FeePayer: r.operator, Steps: []chain.Step{{Lane: c.Lane, From: from, To: to}}, Movements: c.Movements, Memo: c.Memo,
		Mint: r.Network.Mint, Decimals: uint8(r.Network.Decimals), Owners: map[ionet.Key]ionet.Key{r.Network.Mint: r.operator},
		Reference: chain.GenesisReference(r.Network.Mint), Blockhash: hash.Hash,
	}
	p.Budget = p.DefaultBudget()
	message, err := p.Message()
	if err != nil {
		return nil, err
	}
	tx, missing, err := chain.SignMessage(message, r.Keys.Operator, r.Keys.Secret.Key(c.C))
	if err != nil || len(missing) > 0 {
		return nil, fmt.Errorf("sign genesis transaction: %w (missing %v)", err, missing)
	}
	a := &attempt{tx, c.Hash(), hash.Hash, hash.LastValidHeight, hash.ContextSlot}
	if err := a.check(c); err != nil {
		return nil, err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	return a, folder.Put(ctx, attemptName(number), data)
}
