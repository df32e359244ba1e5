package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
	"github.com/jackc/pgx/v5"
	voi "github.com/oasisprotocol/curve25519-voi/primitives/ed25519"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/wires"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement"
)

// action is something that may happen next. What it returns is a short text that
// follows from the seed alone; an error means that the simulation itself failed,
// or that something does not hold.
type action struct {
	name   string
	weight int
	do     func(*run, context.Context) (string, error)
}

// actions are all of them. Their order is part of what a seed means.
var actions = []action{
	{"pass", 30, (*run).passA},
	{"pass b", 6, (*run).passB},
	{"burst", 30, (*run).burst},
	{"time", 4, (*run).letTime},
	{"blocks", 5, (*run).letBlocks},
	{"epoch", 9, (*run).wholeEpoch},
	{"prove", 6, (*run).proveSome},
	{"spool", 3, (*run).resubmit},
	{"prepare", 12, (*run).prepareClaim},
	{"submit", 8, (*run).submitClaim},
	{"claim", 16, (*run).claimAtOnce},
	{"twin", 3, (*run).signTwin},
	{"payout", 9, (*run).requestPayout},
	{"offer", 5, (*run).offer},
	{"take", 4, (*run).take},
	{"deposit", 8, (*run).deposit},
	{"withdraw", 8, (*run).withdraw},
	{"release", 3, (*run).release},
	{"seal", 3, (*run).sealReceipts},
	{"steal", 1, (*run).steal},
	{"resume", 3, (*run).resume},
	{"replay", 5, (*run).replay},
	{"close", 3, (*run).closeAccount},
	{"open", 3, (*run).openAccount},
	{"freeze", 2, (*run).freezeAccount},
	{"hand over", 1, (*run).handOver},
	{"gift", 3, (*run).gift},
	{"lamports", 2, (*run).giveLamports},
	{"fork", 6, (*run).fork},
	{"endpoint", 8, (*run).breakEndpoint},
	{"view", 5, (*run).blindEndpoint},
	{"lie", 4, (*run).corruptEndpoint},
	{"heal", 3, (*run).healEndpoint},
	{"fault", 9, (*run).armFault},
	{"kill", 2, (*run).kill},
	{"clock", 2, (*run).jump},
	{"backup", 2, (*run).backup},
	{"restore", 2, (*run).restore},
}

// passA makes a pass of the first instance, after a little time; a dead one is
// started again first.
func (r *run) passA(ctx context.Context) (string, error) { return r.passOf(ctx, r.a) }

// passB makes a pass of the second one, beside the first.
func (r *run) passB(ctx context.Context) (string, error) { return r.passOf(ctx, r.b) }

func (r *run) passOf(ctx context.Context, i *instance) (string, error) {
	if err := r.world.tick(int64(r.rng.IntN(3)), 1+r.rng.IntN(4)); err != nil {
		return "", err
	}
	if err := r.recover(); err != nil {
		return "", err
	}
	started := ""
	if !i.alive() {
		// Half of the time nobody is there until the former lease has run out.
		if r.rng.IntN(2) == 0 {
			if err := r.world.tick(leaseSeconds+1, 0); err != nil {
				return "", err
			}
		}
		if err := r.start(ctx, i); err != nil {
			return "", err
		}
		started = "started, "
	}
	err := r.pass(ctx, i)
	r.said(err)
	return started + class(err), nil
}

// burst makes passes one after the other, as a service does that is left alone.
func (r *run) burst(ctx context.Context) (string, error) {
	outcome := ""
	for range 2 + r.rng.IntN(8) {
		said, err := r.passA(ctx)
		if err != nil {
			return "", err
		}
		outcome += said[:1]
	}
	return outcome, nil
}

