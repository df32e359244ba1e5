package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// Config names what an audit looks at.
type Config struct {
	Chain    *rpc.Client                      // any RPC of the cluster, with history
	Store    publish.Reader                   // the published files
	Mint     ionet.Key                        // the token: the only thing an auditor has to know
	Progress func(format string, args ...any) // nil: silent
}

// errStop ends an audit whose next steps would rest on what does not hold; the
// finding is in the report.
var errStop = errors.New("the audit can't go on")

// auditor is one walk over one network.
type auditor struct {
	Config
	*source
	r *Report

	network  *ionet.Network
	schedule *emissions.Schedule
	verifier *proofs.Verifier
	genesis  winner              // position 0 of the epoch lane
	lanes    map[string][]winner // the steps of each lane, in order
	known    map[string]winner   // the same by signature
	sealed   uint64              // last sealed epoch
	retired  bool                // the mint authority was given up

	heard   map[ionet.Key]uint64    // worker -> last epoch in which it or its inventory was heard
	former  *proofs.Book            // the book of the former epoch; nil where it does not hold
	credits []credit                // what payees earned, in order of the chain
	payees  map[ionet.Key]ionet.Key // token account -> payee
	lost    []winner                // seals whose book could not be read: what it says and owes is unknown

	arrivals map[ionet.Hash]proofs.Arrival // of statements that are in several books
	prices   map[observed]ionet.Hash       // price statements of the books so far

	firstPolicy  proofs.PolicyChange   // by genesis; version 0 until a book has the file
	announced    []proofs.SealedPolicy // in the order of the books
	newestPolicy uint32                // greatest version of these
	inForce      proofs.PolicyChange   // at the epoch that is replayed

	revoked  map[revocation]uint64            // epoch in which each first arrived
	feesLost bool                             // records of the log are missing
	fees     *feeLedger                       // as the receipt log makes it
	policies map[ionet.Hash]*emissions.Policy // files that fees were divided by; nil where there is none
}

// winner is a step that landed: the content of one position of one lane.
type winner struct {
	lane    string
	content chain.Content
	tx      *transaction
}

// credit is what one epoch owes one payee.
type credit struct {
	slot   uint64
	epoch  uint64
	payee  ionet.Key
	amount ionet.Amount
}

// Run audits the network of cfg.Mint from genesis to the finalized head. The
// error is for an audit that could not run at all (no RPC, cancelled); all else
// is in the report.
func Run(ctx context.Context, cfg Config) (*Report, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(string, ...any) {}
	}
	a := &auditor{
		Config: cfg, source: newSource(cfg.Chain, cfg.Mint), r: &Report{Notes: []string{}, Findings: []Finding{}, Unchecked: []Finding{}},
		lanes: map[string][]winner{}, known: map[string]winner{}, payees: map[ionet.Key]ionet.Key{}, heard: map[ionet.Key]uint64{},
		arrivals: map[ionet.Hash]proofs.Arrival{}, prices: map[observed]ionet.Hash{}, policies: map[ionet.Hash]*emissions.Policy{}, revoked: map[revocation]uint64{},
	}
	for _, step := range []func(context.Context) error{
		a.findGenesis, a.walkLanes, a.replayEpochs, a.checkPayments, a.checkReleases, a.checkSeals, a.checkDeposits, a.checkFees, a.checkVaults, a.checkSigners, a.checkMultisigUse, a.checkSupply,
	} {
		err := step(ctx)
		if errors.Is(err, errStop) {
			return a.r, nil
		}
		if err != nil {
			return a.r, fmt.Errorf("audit: %w", err)
		}
	}
	return a.r, nil
}

// isLost reports whether the book of epoch k could not be read.
func (a *auditor) isLost(k uint64) bool {
	return slices.ContainsFunc(a.lost, func(w winner) bool { return w.content.N == k })
}
