package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// fork abandons up to as many blocks as are not final, with one fate or another
// of what they held.
func (r *run) fork(context.Context) (string, error) {
	f := localnet.Fork{
		Slots: 1 + r.rng.IntN(finality-1), After: uint64(r.rng.IntN(5)),
		Then: []localnet.Afterwards{localnet.Forgotten, localnet.Again, localnet.Never, localnet.Turned}[r.rng.IntN(4)],
	}
	if err := r.world.node.ForkWith(f); err != nil {
		r.said(err)
		return "refused", nil // what a former fork abandoned is not replaced yet
	}
	return fmt.Sprintf("%d slots, %s after %d", f.Slots, f.Then, f.After), nil
}

// endpoint draws one of those that instances use.
func (r *run) endpoint() (int, *localnet.Front) {
	n := r.rng.IntN(len(r.world.fronts))
	return n, r.world.fronts[n]
}

// breakEndpoint makes an endpoint answer some calls badly, or do something else
// with what it is sent. Nothing hangs: that would take real time.
func (r *run) breakEndpoint(context.Context) (string, error) {
	n, f := r.endpoint()
	x := localnet.Fault{Skip: r.rng.IntN(12), Count: 1 + r.rng.IntN(20), Slots: uint64(10 + r.rng.IntN(300))}
	if r.rng.IntN(2) == 0 {
		x.Methods = []string{"sendTransaction"}
		x.Do = []localnet.Deed{localnet.Drop, localnet.Hold, localnet.HoldLast, localnet.Fail, localnet.Stale, localnet.Broke, localnet.Twice, localnet.Run}[r.rng.IntN(8)]
		x.After = uint64(1 + r.rng.IntN(160))
	}
	if x.Do == localnet.Default || x.Do == localnet.Run || r.rng.IntN(4) == 0 {
		x.Answer = []localnet.Answer{localnet.TooMany, localnet.Status, localnet.HTML, localnet.Cut, localnet.Reset, localnet.Lost, localnet.ErrorAnswer}[r.rng.IntN(7)]
		x.Code, x.Message = []int{-32005, -32004, -32016, -32603, -32011}[r.rng.IntN(5)], "injected"
	}
	_, err := f.Inject(x)
	return fmt.Sprintf("%d: %d after %d, do %q, answer %q", n, x.Count, x.Skip, x.Do, x.Answer), err
}

// blindEndpoint makes an endpoint lag, jump back and forth, stand still, or lack
// history.
func (r *run) blindEndpoint(context.Context) (string, error) {
	n, f := r.endpoint()
	v := f.View()
	lag := func() uint64 { return uint64(r.rng.IntN(40)) }
	what := r.rng.IntN(5)
	switch what {
	case 0:
		v.Lags = []uint64{lag()}
	case 1:
		v.Lags = []uint64{lag(), 0, lag()}
	case 2:
		v.Frozen, v.FrozenAt = true, 0
	case 3:
		v.NoHistory = true
	case 4:
		v.StatusSlots = new(uint64(r.rng.IntN(20)))
	}
	if err := f.SetView(v); err != nil {
		r.said(err)
		return "refused", nil
	}
	r.wrong[n] = r.forWhile()
	return fmt.Sprintf("%d: %s", n, [...]string{"lags", "jumps", "stands still", "has no history", "forgets statuses"}[what]), nil
}

// corruptEndpoint makes one endpoint lie, while the other says the truth: if all
// lied alike nobody could know.
func (r *run) corruptEndpoint(ctx context.Context) (string, error) {
	n, f := r.endpoint()
	for _, other := range r.world.fronts {
		if v := other.View(); other != f {
			v.Lies = localnet.Lies{}
			if err := show(other, v); err != nil {
				return "", err
			}
		}
	}
	v := f.View()
	v.Lies = localnet.Lies{}
	var err error
	var what string
	switch r.rng.IntN(5) {
	case 0, 1:
		what, err = r.lieOfLane(ctx, &v)
	case 4:
		what, err = r.lieOfVault(ctx, &v)
	case 2:
		what = r.lieOfSignatures(&v)
	case 3:
		if r.rng.IntN(2) == 0 {
			what, v.Lies.Ahead = "ahead", uint64(1+r.rng.IntN(40))
		} else {
			what, v.Lies.Blockhash = "blockhash", &solana.Hash{byte(r.step), 1}
		}
	}
	if err == nil {
		err = show(f, v)
	}
	r.wrong[n] = r.forWhile()
	return fmt.Sprintf("%d: %s", n, what), err
}

