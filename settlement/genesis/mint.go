package genesis

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

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

// genesisContent is position 0 of the epoch lane: the same for every attempt.
func genesisContent(n *ionet.Network) (chain.Content, error) {
	lane, ok := n.Lane("epoch")
	if !ok {
		return chain.Content{}, errors.New("the network has no epoch lane")
	}
	c := chain.Content{Kind: chain.KindGenesis, Lane: lane, C: chain.FirstC(lane),
		Memo: proofs.GenesisMemo{Network: n.ID(), Emission: n.Schedule.Hash}.String()}
	for _, a := range n.Allocation {
		c.Movements = append(c.Movements, chain.Movement{Op: chain.Mint, Source: n.Mint, Destination: a.Account, Amount: a.Amount})
	}
	return c, c.Check()
}

// mint reports whether the genesis transaction is final. If it is not, it is
// sent: the newest attempt for as long as that can land, else another.
func (r *run) mint(ctx context.Context, folder *publish.Folder) (done bool, err error) {
	done, err = r.landed(ctx)
	if err == nil && done {
		err = r.publish(ctx) // also into a store that is new
	}
	if err != nil || done {
		return done, err
	}
	a, number, err := r.newest(ctx, folder)
	if err == nil && a != nil {
		err = r.publish(ctx)
	}
	if err != nil {
		return false, err
	}
	// Only a dead attempt may be followed by another. No answer, or any doubt,
	// means: the same bytes again.
	if a == nil || r.Chain.CheckDead(ctx, r.content.Lane, r.from, a.LastValidHeight) == nil {
		a, err = r.sign(ctx, folder, number)
		if errors.Is(err, publish.ErrConflict) {
			return false, nil // another run was faster; its attempt is ours too
		}
		if err != nil {
			return false, err
		}
		r.tell("genesis transaction %s: signed, attempt %d", a.signature(), number+1)
	}
	if err := r.Chain.Send(ctx, a.Transaction, rpc.SendOptions{MinContextSlot: a.ContextSlot}); err != nil && !errors.Is(err, rpc.ErrAlreadyProcessed) {
		r.tell("genesis transaction %s: %v", a.signature(), err)
	}
	return false, nil
}

// landed reads the lane at finalized. K(1) depends on the content, so that the
// lane showing it proves that this content was executed.
func (r *run) landed(ctx context.Context) (bool, error) {
	accounts, _, err := r.Chain.Accounts(ctx, []ionet.Key{r.content.Lane}, rpc.Finalized, 0)
	if err != nil {
		return false, err
	}
	state, err := chain.ParseLane(accounts[0].Owner, accounts[0].Data)
	switch {
	case errors.Is(err, chain.ErrNoAccount):
		return false, nil // opened, but not finalized yet
	case err != nil:
		return false, err
	case state == r.from:
		return false, nil
	case state == r.to:
		r.tell("genesis of %s tokens: final", r.Network.Schedule.Genesis.Tokens(r.Network.Decimals))
		return true, nil
	}
	return true, r.findInHistory(ctx)
}

// findInHistory finds the genesis transaction of a lane that has gone on.
func (r *run) findInHistory(ctx context.Context) error {
	c := r.content
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
		if err == nil && got.Hash() == c.Hash() && d.Plan.Steps[0] == (chain.Step{Lane: c.Lane, From: r.from, To: r.to}) {
			r.tell("genesis transaction %s: final, and the network has gone on since", e.Signature)
			return nil
		}
	}
	return errors.New("the epoch lane has passed position 0 and the endpoint's history does not show how: use an archive RPC, or the folder that made this lane")
}

// newest returns the last attempt in the folder, nil where there is none, and
// how many there are.
func (r *run) newest(ctx context.Context, folder *publish.Folder) (*attempt, int, error) {
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
	if err := r.check(&a); err != nil {
		return nil, 0, fmt.Errorf("read attempt %s: %w", name, err)
	}
	return &a, len(names), nil
}

func attemptName(number int) string { return fmt.Sprintf("attempt-%06d.json", number) }

// check decodes the final bytes, which must give the same content and hand the
// mint to the same authority.
func (r *run) check(a *attempt) error {
	c := r.content
	d, err := chain.Decode(a.Transaction)
	if err != nil {
		return err
	}
	got, err := d.Content(c.Lane, c.N, c.C)
	if err != nil {
		return err
	}
	handed := d.Plan.HandMintTo
	if handed.IsZero() {
		handed = r.operator
	}
	if got.Hash() != c.Hash() || a.Content != c.Hash() || d.Blockhash != a.Blockhash || handed != r.Network.Authorities.Mint {
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

// genesisMessage is what the signers of the genesis transaction sign.
func (r *run) genesisMessage(hash rpc.Blockhash) ([]byte, error) {
	c := r.content
	p := chain.Plan{
		Kind: c.Kind, FeePayer: r.operator, Steps: []chain.Step{{Lane: c.Lane, From: r.from, To: r.to}}, Movements: c.Movements, Memo: c.Memo,
		Mint: r.Network.Mint, Decimals: uint8(r.Network.Decimals), Owners: map[ionet.Key]ionet.Key{r.Network.Mint: r.operator},
		Reference: chain.GenesisReference(r.Network.Mint), Blockhash: hash.Hash,
	}
	if to := r.Network.Authorities.Mint; to != r.operator {
		p.HandMintTo = to // so that no co-signer is needed before there is a network
	}
	p.Budget = p.DefaultBudget()
	return p.Message()
}

func (r *run) genesisKeys() []ed25519.PrivateKey {
	return []ed25519.PrivateKey{r.Keys.Operator, r.Keys.Secret.Key(r.content.C)}
}

// sign makes the next attempt. When it returns, the bytes are durable in the
// folder and none has left; if we stop here, the next run sends these bytes.
func (r *run) sign(ctx context.Context, folder *publish.Folder, number int) (*attempt, error) {
	hash, err := r.Chain.LatestBlockhash(ctx)
	if err != nil {
		return nil, err
	}
	message, err := r.genesisMessage(hash)
	if err != nil {
		return nil, err
	}
	tx, missing, err := chain.SignMessage(message, r.genesisKeys()...)
	if err != nil || len(missing) > 0 {
		return nil, fmt.Errorf("sign genesis transaction: %w (missing %v)", err, missing)
	}
	a := &attempt{tx, r.content.Hash(), hash.Hash, hash.LastValidHeight, hash.ContextSlot}
	if err := r.check(a); err != nil {
		return nil, err
	}
	data, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	if number == 0 {
		return a, r.first(ctx, folder, data)
	}
	return a, folder.Put(ctx, attemptName(number), data)
}