// wholeEpoch lets workers prove the present sample and time pass until the epoch
// is due.
func (r *run) wholeEpoch(ctx context.Context) (string, error) {
	k, sample, _ := r.world.clock.At(time.Unix(r.world.unix.Load(), 0))
	if err := r.world.tickTo(r.world.clock.SampleStart(k, sample) + sampleSeconds - 1); err != nil {
		return "", err
	}
	proved, err := r.proveSome(ctx)
	if err != nil {
		return "", err
	}
	outcome := ""
	for due := r.world.clock.EpochEnd(k) + graceSeconds + 1; ; {
		said, err := r.passA(ctx)
		if err != nil {
			return "", err
		}
		outcome += said[:1]
		now := r.world.unix.Load()
		if now >= due {
			return fmt.Sprintf("%d: %s, %s", k, proved, outcome), nil
		}
		if err := r.world.tickTo(min(due, now+leaseSeconds*2/3)); err != nil {
			return "", err
		}
	}
}

// letTime lets up to an epoch pass.
func (r *run) letTime(context.Context) (string, error) {
	seconds := int64(2 + r.rng.IntN(40))
	return fmt.Sprintf("%d s", seconds), r.world.tick(seconds, 0)
}

// letBlocks lets so many blocks pass that a blockhash is about to expire, or has.
func (r *run) letBlocks(context.Context) (string, error) {
	n := []int{20, 100, 140, 149, 150, 151, 160, 320}[r.rng.IntN(8)]
	return fmt.Sprintf("%d blocks", n), r.world.tick(0, n)
}

// spooled is a statement that its worker keeps until the epoch is sealed.
type spooled struct {
	epoch     uint64
	statement settlement.Submitted
}

// proveSome lets some workers prove the present sample.
func (r *run) proveSome(ctx context.Context) (string, error) {
	if !r.a.alive() {
		return "nobody listens", nil
	}
	k, sample, _ := r.world.clock.At(r.a.now())
	if r.a.skew != 0 {
		return "clock is wrong", nil
	}
	b, err := r.beacon(ctx, k, sample)
	if errors.Is(err, rpc.ErrNotYet) || errors.Is(err, rpc.ErrNoBlock) {
		return "no block yet", nil
	}
	if err != nil {
		return "", err
	}
	list, err := r.signSome(k, sample, b)
	if err != nil {
		return "", err
	}
	return r.hand(ctx, list), nil
}

// signSome signs the sample for workers that have not, and keeps the statements.
func (r *run) signSome(k uint64, sample uint16, b proofs.Beacon) ([]settlement.Submitted, error) {
	var list []settlement.Submitted
	for range 4 + r.rng.IntN(40) {
		p := r.world.providers[r.rng.IntN(len(r.world.providers))]
		at := proof{p.number, k, sample}
		if r.proved[at] {
			continue
		}
		r.proved[at] = true
		e, err := r.uptime(p, k, sample, b)
		if err != nil {
			return nil, err
		}
		list = append(list, settlement.Submitted{Envelope: e})
		r.spool = append(r.spool, spooled{k, settlement.Submitted{Envelope: e}})
	}
	return list, nil
}

// uptime signs a statement whose predecessor is this run's last of the worker.
func (r *run) uptime(p *provider, k uint64, sample uint16, b proofs.Beacon) (proofs.Envelope, error) {
	own := *p
	if id, ok := r.previous[p.number]; ok {
		own.previous = id
	}
	e, err := own.uptime(r.world.net.Network, k, sample, b)
	r.previous[p.number] = own.previous
	return e, err
}

// hand submits statements and says how many were taken.
func (r *run) hand(ctx context.Context, list []settlement.Submitted) string {
	if len(list) == 0 {
		return "nobody"
	}
	results, err := r.a.service.Submit(ctx, list)
	if err != nil {
		r.said(err)
		return class(err)
	}
	taken := 0
	for _, res := range results {
		if res.Status != settlement.Refused {
			taken++
		} else {
			r.said(res.Problem)
		}
	}
	return fmt.Sprintf("%d of %d taken", taken, len(list))
}

