package audit

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// findGenesis leads from the mint to the network file: the first transaction
// that mentions the genesis reference, mints this token and carries a genesis
// memo. Others can mention the reference too, but not mint.
func (a *auditor) findGenesis(ctx context.Context) error {
	reference := chain.GenesisReference(a.Mint)
	signatures, err := a.history(ctx, reference)
	if err != nil {
		return fmt.Errorf("read the history of the genesis reference %s: %w", reference, err)
	}
	for _, sig := range signatures {
		tx, err := a.transaction(ctx, sig)
		if err != nil {
			return fmt.Errorf("read transaction %s: %w", sig, err)
		}
		if tx.failed || tx.decoded == nil || tx.decoded.Plan.Kind != chain.KindGenesis || tx.decoded.Plan.Movements[0].Source != a.Mint {
			a.r.Foreign++
			continue
		}
		return a.readNetwork(ctx, tx)
	}
	a.r.skip(Genesis, "mint "+a.Mint.String(), "genesis", "a genesis transaction in the history of "+reference.String(), "none: no such network, or the RPC has pruned it")
	return errStop
}

// readNetwork fetches and checks the network file that the memo commits to.
func (a *auditor) readNetwork(ctx context.Context, tx *transaction) error {
	memo, err := proofs.ParseMemo(tx.decoded.Plan.Memo)
	genesis, ok := memo.(proofs.GenesisMemo)
	if err != nil || !ok {
		a.r.find(Genesis, tx.signature, "genesis-memo", "a genesis memo", tx.decoded.Plan.Memo)
		return errStop
	}
	name := publish.NetworkName(genesis.Network)
	file, err := a.Store.Get(ctx, name)
	if err != nil {
		a.r.skip(Genesis, name, "published", "the network file", err)
		return cmp.Or(ctx.Err(), errStop)
	}
	if !same(a.r, Genesis, name, "network-file", genesis.Network, ionet.HashOf(file)) {
		return errStop
	}
	if a.network, err = ionet.ParseNetwork(file); err != nil {
		a.r.find(Genesis, name, "network-file", "a network file", err)
		return errStop
	}
	a.r.Network, a.r.Decimals = genesis.Network, a.network.Decimals
	a.verifier = proofs.NewVerifier(genesis.Network, 1<<16)
	a.genesis = winner{lane: "epoch", tx: tx}
	a.Progress("network %s, %q, from %s", ionet.Key(genesis.Network), a.network.Name, tx.signature)
	return a.checkNetwork(ctx, genesis)
}

// checkNetwork derives again everything in the network file that can be derived.
func (a *auditor) checkNetwork(ctx context.Context, memo proofs.GenesisMemo) error {
	n, d := a.network, a.genesis.tx.decoded
	cluster, err := a.Chain.GenesisHash(ctx)
	if err != nil {
		return fmt.Errorf("read the cluster's genesis hash: %w", err)
	}
	same(a.r, Genesis, "cluster", "cluster", n.Cluster, cluster)
	same(a.r, Genesis, "mint", "mint", a.Mint, n.Mint)
	same(a.r, Genesis, "fee payer of genesis", "operator", n.Keys.Operator, d.FeePayer)
	same(a.r, Genesis, "minter of genesis", "operator", n.Keys.Operator, d.Plan.Owners[n.Mint])
	same(a.r, Genesis, "mint", "derivation", chain.MintAddress(n.Keys.Operator, chain.LaneAddress(n.Keys.Lane, "epoch")), n.Mint)
	a.checkAuthorities(d)
	for _, l := range n.Lanes {
		same(a.r, Genesis, "lane "+l.Name, "derivation", chain.LaneAddress(n.Keys.Lane, l.Name), l.Address)
	}
	for _, al := range n.Allocation {
		same(a.r, Genesis, "allocation "+al.Category, "derivation", chain.TokenAccount(al.Owner, n.Mint), al.Account)
	}
	a.checkAllocation(d)
	a.checkUnlocks()
	a.r.note("epochs of %d seconds and %d samples from %s on, genesis at %s", n.EpochSeconds, n.Samples,
		time.Unix(n.Start, 0).UTC().Format(time.RFC3339), time.Unix(a.genesis.tx.time, 0).UTC().Format(time.RFC3339))
	same(a.r, Genesis, "genesis memo", "schedule", n.Schedule.Hash, memo.Emission)
	if err := a.checkSchedule(); err != nil {
		return err
	}
	keys := []ionet.Key{n.Mint, n.Vaults.Reward, n.Vaults.Fee}
	for _, al := range n.Allocation {
		keys = append(keys, al.Account)
	}
	for _, l := range n.Lanes {
		keys = append(keys, l.Address)
	}
	for _, s := range n.Multisigs {
		keys = append(keys, s.Address)
	}
	if err := a.snapshot(ctx, keys); err != nil {
		return err
	}
	a.checkMultisigs()
	a.checkOwners()
	return nil
}

// checkAllocation compares what genesis minted with the network file, and the
// file's amounts with the two readings of the published percentages.
func (a *auditor) checkAllocation(d *chain.Decoded) {
	n := a.network
	if !same(a.r, Genesis, "genesis transaction", "allocation", len(n.Allocation), len(d.Plan.Movements)) {
		return
	}
	for i, al := range n.Allocation {
		m := d.Plan.Movements[i]
		same(a.r, Genesis, "allocation "+al.Category, "allocation",
			fmt.Sprintf("%s to %s", al.Amount, al.Account), fmt.Sprintf("%s to %s", m.Amount, m.Destination))
	}
	for _, reading := range []string{"of_genesis", "of_cap"} {
		shares, err := emissions.Allocate(reading, n.Schedule.Genesis, n.Schedule.Cap)
		if err == nil && equalShares(shares, n.Allocation) {
			a.r.note("the genesis supply is allocated by the published percentages, read %s", reading)
			return
		}
	}
	a.r.find(Genesis, "allocation", "allocation", "the shares of_genesis or of_cap", "others")
}

func equalShares(shares []emissions.Share, allocation []ionet.Allocation) bool {
	if len(shares) != len(allocation) {
		return false
	}
	for i, s := range shares {
		if s.Category != allocation[i].Category || s.Amount != allocation[i].Amount {
			return false
		}
	}
	return true
}

// checkUnlocks reads when each category may use its tokens; checkReleases and
// checkVaults hold what moves against it.
func (a *auditor) checkUnlocks() {
	var told []string
	for _, al := range a.network.Allocation {
		u, err := emissions.ParseUnlock(al.Unlock)
		if err != nil {
			a.r.find(Genesis, "allocation "+al.Category, "allocation", "an unlock of emissions/FORMAT.md section 2", err)
			continue
		}
		told = append(told, fmt.Sprintf("%s %s", al.Category, u))
	}
	a.r.note("unlocks by the network file: %s", strings.Join(told, ", "))
}

// checkSchedule prepares the schedule from its parameters and compares the hash
// of all its emissions with the one committed at genesis. A schedule that does
// not come to cap - genesis can't be prepared.
func (a *auditor) checkSchedule() error {
	var err error
	if a.schedule, err = emissions.New(emissions.ParamsOf(a.network.Schedule)); err != nil {
		a.r.find(Genesis, "schedule", "schedule", "a schedule that reaches its cap", err)
		return errStop
	}
	same(a.r, Genesis, "schedule", "schedule", a.network.Schedule.Hash, a.schedule.Hash())
	return nil
}
