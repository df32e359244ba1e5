package settlement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// vault is a token account of ours with its account in the ledger.
type vault struct {
	name    string
	address ionet.Key
	account ledger.Account
	scanned bool // others may pay in: its history is read for credits
}

// vaults returns the accounts that are held against the ledger: both vaults, and the
// allocation accounts that this service releases from. Those without beneficiaries are
// their owners' matter.
func (s *Service) vaults() []vault {
	n := s.cfg.Network
	list := []vault{
		{"reward vault", n.Vaults.Reward, ledger.VaultReward(), true},
		{"fee vault", n.Vaults.Fee, ledger.VaultFee(), true},
	}
	for _, a := range n.Allocation {
		if len(a.Beneficiaries) > 0 {
			list = append(list, vault{"allocation of " + a.Category, a.Account, ledger.VaultAllocation(a.Category), false})
		}
	}
	return list
}

// vaultState is what the chain says of a vault at one slot.
type vaultState struct {
	amount    ionet.Amount
	irregular string // what is wrong with the account itself; "" where nothing is
}

// vaultStateOf reads a vault's account. One that others could move tokens from, or that
// is none any more, is a state too: the reconciler stops everything for it.
func (s *Service) vaultStateOf(v vault, a rpc.Account) vaultState {
	t, err := chain.ParseTokenAccount(a.Owner, a.Data)
	if err != nil {
		return vaultState{irregular: err.Error()}
	}
	amount, err := ionet.NewAmount(t.Amount)
	if err != nil {
		return vaultState{irregular: err.Error()}
	}
	state := vaultState{amount: amount}
	owner := s.ownerOf(v.address)
	switch {
	case t.Mint != s.cfg.Network.Mint:
		state.irregular = fmt.Sprintf("it is of mint %s", t.Mint)
	case t.Owner != owner:
		state.irregular = fmt.Sprintf("its owner is %s, not %s", t.Owner, owner)
	case !t.Delegate.IsZero():
		state.irregular = fmt.Sprintf("%s may move %d base units of it", t.Delegate, t.DelegateAmount)
	case !t.CloseAuthority.IsZero():
		state.irregular = fmt.Sprintf("%s may close it", t.CloseAuthority)
	case t.Frozen:
		state.irregular = "it is frozen"
	}
	return state
}

// vaultStanding is how a vault stands at the slot of a pass.
type vaultStanding struct {
	vault
	vaultState
	booked ionet.Amount // by the ledger
	ended  bool         // its history was read to that slot, but for gaps
	whole  bool         // so, and waiting for the gaps may be in vain
	behind string       // why it was not, where it should have been
}

// surplus returns what the vault holds beyond the books; zero where it does not.
func (st *vaultStanding) surplus() ionet.Amount {
	if d, err := st.amount.Sub(st.booked); err == nil {
		return d
	}
	return ionet.Amount{}
}

// missing returns what the books have and the vault lacks; zero where none does.
func (st *vaultStanding) missing() ionet.Amount {
	if d, err := st.booked.Sub(st.amount); err == nil {
		return d
	}
	return ionet.Amount{}
}

// reconcile holds the vaults against the ledger. Both are exact: the ledger holds what
// every final winner did, and the vaults were read at the slot at which those were the
// winners. A vault that holds more was given something: its history is read, a piece
// in each pass, until it explains that; nothing waits for it. One that holds less, or
// that others could take from, stops all sending, for good: until a person resumes.
func (s *Service) reconcile(ctx context.Context, final finalView) error {
	s.scanner.begin()
	list := make([]vaultStanding, 0, 8)
	for _, v := range s.vaults() {
		list = append(list, vaultStanding{vault: v, vaultState: final.vaults[v.address]})
	}
	if err := s.readBooks(ctx, list); err != nil {
		return err
	}
	if err := s.readHistories(ctx, list, final); err != nil {
		return err
	}
	if err := s.readBooks(ctx, list); err != nil {
		return err
	}
	for i := range list {
		if err := s.judgeVault(ctx, &list[i], final); err != nil {
			return err
		}
	}
	differ := s.compareVaults(ctx, list, final.slot)
	if err := s.noteStandings(ctx, list, final.slot); err != nil {
		return err
	}
	if err := s.resumeAsked(ctx, list, final.slot); err != nil {
		return err
	}
	return errors.Join(s.checkHalts(ctx), differ)
}

// readBooks reads what the ledger says of the vaults.
func (s *Service) readBooks(ctx context.Context, list []vaultStanding) error {
	accounts := make([]ledger.Account, len(list))
	for i := range list {
		accounts[i] = list[i].account
	}
	balances, err := ledger.Balances(ctx, s.pool, accounts...)
	if err != nil {
		return err
	}
	for i := range list {
		list[i].booked = balances[list[i].account]
	}
	return nil
}

// readHistories reads on in the vaults' histories where that is due, and looks for what
// references lead to. A chain that does not tell holds up nothing: the balance is known.
func (s *Service) readHistories(ctx context.Context, list []vaultStanding, final finalView) error {
	for i := range list {
		st := &list[i]
		w := s.scanner.of(st.address)
		st.ended = w.isSettled(st.surplus())
		if st.scanned && st.irregular == "" && w.isDue(s.now(), st.surplus(), st.missing()) {
			var err error
			if st.ended, err = s.scan(ctx, st.vault, final); err == nil && !st.ended {
				st.behind = "more transactions name it than one pass reads"
			}
			if err := s.waitFor(ctx, err); err != nil {
				return err
			}
			if err != nil {
				st.behind = err.Error()
			}
		}
		st.whole = st.ended && w.isTold()
		if err := w.gapsError(st.vault); err != nil && st.behind == "" {
			st.behind = err.Error()
		}
	}
	return s.waitFor(ctx, s.lookForStrays(ctx, final.slot))
}