// resubmit hands in again what workers keep.
func (r *run) resubmit(ctx context.Context) (string, error) {
	if !r.a.alive() || r.a.skew != 0 {
		return "nobody listens", nil
	}
	k, _, _ := r.world.clock.At(r.a.now())
	r.spool = slices.DeleteFunc(r.spool, func(s spooled) bool { return s.epoch+3 < k })
	list := make([]settlement.Submitted, min(len(r.spool), settlement.MaxSubmitted))
	for i := range list {
		list[i] = r.spool[i].statement
	}
	return r.hand(ctx, list), nil
}

// handInAgain is resubmit at rest, where epochs that were closed meanwhile refuse.
func (r *run) handInAgain(ctx context.Context) error {
	_, err := r.resubmit(ctx)
	return err
}

// claim is a claim in a wallet's hands.
type claim struct {
	provider *provider
	prepared settlement.Prepared
	tx       []byte // as the wallet signed it; nil: it has not
}

// prepareClaim lets a wallet ask for its claim.
func (r *run) prepareClaim(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	p, err := r.claimant(ctx)
	if err != nil {
		return "", err
	}
	prepared, err := i.service.PrepareClaim(ctx, p.payee())
	if err != nil {
		r.said(err)
		return fmt.Sprintf("%d: %s", p.number, class(err)), nil
	}
	r.claims = append(r.claims, &claim{provider: p, prepared: prepared})
	return fmt.Sprintf("%d: %s on %s %d", p.number, prepared.Amount, prepared.Lane, prepared.Position), nil
}

// claimant draws a provider, mostly one that is owed something.
func (r *run) claimant(ctx context.Context) (*provider, error) {
	if r.rng.IntN(8) == 0 {
		return r.anybody(), nil
	}
	return r.holder(ctx, "owed:")
}

// holder draws a provider whose ledger account of that kind holds something; where
// none does, anybody.
func (r *run) holder(ctx context.Context, prefix string) (*provider, error) {
	rows, err := r.eyes.Query(ctx, selectHolders, prefix)
	if err != nil {
		return nil, fmt.Errorf("look for who holds something: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for who holds something: %w", err)
	}
	if len(names) == 0 {
		return r.anybody(), nil
	}
	name := names[r.rng.IntN(len(names))]
	for _, p := range r.world.providers {
		if prefix+p.payee().String() == name {
			return p, nil
		}
	}
	return nil, fmt.Errorf("ledger account %s is nobody's", name)
}

const selectHolders = `
SELECT account FROM ledger_balances WHERE starts_with(account, $1) AND balance > 0 ORDER BY account COLLATE "C"`

// claimAtOnce lets a wallet do all of a claim without a pause.
func (r *run) claimAtOnce(ctx context.Context) (string, error) {
	before := len(r.claims)
	prepared, err := r.prepareClaim(ctx)
	if err != nil || len(r.claims) == before {
		return prepared, err
	}
	submitted, err := r.signAndSubmit(ctx, r.a, r.claims[before])
	return prepared + ", " + submitted, err
}

// either returns an instance that lives, mostly the first; nil where none does.
func (r *run) either() *instance {
	list := []*instance{r.a, r.b}
	if r.rng.IntN(8) == 0 {
		slices.Reverse(list)
	}
	for _, i := range list {
		if i.alive() {
			return i
		}
	}
	return nil
}

// submitClaim lets a wallet sign a claim that it was handed at any time before,
// and hand it in; or hand in again what it signed.
func (r *run) submitClaim(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil || len(r.claims) == 0 {
		return "nothing", nil
	}
	// Mostly the newest, at times one that is long past.
	c := r.claims[len(r.claims)-1]
	if r.rng.IntN(3) == 0 {
		c = r.claims[r.rng.IntN(len(r.claims))]
	}
	return r.signAndSubmit(ctx, i, c)
}