// show gives an endpoint a view. One that stands still at a slot that a fork has
// abandoned since can't be told to stand there again: it goes on instead.
func show(f *localnet.Front, v localnet.View) error {
	if f.SetView(v) == nil {
		return nil
	}
	v.Frozen, v.FrozenAt = false, 0
	return f.SetView(v)
}

// lieOfLane shows a lane as if another content had won: one that is signed for the
// open position where there is one, or nobody's.
func (r *run) lieOfLane(ctx context.Context, v *localnet.View) (string, error) {
	lanes := r.world.net.Network.Lanes
	lane := lanes[r.rng.IntN(len(lanes))]
	key := ionet.Key(ionet.HashOf([]byte("nobody")))
	var data []byte
	what := "nobody's"
	err := r.eyes.QueryRow(ctx, selectOpenContent, r.rng.Uint64()%1000).Scan(&lane.Name, &data)
	if err == nil {
		content, err := chain.ParseContent(data)
		if err != nil {
			return "", err
		}
		lane.Address, key, what = content.Lane, r.world.net.Keys.Secret.Public(content.Next()), "an open content's"
	}
	list, _, err := r.world.clean.Accounts(ctx, []ionet.Key{lane.Address}, rpc.Confirmed, 0)
	if err != nil {
		return "", err
	}
	data = slices.Clone(list[0].Data)
	copy(data[4:], key[:])
	v.Lies.Accounts = map[solana.PublicKey]*localnet.Account{
		solana.PublicKey(lane.Address): {Lamports: list[0].Lamports, Owner: solana.PublicKey(list[0].Owner), Data: data},
	}
	return fmt.Sprintf("%s is at %s", lane.Name, what), nil
}

const selectOpenContent = `
SELECT lane, bytes FROM contents WHERE state = 'open' ORDER BY hash
OFFSET $1 % greatest((SELECT count(*) FROM contents WHERE state = 'open'), 1) LIMIT 1`

// lieOfVault shows a vault with less than it has, more, or as another's.
func (r *run) lieOfVault(ctx context.Context, v *localnet.View) (string, error) {
	n := r.world.net.Network
	vault := []ionet.Key{n.Vaults.Reward, n.Vaults.Fee, n.Allocation[3].Account}[r.rng.IntN(3)]
	list, _, err := r.world.clean.Accounts(ctx, []ionet.Key{vault}, rpc.Finalized, 0)
	if err != nil {
		return "", err
	}
	data := slices.Clone(list[0].Data)
	how := r.rng.IntN(3)
	switch amount := binary.LittleEndian.Uint64(data[64:]); how {
	case 0:
		binary.LittleEndian.PutUint64(data[64:], amount/2)
	case 1:
		binary.LittleEndian.PutUint64(data[64:], amount+1+r.rng.Uint64N(1_000_000))
	case 2:
		key := chain.PublicOf(strangerKey())
		copy(data[32:], key[:])
	}
	v.Lies.Accounts = map[solana.PublicKey]*localnet.Account{
		solana.PublicKey(vault): {Lamports: list[0].Lamports, Owner: solana.PublicKey(list[0].Owner), Data: data},
	}
	return "a vault " + [...]string{"has less", "has more", "is another's"}[how], nil
}

// lieOfSignatures tells the opposite of what became of the last transactions.
func (r *run) lieOfSignatures(v *localnet.View) string {
	v.Lies.Signatures = map[solana.Signature]localnet.Fate{}
	fate := []localnet.Fate{localnet.Failed, localnet.Succeeded, localnet.Absent}[r.rng.IntN(3)]
	for _, tx := range r.sent[max(0, len(r.sent)-6):] {
		if d, err := chain.Decode(tx); err == nil {
			v.Lies.Signatures[solana.Signature(d.Signature())] = fate
		}
	}
	return fmt.Sprintf("%d transactions are %s", len(v.Lies.Signatures), fate)
}

// recover ends views and lies whose time is over: an endpoint that is wrong for ever
// holds everything up, as it should.
func (r *run) recover() error {
	for n, f := range r.world.fronts {
		if r.wrong[n] == 0 {
			continue
		}
		if r.wrong[n]--; r.wrong[n] == 0 {
			if err := f.SetView(localnet.View{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// forWhile says for how many passes a wrong view lasts.
func (r *run) forWhile() int { return 1 + r.rng.IntN(12) }

// healEndpoint ends what is wrong with an endpoint.
func (r *run) healEndpoint(context.Context) (string, error) {
	n, f := r.endpoint()
	return fmt.Sprint(n), errors.Join(f.Heal())
}
