package chain

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ionet-settlement/ionet"
)

// MaxSteps is the largest number of lanes that one fence or skip passes.
const MaxSteps = 10

// Step hands a lane from the one-time key of a position to that of the next.
type Step struct {
	Lane ionet.Key
	From ionet.Key // public half of K(n)
	To   ionet.Key // public half of K(n+1)
}

// Budget is what a transaction may use and pays beyond the base fee.
type Budget struct {
	ComputeUnits     uint32 // limit; the runtime ends a transaction that needs more
	LoadedBytes      uint32 // limit of account data loaded, programs included
	PriorityLamports uint64 // priority fee in lamports; v0 carries it as a price per unit, rounded down
}

// maxUnits is the runtime's limit of a transaction's compute units.
const maxUnits = 1_400_000

// price is PriorityLamports as v0 says it: micro-lamports per compute unit.
func (b Budget) price() uint64 {
	if b.ComputeUnits == 0 {
		return 0
	}
	return b.PriorityLamports * 1_000_000 / uint64(b.ComputeUnits)
}

func (b Budget) check() error {
	switch {
	case b.ComputeUnits == 0 || b.ComputeUnits > maxUnits:
		return fmt.Errorf("compute unit limit %d is not in 1..%d", b.ComputeUnits, maxUnits)
	case b.LoadedBytes == 0:
		return errors.New("loaded account data limit is 0")
	case b.PriorityLamports > 10_000_000_000:
		return fmt.Errorf("priority fee of %d lamports is above 10 SOL", b.PriorityLamports)
	}
	return nil
}

// Plan is a transaction before it has bytes: proofs/FORMAT.md, section 11.
type Plan struct {
	Kind      Kind
	Version   int       // 0 or 1
	FeePayer  ionet.Key // the operator; in a claim the wallet
	Steps     []Step    // one; up to MaxSteps in a fence or skip
	Movements []Movement
	Memo      string

	Mint     ionet.Key               // the token; zero without movements
	Decimals uint8                   // of the token
	Owners   map[ionet.Key]ionet.Key // source of a movement -> who signs for it (vault owner, mint authority)

	Reference            ionet.Key // genesis only: GenesisReference(Mint)
	CreateDestinationFor ionet.Key // claim only, or zero: the wallet whose associated account is made first

	Blockhash ionet.Key
	Budget    Budget
}

// Check returns an error that names the rule of section 11 that p breaks.
func (p Plan) Check() error {
	if p.Version != 0 && p.Version != 1 {
		return fmt.Errorf("version %d is neither 0 nor 1", p.Version)
	}
	if p.FeePayer.IsZero() || p.Blockhash.IsZero() {
		return errors.New("fee payer or blockhash is missing")
	}
	if err := checkShape(p.Kind, p.Movements, p.Memo); err != nil {
		return err
	}
	if err := errors.Join(p.checkSteps(), p.Budget.check()); err != nil {
		return err
	}
	return errors.Join(p.checkMovements(), p.checkExtras())
}

func (p Plan) checkSteps() error {
	limit := 1
	if p.Kind == KindFence || p.Kind == KindSkip {
		limit = MaxSteps
	}
	if len(p.Steps) == 0 || len(p.Steps) > limit {
		return fmt.Errorf("%s has %d lane steps, want 1..%d", p.Kind, len(p.Steps), limit)
	}
	seen := map[ionet.Key]bool{}
	for i, s := range p.Steps {
		for _, k := range []ionet.Key{s.Lane, s.From, s.To} {
			if k.IsZero() || seen[k] {
				return fmt.Errorf("step %d names a key twice, or none", i)
			}
			seen[k] = true
		}
		if s.From == p.FeePayer || s.To == p.FeePayer {
			return fmt.Errorf("step %d is by or to the fee payer: a one-time key pays nothing", i)
		}
	}
	return nil
}

