package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/settlement"
)

type recoverCmd struct {
	place
}

// Help is shown below the flags.
func (c *recoverCmd) Help() string {
	return `For a database that was lost or restored from a copy. Books, receipts and attempts are found on the chain and in --store;
every signed transaction that might still land is fenced off. ionetd serve does the same when it starts: recover is for
doing it without serving. It waits until another instance that leads has let go.

Examples:
  ionetd recover --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd recover                                  # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *recoverCmd) Run(s *stage) error {
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	err = service.Recover(s.ctx)
	if errors.Is(err, settlement.ErrHalted) {
		return fmt.Errorf("%w: all lanes are fenced once a person has looked, and ended the halt with ionetd resume --reason TEXT", err)
	}
	if err != nil {
		return err
	}
	if err := service.Release(s.ctx); err != nil {
		return err
	}
	s.print("recovered: the database is where the chain is, all lanes are fenced")
	if err := c.printReopening(s, service); err != nil {
		return err
	}
	_, err = s.printHalt(service)
	return err
}

// printReopening says what a co-signer may need to sign the next epoch: what signers
// signed before the copy was made is known to them alone.
func (c *recoverCmd) printReopening(s *stage, service *settlement.Service) error {
	if len(c.Signer) == 0 {
		return nil
	}
	v, err := service.Overview(s.ctx)
	if err != nil {
		return err
	}
	next := v.Sealed + 1
	if slices.ContainsFunc(v.Lanes, func(l settlement.LaneStatus) bool { return l.Name == "epoch" && l.Position > next }) {
		return nil // the mint is retired
	}
	s.print("next epoch %d: a co-signer that signed another memo of it before refuses this database's; once the chain shows that none landed, start that ionetd signer again with --reopen epoch=%d", next, next)
	return nil
}

// printHalt says why nothing, or no debt, is signed, and what ends that. It returns the
// reason, "" where nothing stops the network.
func (s *stage) printHalt(service *settlement.Service) (why string, err error) {
	if why, err = service.WhyHalted(s.ctx); err == nil && why != "" {
		s.print("%s", haltLine(why))
	}
	return why, err
}

func haltLine(why string) string {
	return "HALTED   " + why + ": nobody is paid before a person has looked, and ended it with ionetd resume --reason TEXT"
}

// notOver is the error of what was asked of the running service and is not done yet.
func (s *stage) notOver(service *settlement.Service, what, see string) error {
	why, err := service.WhyHalted(s.ctx)
	switch {
	case err != nil:
		return err
	case why != "":
		return fmt.Errorf("%s is not over: the network is halted, %s; it goes on after ionetd resume --reason TEXT", what, why)
	}
	return fmt.Errorf("%s is not over yet and goes on: is an ionetd serve running? see %s", what, see)
}

// checkWait refuses a time that is none.
func checkWait(d time.Duration) error {
	if d < 0 {
		return fmt.Errorf("--wait %s is negative: give a time such as 5m, or 0 to look once", d)
	}
	return nil
}

type statusCmd struct {
	place
}

// Help is shown below the flags.
func (c *statusCmd) Help() string {
	return `Shows who leads, the last sealed epoch, the policy in force, the price under a draw by target, what the vaults hold and
owe, why nothing is signed where that is so, how each --rpc and --signer answers, where each lane stands, signed
transactions whose outcome is open, and payees that payouts leave out for now.

Examples:
  ionetd status --dir keys --store published --rpc https://rpc.example --database postgres://localhost/ionet
  ionetd status                                   # with IONET_DIR, IONET_STORE, IONET_RPC and IONET_DATABASE set`
}

func (c *statusCmd) Run(s *stage) error {
	service, done, err := c.place.service(s)
	if err != nil {
		return err
	}
	defer done()
	v, err := service.Overview(s.ctx)
	if err != nil {
		return err
	}
	policies, err := service.Policies(s.ctx)
	if err != nil {
		return err
	}
	price, err := readPrice(s.ctx, service)
	if err != nil {
		return err
	}
	decimals := service.Network().Decimals
	leader := "nobody"
	if v.Lease > 0 {
		leader = fmt.Sprintf("instance %x, lease %d until %s", v.Leader, v.Lease, v.Expires.UTC().Format(time.RFC3339))
	}
	s.print("network   %s (%s), mint %s", service.Network().Name, ionet.Key(service.Network().ID()), service.Network().Mint)
	s.print("leader    %s", leader)
	s.print("sealed    epoch %d", v.Sealed)
	s.print("policy    %s", policyLine(policies))
	if price != "" {
		s.print("price     %s", price)
	}
	for _, line := range signerLines(service.Signers(s.ctx)) {
		s.print("signer    %s", line)
	}
	s.printVaults(v, decimals)
	if err := s.printLog(service); err != nil {
		return err
	}
	if v.Halted != "" {
		s.print("%s", haltLine(v.Halted))
	}
	for _, st := range v.Standings {
		s.print("books     %s at slot %d: %s", st.Books, st.Slot, st.Note)
	}
	for _, e := range service.Endpoints() {
		s.print("rpc       %s", endpointLine(e))
	}
	for _, l := range v.Lanes {
		s.print("lane      %-9s position %d, fenced %t", l.Name, l.Position, l.Fenced)
	}
	for _, a := range v.Live {
		if a.Signature == "" {
			a.Signature = "that its wallet has yet to sign"
		}
		s.print("open      %s %s, until height %d %s", a.Kind, a.Signature, a.LastValidHeight, a.Reason)
	}
	for _, h := range v.Held {
		s.print("held      %s until %s: %s", h.Payee, h.RetryAt.UTC().Format(time.RFC3339), h.Reason)
	}
	return nil
}