// signAndSubmit lets a wallet sign its claim, unless it has, and hand it in.
func (r *run) signAndSubmit(ctx context.Context, i *instance, c *claim) (string, error) {
	if !i.alive() {
		return "nobody listens", nil
	}
	again := "again "
	if c.tx == nil {
		var err error
		if c.tx, err = chain.CoSign(c.prepared.Transaction, c.provider.wallet); err != nil {
			return "", err
		}
		again = ""
	}
	got, err := i.service.SubmitClaim(ctx, c.tx)
	r.said(err)
	return fmt.Sprintf("%s%d: %s %s", again, c.provider.number, class(err), got.State), nil
}

// signTwin lets a wallet sign a claim that is on its way a second time, with
// another valid signature, and send that past us.
func (r *run) signTwin(ctx context.Context) (string, error) {
	for _, tx := range slices.Backward(r.sent) {
		d, err := chain.Decode(tx)
		if err != nil || d.Plan.Kind != chain.KindClaim {
			continue
		}
		i := slices.IndexFunc(r.world.providers, func(p *provider) bool { return p.payee() == d.FeePayer })
		if i < 0 {
			continue
		}
		signature, err := r.twinOf(r.world.providers[i].wallet, d.Raw.Message)
		if err != nil {
			return "", err
		}
		twin, err := chain.AddSignature(tx, d.FeePayer, signature)
		if err != nil {
			return "", err
		}
		err = r.world.clean.Send(ctx, twin, rpc.SendOptions{SkipPreflight: true})
		r.said(err)
		return fmt.Sprintf("%d: %s", i, class(err)), nil
	}
	return "no claim", nil
}

// twinOf signs with a nonce of its own, so that the signature is not the one that
// everybody's library makes of key and message.
func (r *run) twinOf(key ed25519.PrivateKey, message []byte) (chain.Signature, error) {
	s, err := voi.PrivateKey(key).Sign(r.entropy(uint64(r.step)), message, &voi.Options{AddedRandomness: true})
	if err != nil {
		return chain.Signature{}, fmt.Errorf("sign a second time: %w", err)
	}
	return chain.Signature(s), nil
}

// requestPayout asks for a payout run.
func (r *run) requestPayout(ctx context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody listens", nil
	}
	_, err := i.service.RequestPayout(ctx)
	r.said(err)
	return class(err), nil
}

// replay lets a stranger send again any transaction that was ever sent.
func (r *run) replay(ctx context.Context) (string, error) {
	if len(r.sent) == 0 {
		return "nothing", nil
	}
	tx := r.sent[r.rng.IntN(len(r.sent))]
	if r.rng.IntN(2) == 0 {
		tx = r.sent[len(r.sent)-1]
	}
	d, err := chain.Decode(tx)
	if err != nil {
		return "", fmt.Errorf("an instance sent what is no transaction of ours: %w", err)
	}
	err = r.world.clean.Send(ctx, tx, rpc.SendOptions{SkipPreflight: true})
	r.said(err)
	return fmt.Sprintf("%s: %s", d.Plan.Kind, class(err)), nil
}

// anybody draws a provider.
func (r *run) anybody() *provider { return r.world.providers[r.rng.IntN(len(r.world.providers))] }

// sendAs sends instructions of a wallet past preflight: what fails, fails on chain.
func (r *run) sendAs(ctx context.Context, key ed25519.PrivateKey, list ...solana.Instruction) (string, chain.Signature, error) {
	data, err := r.world.sign(ctx, list, key)
	if err != nil {
		return "", chain.Signature{}, err
	}
	raw, err := chain.ParseRaw(data, nil, nil)
	if err != nil {
		return "", chain.Signature{}, err
	}
	err = r.world.clean.Send(ctx, data, rpc.SendOptions{})
	r.said(err)
	return class(err), raw.Signature(), nil
}

