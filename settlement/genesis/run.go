package genesis

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

// Options say how Run reaches the world. Chain and Store are required.
type Options struct {
	Chain   *rpc.Client
	Store   *publish.Folder
	Airdrop bool                             // ask the cluster for the lamports that the operator lacks
	Plan    bool                             // change nothing: only tell what would be done
	Poll    time.Duration                    // between two reads while waiting; 300 ms when zero
	Log     func(format string, args ...any) // one line of what is done or found; nil: nobody
}

// run is one Run.
type run struct {
	Options
	*Prepared
	operator ionet.Key
	rent     rents
	told     map[string]bool // lines that were logged, so that waiting does not repeat them
}

// rents are the lamports of the accounts that we make.
type rents struct{ mint, account uint64 }

// Run makes what is missing of the network on the chain and returns when the
// genesis transaction is final.
func Run(ctx context.Context, p *Prepared, o Options) error {
	if o.Poll == 0 {
		o.Poll = 300 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = func(string, ...any) {}
	}
	r := &run{Options: o, Prepared: p, operator: p.Network.Keys.Operator, told: map[string]bool{}}
	if err := r.run(ctx); err != nil {
		return fmt.Errorf("genesis: %w", err)
	}
	return nil
}

func (r *run) run(ctx context.Context) error {
	cluster, err := r.Chain.GenesisHash(ctx)
	if err != nil {
		return err
	}
	if cluster != r.Network.Cluster {
		return fmt.Errorf("the network file is for cluster %s, this is %s: give that cluster's RPC, or a new folder", r.Network.Cluster, cluster)
	}
	if r.rent.mint, err = r.Chain.MinimumRent(ctx, chain.MintSize); err != nil {
		return err
	}
	if r.rent.account, err = r.Chain.MinimumRent(ctx, chain.TokenAccountSize); err != nil {
		return err
	}
	if r.Plan {
		return r.plan(ctx)
	}
	// The files that the genesis memo and content commit to are readable by
	// everybody before anything on the chain names them.
	content, err := r.content()
	if err != nil {
		return err
	}
	if err := r.Store.Put(ctx, publish.NetworkName(r.Network.ID()), r.NetworkFile); err != nil {
		return err
	}
	if err := r.Store.Put(ctx, publish.ContentName(content.Hash()), content.Encode()); err != nil {
		return err
	}
	r.tell("network %s: published", ionet.Key(r.Network.ID()))
	return r.mint(ctx, content)
}

// tell logs a line once.
func (r *run) tell(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	if !r.told[line] {
		r.told[line] = true
		r.Log("%s", line)
	}
}

// plan tells what of the network exists and what it would cost to make the rest.
func (r *run) plan(ctx context.Context) error {
	s, err := r.survey(ctx)
	if err != nil {
		return err
	}
	for _, o := range s.objects {
		state := "would be made"
		if o.exists {
			state = "found"
		}
		r.tell("%s %s: %s", o.name, o.address, state)
	}
	r.tell("operator %s: has %d lamports, needs %d", r.operator, s.balance, s.need)
	for _, a := range r.Network.Allocation {
		r.tell("genesis mints %s to %s, %s", a.Amount.Tokens(r.Network.Decimals), a.Category, a.Account)
	}
	return nil
}

// object is one account of the network.
type object struct {
	name     string
	address  ionet.Key
	owner    ionet.Key // of a token account
	lane     bool
	exists   bool
	lamports uint64
}

// survey is what is there, at confirmed.
type survey struct {
	objects []object // mint, token accounts, lanes
	balance uint64   // of the operator
	need    uint64   // lamports that the rest costs, with room for fees
}

func (s survey) missing() (list []object) {
	for _, o := range s.objects {
		if !o.exists {
			list = append(list, o)
		}
	}
	return list
}

// feeReserve is kept for the fees of all transactions of a genesis and of the
// first hours after it.
const feeReserve = 50_000_000