// checkMovements also holds "a payload names no lane": nothing that a
// movement touches may be a lane or one-time key of the same transaction.
func (p Plan) checkMovements() error {
	if len(p.Movements) == 0 {
		if !p.Mint.IsZero() || p.Decimals != 0 || len(p.Owners) != 0 {
			return errors.New("mint, decimals or owners are set without movements")
		}
		return nil
	}
	source := p.Movements[0].Source
	owner, ok := p.Owners[source]
	if p.Mint.IsZero() || !ok || owner.IsZero() || len(p.Owners) != 1 {
		return errors.New("mint is missing, or owners are not exactly that of the source")
	}
	if (p.Movements[0].Op == Mint) != (source == p.Mint) {
		return errors.New("source of a mint is not the mint, or that of a transfer is")
	}
	if p.Decimals > ionet.MaxDecimals {
		return fmt.Errorf("decimals %d is above %d", p.Decimals, ionet.MaxDecimals)
	}
	for i, m := range p.Movements {
		if m.Destination == p.Mint || m.Destination == owner || m.Destination == p.FeePayer {
			return fmt.Errorf("movement %d goes to the mint or to a signer", i)
		}
		if p.isLaneKey(m.Destination) {
			return fmt.Errorf("movement %d names a lane", i)
		}
	}
	if p.isLaneKey(source) || p.isLaneKey(p.Mint) || p.isLaneKey(owner) || p.isLaneKey(p.FeePayer) {
		return errors.New("source, mint, owner or fee payer is a lane or one-time key")
	}
	return nil
}

func (p Plan) isLaneKey(k ionet.Key) bool {
	return slices.ContainsFunc(p.Steps, func(s Step) bool { return k == s.Lane || k == s.From || k == s.To })
}

func (p Plan) checkExtras() error {
	if p.Kind == KindGenesis && p.Reference != GenesisReference(p.Mint) {
		return errors.New("genesis reference is not that of the mint")
	}
	if p.Kind != KindGenesis && !p.Reference.IsZero() {
		return fmt.Errorf("%s has a genesis reference", p.Kind)
	}
	if w := p.CreateDestinationFor; !w.IsZero() {
		if p.Kind != KindClaim {
			return fmt.Errorf("%s creates a token account", p.Kind)
		}
		if TokenAccount(w, p.Mint) != p.Movements[0].Destination {
			return errors.New("the account to create is not the claim's destination")
		}
	}
	return nil
}

// Signers returns the keys that must sign, the fee payer first.
func (p Plan) Signers() []ionet.Key {
	keys := []ionet.Key{p.FeePayer}
	for _, s := range p.Steps {
		keys = append(keys, s.From)
	}
	for _, source := range slices.SortedFunc(maps.Keys(p.Owners), compareKeys) {
		if owner := p.Owners[source]; !slices.Contains(keys, owner) {
			keys = append(keys, owner)
		}
	}
	return keys
}

// Content returns what the plan does at position n of one of its lanes.
func (p Plan) Content(lane ionet.Key, n uint64, c ionet.Hash) (Content, error) {
	if !slices.ContainsFunc(p.Steps, func(s Step) bool { return s.Lane == lane }) {
		return Content{}, fmt.Errorf("%s does not step lane %s", p.Kind, lane)
	}
	return Content{Kind: p.Kind, Lane: lane, N: n, C: c, Movements: p.Movements, Memo: p.Memo}, nil
}

// DefaultBudget returns limits that suffice for p with stock programs, without
// a priority fee. Measured on the real SVM: 57 transfers need about 6,400
// units; creating an associated account up to some 50,000 (its bump search).
func (p Plan) DefaultBudget() Budget {
	units := 5_000 + 1_000*len(p.Steps) + 600*len(p.Movements) + 12*len(p.Memo)
	if !p.CreateDestinationFor.IsZero() {
		units += 60_000
	}
	if p.Kind == KindClaim {
		units += 60_000 // room for the assertions that a wallet may append
	}
	return Budget{ComputeUnits: uint32(units), LoadedBytes: 1 << 20}
}

func compareKeys(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) }