// held returns what a wallet's token account holds now.
func (r *run) held(ctx context.Context, owner ionet.Key) (uint64, error) {
	n := r.world.net.Network
	a, _, err := r.world.clean.TokenBalance(ctx, chain.TokenAccount(owner, n.Mint), n.Mint, rpc.Confirmed, 0)
	if errors.Is(err, chain.ErrNoAccount) {
		return 0, nil
	}
	return a.Base(), err
}

// move builds a transfer of tokens from a wallet's token account.
func (r *run) move(from, to ionet.Key, amount uint64) solana.Instruction {
	n := r.world.net.Network
	source := chain.TokenAccount(from, n.Mint)
	return token.NewTransferCheckedInstruction(amount, uint8(n.Decimals), solana.PublicKey(source), solana.PublicKey(n.Mint), solana.PublicKey(to), solana.PublicKey(from), nil).Build()
}

// closeAccount lets a payee move his tokens away and close his token account.
func (r *run) closeAccount(ctx context.Context) (string, error) {
	p, n := r.anybody(), r.world.net.Network
	holds, err := r.held(ctx, p.payee())
	if err != nil {
		return "", err
	}
	owner, account := solana.PublicKey(p.payee()), solana.PublicKey(chain.TokenAccount(p.payee(), n.Mint))
	var list []solana.Instruction
	if holds > 0 {
		list = append(list, r.move(p.payee(), chain.TokenAccount(chain.PublicOf(strangerKey()), n.Mint), holds))
	}
	outcome, _, err := r.sendAs(ctx, p.wallet, append(list, token.NewCloseAccountInstruction(account, owner, owner, nil).Build())...)
	return fmt.Sprintf("%d: %s", p.number, outcome), err
}

// openAccount lets a payee open his token account.
func (r *run) openAccount(ctx context.Context) (string, error) {
	p := r.anybody()
	err := r.world.openAccounts(ctx, r.world.net.Network.Mint, p.wallet, p.payee())
	r.said(err)
	return fmt.Sprintf("%d: %s", p.number, class(err)), nil
}

// freezeAccount freezes a payee's token account, or thaws one that is. The token
// has no freeze authority, so it is done past the rules.
func (r *run) freezeAccount(ctx context.Context) (string, error) {
	p := r.anybody()
	key := chain.TokenAccount(p.payee(), r.world.net.Network.Mint)
	list, _, err := r.world.clean.Accounts(ctx, []ionet.Key{key}, rpc.Confirmed, 0)
	if err != nil || !list[0].Exists() {
		return fmt.Sprintf("%d: none", p.number), err
	}
	// What the open slot did to it since must not be undone.
	if err := r.world.tick(0, 1); err != nil {
		return "", err
	}
	if list, _, err = r.world.clean.Accounts(ctx, []ionet.Key{key}, rpc.Confirmed, 0); err != nil || !list[0].Exists() {
		return fmt.Sprintf("%d: gone", p.number), err
	}
	a := localnet.Account{Lamports: list[0].Lamports, Owner: solana.PublicKey(list[0].Owner), Data: slices.Clone(list[0].Data)}
	a.Data[108] = 3 - a.Data[108] // 1 initialized, 2 frozen
	return fmt.Sprintf("%d: %d", p.number, a.Data[108]), r.world.node.SetAccount(solana.PublicKey(key), a)
}

// handOver gives a payee's token account to a stranger.
func (r *run) handOver(ctx context.Context) (string, error) {
	p := r.anybody()
	account := chain.TokenAccount(p.payee(), r.world.net.Network.Mint)
	in := token.NewSetAuthorityInstruction(token.AuthorityAccountOwner, solana.PublicKey(chain.PublicOf(strangerKey())), solana.PublicKey(account), solana.PublicKey(p.payee()), nil).Build()
	outcome, _, err := r.sendAs(ctx, p.wallet, in)
	return fmt.Sprintf("%d: %s", p.number, outcome), err
}