// survey reads all accounts of the network and checks those that exist.
func (r *run) survey(ctx context.Context) (survey, error) {
	n := r.Network
	s := survey{objects: []object{
		{name: "mint", address: n.Mint},
		{name: "reward vault", address: n.Vaults.Reward, owner: n.Keys.Operator},
		{name: "fee vault", address: n.Vaults.Fee, owner: n.Keys.Fees},
	}}
	for _, a := range n.Allocation {
		s.objects = append(s.objects, object{name: "allocation " + a.Category, address: a.Account, owner: a.Owner})
	}
	for _, l := range n.Lanes {
		s.objects = append(s.objects, object{name: "lane " + l.Name, address: l.Address, lane: true})
	}
	keys := []ionet.Key{r.operator}
	for _, o := range s.objects {
		keys = append(keys, o.address)
	}
	accounts, _, err := r.Chain.Accounts(ctx, keys, rpc.Confirmed, 0)
	if err != nil {
		return survey{}, err
	}
	s.balance, s.need = accounts[0].Lamports, feeReserve
	for i := range s.objects {
		o, a := &s.objects[i], accounts[i+1]
		o.lamports = a.Lamports
		if o.exists, err = r.checkObject(*o, a); err != nil {
			return survey{}, fmt.Errorf("%s %s: %w", o.name, o.address, err)
		}
		if rent := r.rentOf(*o); !o.exists {
			s.need += chain.Missing(rent, o.lamports)
		}
	}
	return s, nil
}

func (r *run) rentOf(o object) uint64 {
	if o.owner.IsZero() {
		return r.rent.mint
	}
	return r.rent.account
}

// checkObject reports whether the account was made, and returns an error when
// it holds what we would not have made.
func (r *run) checkObject(o object, a rpc.Account) (bool, error) {
	if a.Owner.IsZero() && len(a.Data) == 0 {
		return false, nil // nothing there, or lamports that somebody sent
	}
	switch {
	case o.lane:
		_, err := chain.ParseLane(a.Owner, a.Data)
		return true, err
	case o.owner.IsZero():
		m, err := chain.ParseMint(a.Owner, a.Data)
		if err == nil && (m.Authority != r.operator || int(m.Decimals) != r.Network.Decimals || !m.Freeze.IsZero()) {
			err = errors.New("mint has another authority or other decimals than the network's, or a freeze authority")
		}
		return true, err
	}
	t, err := chain.ParseTokenAccount(a.Owner, a.Data)
	if err == nil && (t.Mint != r.Network.Mint || t.Owner != o.owner) {
		err = fmt.Errorf("token account belongs to %s for mint %s", t.Owner, t.Mint)
	}
	return true, err
}

// maxRefusals is how often the cluster may refuse set-up transactions in a row
// without any progress before the reason is given back.
const maxRefusals = 5