// printLog tells how far the receipt log has come, and what stops it.
func (s *stage) printLog(service *settlement.Service) error {
	if err := service.LookAtLog(s.ctx); err != nil {
		return err
	}
	log, err := service.Log(s.ctx)
	if err != nil {
		return err
	}
	sealed := uint64(0)
	if log.Sealed != nil {
		sealed = log.Sealed.Size
	}
	if log.Size > 0 || log.Published.Size > 0 {
		s.print("receipts  %s, %d published, %d sealed, fees of %s IO", count(int(log.Size), "record"), log.Published.Size, sealed, log.Fees.Tokens(service.Network().Decimals))
	}
	if log.Halted != "" {
		s.print("receipts  NOTHING is taken in: %s", log.Halted)
	}
	return nil
}

// printVaults tells what either vault holds, and for whom.
func (s *stage) printVaults(v settlement.Overview, decimals int) {
	t := func(a ionet.Amount) string { return a.Tokens(decimals) }
	s.print("vault     %s IO, of which %s owed, %s on the way and %s in suspense", t(v.Vault), t(v.Owed), t(v.InFlight), t(v.RewardSuspense))
	if !v.FeeVault.IsZero() {
		s.print("fee vault %s IO, of which %s of renters, %s set aside in sessions, %s asked back, %s of fees to pay, %s of the network and %s in suspense",
			t(v.FeeVault), t(v.Renters), t(v.Sessions), t(v.Withdrawing), t(v.Fees), t(v.NetworkFees), t(v.FeeSuspense))
	}
	if !v.Suspense.IsZero() {
		s.print("suspense  %s IO in all: see ionetd deposits", t(v.Suspense))
	}
	if v.Waiting > 0 {
		s.print("waiting   %s: see ionetd payouts", count(v.Waiting, "withdrawal"))
	}
}

// endpointLine tells how an endpoint answered this command's calls.
func endpointLine(e rpc.EndpointHealth) string {
	line := e.Host
	if e.Slot > 0 {
		line += fmt.Sprintf(", slot %d", e.Slot)
	}
	if e.Latency > 0 { // it has answered
		line += fmt.Sprintf(", answers in %s", e.Latency.Round(time.Millisecond))
	}
	switch {
	case e.InRow > 0:
		line += ", FAILS: " + e.Last
	case e.Behind:
		line += ", BEHIND the others"
	case !e.PausedTo.IsZero():
		line += ", asked to be left alone"
	}
	return line
}

// readPrice reads what priceLine tells.
func readPrice(ctx context.Context, service *settlement.Service) (string, error) {
	policy, err := service.Policy(ctx)
	if err != nil {
		return "", err
	}
	newest, err := service.Epochs(ctx, 1)
	if err != nil {
		return "", err
	}
	return priceLine(policy, newest, service.Network().Decimals), nil
}

// priceLine tells by which price the newest closed epoch drew, or that it had none;
// "" where neither it nor the policy in force draws by target.
func priceLine(policy *emissions.Policy, newest []settlement.Epoch, decimals int) string {
	line := ""
	switch {
	case len(newest) == 0 || newest[0].Draw != emissions.DrawTarget:
		if policy.Target == nil {
			return ""
		}
		line = "no epoch has closed by it yet"
	case newest[0].PriceEpoch == 0:
		line = fmt.Sprintf("MISSING: epoch %d closed without one, nothing of its %s IO is minted", newest[0].Epoch, newest[0].Emission.Tokens(decimals))
	default:
		line = fmt.Sprintf("$%d.%06d for a token, observed in epoch %d, for epoch %d", newest[0].MicroUSD/1_000_000, newest[0].MicroUSD%1_000_000, newest[0].PriceEpoch, newest[0].Epoch)
	}
	if policy.Target != nil {
		line += fmt.Sprintf("; %s observes it, with ionet price, and it holds for %s", policy.Target.Key, count(int(policy.Target.MaxAgeEpochs)+1, "epoch"))
	}
	return line
}

// count renders n things.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