// gift lets a payee who has tokens send some to an account of ours, for no reason.
func (r *run) gift(ctx context.Context) (string, error) {
	for range 10 {
		p := r.anybody()
		holds, err := r.held(ctx, p.payee())
		if err != nil {
			return "", err
		}
		if holds == 0 {
			continue
		}
		amount := 1 + r.rng.Uint64N(holds)
		n := r.world.net.Network
		to := []ionet.Key{n.Vaults.Reward, n.Vaults.Reward, n.Vaults.Fee, n.Allocation[3].Account, n.Allocation[0].Account}[r.rng.IntN(5)]
		outcome, _, err := r.sendAs(ctx, p.wallet, r.move(p.payee(), to, amount))
		return fmt.Sprintf("%d from %d: %s", amount, p.number, outcome), err
	}
	return "nobody has any", nil
}

// giveLamports sends lamports to something that is ours.
func (r *run) giveLamports(ctx context.Context) (string, error) {
	n := r.world.net.Network
	lane := n.Lanes[r.rng.IntN(len(n.Lanes))]
	next := r.oracle.next[lane.Name]
	to := []ionet.Key{n.Vaults.Reward, lane.Address, r.world.net.Keys.Secret.Public(next), n.Mint, n.Keys.Operator}[r.rng.IntN(5)]
	outcome, _, err := r.sendAs(ctx, strangerKey(), system.NewTransferInstruction(1+r.rng.Uint64N(5_000_000), solana.PublicKey(chain.PublicOf(strangerKey())), solana.PublicKey(to)).Build())
	return outcome, err
}

// armFault makes one of an instance's next steps fail, and at times the process
// with it.
func (r *run) armFault(context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody lives", nil
	}
	f := wires.Fault{Step: 1 + r.rng.IntN(40), Outcome: wires.Outcome(r.rng.IntN(2)), Dies: r.rng.IntN(2) == 0}
	i.wires.Arm(f)
	return fmt.Sprintf("%s: step %d %s, dies %t", i.name, f.Step, f.Outcome, f.Dies), nil
}

// kill ends a process between two passes.
func (r *run) kill(context.Context) (string, error) {
	i := r.either()
	if i == nil {
		return "nobody lives", nil
	}
	i.stop()
	return i.name, nil
}

// maxSkew is how far an instance's clock may be off, in seconds.
const maxSkew = 120

// jump moves the clock of an instance, or puts it right.
func (r *run) jump(context.Context) (string, error) {
	i := []*instance{r.a, r.b}[r.rng.IntN(2)]
	i.skew = []int64{0, 0, 1, -3, 30, -30, maxSkew, -maxSkew}[r.rng.IntN(8)]
	return fmt.Sprintf("%s by %d s", i.name, i.skew), nil
}

// maxBackups bounds the copies of one run.
const maxBackups = 3

// backup copies the database as it is.
func (r *run) backup(ctx context.Context) (string, error) {
	n := len(r.backups)
	if n == maxBackups {
		return "enough", nil
	}
	name := r.backupName(n)
	if err := r.swap(ctx, r.database, name); err != nil {
		return "", err
	}
	r.backups = append(r.backups, name)
	return fmt.Sprint(n), nil
}

// restore puts a copy back: under the instances that run, or after they died.
func (r *run) restore(ctx context.Context) (string, error) {
	if len(r.backups) == 0 {
		return "none", nil
	}
	n := r.rng.IntN(len(r.backups))
	how := "under running instances"
	if r.rng.IntN(2) == 0 {
		r.a.stop()
		r.b.stop()
		how = "after all died"
	}
	return fmt.Sprintf("%d %s", n, how), r.swap(ctx, r.backups[n], r.database)
}

// swap copies a database, which ends all sessions of both.
func (r *run) swap(ctx context.Context, from, to string) error {
	if err := r.world.dbs.copy(ctx, from, to); err != nil {
		return err
	}
	r.eyes.Reset()
	for _, i := range []*instance{r.a, r.b} {
		if i.pool != nil {
			i.pool.Reset()
		}
	}
	return nil
}