// setUp sends transactions for what is missing until nothing is, at confirmed.
// Such transactions may be sent any number of times, by any number of runs:
// each fails as a whole when what it makes exists.
func (r *run) setUp(ctx context.Context) error {
	left, refusals := -1, 0
	for {
		s, err := r.survey(ctx)
		if err != nil {
			return err
		}
		for _, o := range s.objects {
			if o.exists {
				r.tell("%s %s: there", o.name, o.address)
			}
		}
		missing := s.missing()
		if len(missing) == 0 {
			return nil
		}
		if err := r.fund(ctx, s); err != nil {
			return err
		}
		err = r.sendSetUp(ctx, missing)
		var refused *rpc.PreflightError
		switch {
		case errors.As(err, &refused):
			if refusals++; refusals >= maxRefusals && left == len(missing) {
				return fmt.Errorf("make %s: %w", missing[0].name, err)
			}
		case err != nil:
			return err
		}
		if left != len(missing) {
			left, refusals = len(missing), 0
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
}

// sendSetUp sends one transaction for each group of what is missing: the mint
// first, since the accounts are made for it.
func (r *run) sendSetUp(ctx context.Context, missing []object) error {
	hash, err := r.Chain.LatestBlockhash(ctx)
	if err != nil {
		return err
	}
	var lanes, accounts []object
	for _, o := range missing {
		switch {
		case o.lane:
			lanes = append(lanes, o)
		case !o.owner.IsZero():
			accounts = append(accounts, o)
		default:
			return r.send(ctx, hash, []object{o}, r.mintMessage, r.Keys.Operator)
		}
	}
	return errors.Join(
		r.send(ctx, hash, accounts, r.accountsMessage, r.Keys.Operator),
		r.send(ctx, hash, lanes, r.lanesMessage, r.Keys.Operator, r.Keys.Lane))
}

// send packs as many objects as fit into each transaction and sends them. An
// unknown outcome is no error here: the next survey tells.
func (r *run) send(ctx context.Context, hash rpc.Blockhash, objects []object, build func([]object, rpc.Blockhash) ([]byte, error), keys ...ed25519.PrivateKey) error {
	for len(objects) > 0 {
		n := min(len(objects), 8)
		message, err := build(objects[:n], hash)
		for errors.Is(err, chain.ErrTooLarge) && n > 1 {
			n--
			message, err = build(objects[:n], hash)
		}
		if err != nil {
			return err
		}
		tx, _, err := chain.SignMessage(message, keys...)
		if err != nil {
			return err
		}
		var names []string
		for _, o := range objects[:n] {
			names = append(names, o.name)
		}
		r.tell("making %s", strings.Join(names, ", "))
		err = r.Chain.Send(ctx, tx, rpc.SendOptions{MinContextSlot: hash.ContextSlot})
		var refused *rpc.PreflightError
		if errors.As(err, &refused) {
			return err
		}
		objects = objects[n:]
	}
	return nil
}

func (r *run) mintMessage(o []object, hash rpc.Blockhash) ([]byte, error) {
	return chain.MintCreation{
		FeePayer: r.operator, Network: r.Network.Name, Decimals: uint8(r.Network.Decimals),
		Lamports: chain.Missing(r.rent.mint, o[0].lamports), Blockhash: hash.Hash, Budget: setUpBudget(1),
	}.Message()
}

func (r *run) accountsMessage(list []object, hash rpc.Blockhash) ([]byte, error) {
	c := chain.AccountCreation{FeePayer: r.operator, Mint: r.Network.Mint, Blockhash: hash.Hash, Budget: setUpBudget(len(list))}
	for _, o := range list {
		c.Owners = append(c.Owners, o.owner)
	}
	return c.Message()
}

func (r *run) lanesMessage(list []object, hash rpc.Blockhash) ([]byte, error) {
	c := chain.Opening{FeePayer: r.operator, LaneKey: r.Network.Keys.Lane, Blockhash: hash.Hash, Budget: setUpBudget(len(list))}
	for _, o := range list {
		name, _ := r.Network.LaneName(o.address)
		first := r.Keys.Secret.Public(chain.FirstC(o.address))
		c.Lanes = append(c.Lanes, chain.NewLane{Name: name, First: first, Lamports: chain.Missing(r.rent.mint, o.lamports)})
	}
	return c.Message()
}

// setUpBudget has room for n accounts, the bump searches of addresses included.
func setUpBudget(n int) chain.Budget {
	return chain.Budget{ComputeUnits: uint32(10_000 + 60_000*n), LoadedBytes: 2 << 20}
}

// fund sees to it that the operator can pay for what is missing.
func (r *run) fund(ctx context.Context, s survey) error {
	if s.balance >= s.need {
		return nil
	}
	if !r.Airdrop {
		return fmt.Errorf("operator %s has %d lamports and needs %d: send it %d lamports and run this again", r.operator, s.balance, s.need, s.need-s.balance)
	}
	r.tell("operator %s: asking the cluster for lamports", r.operator)
	if err := r.Chain.Airdrop(ctx, r.operator, max(s.need-s.balance, airdropLamports)); err != nil {
		r.tell("airdrop: %v", err)
	}
	for range 40 {
		accounts, _, err := r.Chain.Accounts(ctx, []ionet.Key{r.operator}, rpc.Confirmed, 0)
		if err != nil {
			return err
		}
		if accounts[0].Lamports >= s.need {
			return nil
		}
		if err := r.wait(ctx); err != nil {
			return err
		}
	}
	return fmt.Errorf("operator %s still lacks lamports after an airdrop: send it %d lamports", r.operator, s.need-s.balance)
}

// airdropLamports is what a test cluster is asked for at least: enough for the
// fees of a long demo.
const airdropLamports = 10_000_000_000

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
