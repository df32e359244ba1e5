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

	Mint     ionet.Key               // the token; zero without movements, but in a retire
	Decimals uint8                   // of the token
	Owners   map[ionet.Key]ionet.Key // source of a movement, or the mint to retire -> who signs for it (vault owner, mint authority)

	// Cosigners says which members sign where the one of Owners is a multisig
	// account, ascending; nil where it is a key.
	Cosigners map[ionet.Key][]ionet.Key

	Reference            ionet.Key   // genesis only: GenesisReference(Mint)
	HandMintTo           ionet.Key   // genesis only, or zero: the multisig that is the mint authority from then on
	CreateDestinationFor ionet.Key   // claim only, or zero: the wallet whose associated account is made first
	Wallets              []ionet.Key // unlock only, one for each movement: the wallet whose associated account it goes to, made first where it is missing

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
	if p.Kind == KindRetire {
		return p.checkRetire()
	}
	if len(p.Movements) == 0 {
		if !p.Mint.IsZero() || p.Decimals != 0 || len(p.Owners)+len(p.Cosigners) != 0 {
			return errors.New("mint, decimals, owners or cosigners are set without movements")
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
	return p.checkCosigners(owner)
}

// checkRetire: the mint's authority gives itself up, and nothing else is named.
func (p Plan) checkRetire() error {
	authority := p.Owners[p.Mint]
	if p.Mint.IsZero() || authority.IsZero() || len(p.Owners) != 1 || p.Decimals != 0 {
		return errors.New("mint or its authority is missing, or more is set")
	}
	if p.isLaneKey(p.Mint) || p.isLaneKey(authority) || p.isLaneKey(p.FeePayer) || p.Mint == p.FeePayer || p.Mint == authority {
		return errors.New("mint, authority or fee payer is a lane or one-time key, or the mint signs")
	}
	return p.checkCosigners(authority)
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
	if to := p.HandMintTo; !to.IsZero() {
		if p.Kind != KindGenesis {
			return fmt.Errorf("%s gives the mint away", p.Kind)
		}
		if to == p.Mint || to == p.FeePayer || p.isLaneKey(to) {
			return errors.New("the mint is given to itself, its present authority, a lane or a one-time key")
		}
	}
	if w := p.CreateDestinationFor; !w.IsZero() {
		if p.Kind != KindClaim {
			return fmt.Errorf("%s creates a token account", p.Kind)
		}
		if TokenAccount(w, p.Mint) != p.Movements[0].Destination {
			return errors.New("the account to create is not the claim's destination")
		}
	}
	return p.checkWallets()
}

// checkWallets: an unlock goes to associated accounts, and names whose they are.
func (p Plan) checkWallets() error {
	if p.Kind != KindUnlock {
		if len(p.Wallets) > 0 {
			return fmt.Errorf("%s makes token accounts", p.Kind)
		}
		return nil
	}
	if len(p.Wallets) != len(p.Movements) {
		return fmt.Errorf("unlock names %d wallets for %d movements", len(p.Wallets), len(p.Movements))
	}
	for i, w := range p.Wallets {
		if w.IsZero() || p.isLaneKey(w) || slices.Contains(p.Wallets[:i], w) || TokenAccount(w, p.Mint) != p.Movements[i].Destination {
			return fmt.Errorf("movement %d goes to another account than that of its wallet, or to one twice", i)
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
		for _, k := range p.authorityOf(source).signers() {
			if !slices.Contains(keys, k) {
				keys = append(keys, k)
			}
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
	for _, list := range p.Cosigners {
		units += (100 + 100*len(list)) * (1 + len(p.Movements))
	}
	if !p.CreateDestinationFor.IsZero() {
		units += 60_000
	}
	units += 60_000 * len(p.Wallets)
	if p.Kind == KindClaim {
		units += 60_000 // room for the assertions that a wallet may append
	}
	return Budget{ComputeUnits: uint32(units), LoadedBytes: 1 << 20}
}

func compareKeys(a, b ionet.Key) int { return slices.Compare(a[:], b[:]) }