// waitFor returns the errors after which a pass can't go on; any other one of reading
// histories is said, and ends by itself.
func (s *Service) waitFor(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, errNotLeader) || ctx.Err() != nil {
		return err
	}
	s.log.Debug("histories are not read to their end", "error", err)
	return nil
}

// judgeVault decides what follows from how a vault stands.
func (s *Service) judgeVault(ctx context.Context, st *vaultStanding, final finalView) error {
	switch {
	case st.irregular != "":
		return s.raise(ctx, haltAuthority, st, st.irregular, final)
	case !st.missing().IsZero():
		detail := fmt.Sprintf("it holds %s base units at slot %d, the ledger says %s: tokens left it that no content of ours moved", st.amount, final.slot, st.booked)
		return s.raise(ctx, haltDebit, st, detail, final)
	}
	w := s.scanner.of(st.address)
	if !st.ended {
		return nil
	}
	w.saw = st.surplus()
	if w.saw.IsZero() && w.isWhole() {
		return s.explained(ctx, st.vault)
	}
	s.again(st.vault, w.saw)
	return nil
}

// confirmWrong asks every endpoint: what stops everything for good must not be one
// endpoint's word. While one tells otherwise, or does not answer, it is not known, and
// the pass ends here. Lanes are asked for in the same call: where one has moved, tokens
// left by a content of ours, which an endpoint that hides the step would make a theft.
func (s *Service) confirmWrong(ctx context.Context, kind haltKind, st *vaultStanding, final finalView) error {
	keys := []ionet.Key{st.address}
	for _, l := range s.cfg.Network.Lanes {
		keys = append(keys, l.Address)
	}
	views, err := s.cfg.Chain.Everywhere(ctx, keys)
	if err != nil {
		return fmt.Errorf("compare endpoints about the %s: %w", st.name, err)
	}
	for _, v := range views {
		there := vaultStanding{vault: st.vault, vaultState: s.vaultStateOf(st.vault, v.Accounts[0]), booked: st.booked}
		if kind == haltAuthority && there.irregular == "" || kind == haltDebit && there.irregular == "" && there.missing().IsZero() {
			return fmt.Errorf("compare endpoints about the %s %s: %s says at slot %d that it holds %s base units and that nothing is wrong with it, another endpoint does not (%s): if that lags this ends by itself",
				st.name, st.address, v.Endpoint, v.Slot, there.amount, st.describe())
		}
		if kind != haltDebit {
			continue
		}
		for i, l := range s.cfg.Network.Lanes {
			state, err := chain.ParseLane(v.Accounts[1+i].Owner, v.Accounts[1+i].Data)
			if err != nil {
				return fmt.Errorf("compare endpoints about the %s: lane %s at %s: %w", st.name, l.Name, v.Endpoint, err)
			}
			if state != final.states[l.Name] {
				return fmt.Errorf("compare endpoints about the %s %s: it lacks %s base units, but by %s lane %s has moved, which another endpoint does not say: if that lags this ends by itself",
					st.name, st.address, st.missing(), v.Endpoint, l.Name)
			}
		}
	}
	return nil
}

// describe tells how the vault differs from the books, "" where it does not.
func (st *vaultStanding) describe() string {
	switch {
	case st.irregular != "":
		return st.irregular
	case !st.missing().IsZero():
		return fmt.Sprintf("it lacks %s base units", st.missing())
	case !st.surplus().IsZero() && st.whole:
		return fmt.Sprintf("it holds %s base units more than its history explains", st.surplus())
	case !st.surplus().IsZero():
		return fmt.Sprintf("it holds %s base units whose transactions are not read yet", st.surplus())
	}
	return ""
}

// noteStandings writes down how the vaults stand, for people and for those who do not
// lead, where that has changed since it was written down.
func (s *Service) noteStandings(ctx context.Context, list []vaultStanding, slot uint64) error {
	lease := s.leaseNumber()
	lines := make([]string, len(list))
	for i := range list {
		lines[i] = strings.Trim(list[i].describe()+"; "+list[i].behind, "; ")
	}
	notes := 0
	for _, line := range lines {
		if line != "" {
			notes++
		}
	}
	s.metrics.differing.Set(float64(notes))
	if s.noted.lease == lease && slices.Equal(s.noted.lines, lines) {
		return nil
	}
	err := s.asLeader(ctx, func(tx pgx.Tx, _ int64) error {
		for i := range list {
			st := &list[i]
			_, err := tx.Exec(ctx, noteStanding, st.address[:], st.account.String(), st.amount.Int64(), st.booked.Int64(), st.whole || !st.scanned, lines[i], int64(slot))
			if err != nil {
				return fmt.Errorf("note how the %s stands: %w", st.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.noted = noted{lease, lines}
	return nil
}

// noted is what this leader wrote down last; guarded by Service.pass.
type noted struct {
	lease int64
	lines []string
}

const noteStanding = `
INSERT INTO standings (account, books, held, booked, whole, note, slot) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (account) DO UPDATE SET books = excluded.books, held = excluded.held, booked = excluded.booked, whole = excluded.whole,
    note = excluded.note, slot = excluded.slot`
