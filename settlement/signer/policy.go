package signer

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
)

// Policy is what a Server signs. It is a function of the request, the time and the
// public halves of lane keys: nothing in it depends on what was signed before,
// which is the journal's part.
type Policy struct {
	Network  *ionet.Network
	Schedule *emissions.Schedule // that of Network; recomputed by the signer, not told to it

	// Limits bounds, for payout, fees, claim, withdrawal and unlock, how many base units
	// may leave in a Window. A kind that is not in it is not signed.
	Limits map[chain.Kind]ionet.Amount
	Window time.Duration

	MaxPriority uint64 // lamports of priority fee of one transaction
	MaxUnits    uint32 // its compute unit limit
	MaxLamports uint64 // lamports of fees and rent that our fee payer may spend in a Window
}

// shortest is the shortest window: what was signed before it can't land in it, unless the
// chain stands still.
const shortest = 5 * time.Minute

// limited are the kinds that a window limits, in the order in which they are shown.
var limited = []chain.Kind{chain.KindPayout, chain.KindClaim, chain.KindWithdrawal, chain.KindUnlock, chain.KindFees}

// check returns an error that names what is missing or contradicts the network.
func (p *Policy) check() error {
	switch {
	case p.Network == nil || p.Schedule == nil:
		return errors.New("signer policy: network or schedule is missing")
	case p.Schedule.Hash() != p.Network.Schedule.Hash:
		return fmt.Errorf("signer policy: the schedule has hash %s, the network file says %s", p.Schedule.Hash(), p.Network.Schedule.Hash)
	case p.Window < shortest:
		return fmt.Errorf("signer policy: a window of %s is shorter than %s, and so than a transaction may live", p.Window, shortest)
	}
	for kind := range p.Limits {
		if !slices.Contains(limited, kind) {
			return fmt.Errorf("signer policy: a limit for %s has no meaning", kind)
		}
	}
	return nil
}

// entry is what the journal remembers of one position that was signed.
type entry struct {
	kind    chain.Kind
	lane    ionet.Key
	n       uint64
	c       ionet.Hash   // C(n)
	content ionet.Hash   // H(content)
	next    ionet.Hash   // C(n+1)
	amount  ionet.Amount // base units that leave, or are minted, if it lands
	from    ionet.Key    // K(n) as the transaction has it; of a co-signer only, who can't derive it
	memo    ionet.Hash   // H of an epoch's memo
	prev    ionet.Hash   // H of the memo before it, as this one has it; not in the journal
}

// verdict is what a request that the policy allows would do.
type verdict struct {
	message  ionet.Hash // H of the bytes
	signers  []ionet.Key
	entries  []entry // one for each lane step
	lamports uint64  // what it may cost the operator
}

// view is what judge may know beside the request.
type view struct {
	now  time.Time
	ours func(ionet.Key) bool               // whether a money key is one of this signer's
	lane func(c ionet.Hash) (key ionet.Key) // public half of K(n); nil for a co-signer
}

// judge decides on r: a verdict, or the first rule that it breaks.
func (p *Policy) judge(r Request, v view) (verdict, *Refusal) {
	unsigned, signers, err := chain.SignMessage(r.Message)
	if err != nil {
		return verdict{}, refuse("form", "message", "%v", err)
	}
	if len(r.Lanes) == 0 {
		return p.judgeOpening(r, unsigned, signers, v)
	}
	d, err := chain.Decode(unsigned)
	if err != nil {
		return verdict{}, refuse("form", "message", "%v", err)
	}
	entries, refusal := p.judgeSteps(d, r.Lanes, v)
	if refusal == nil {
		refusal = p.judgePayload(d, entries, v)
	}
	if refusal == nil {
		refusal = p.judgeFees(d, v)
	}
	if refusal != nil {
		return verdict{}, refusal
	}
	out := verdict{message: ionet.HashOf(r.Message), signers: signers, entries: entries}
	if d.FeePayer == p.Network.Keys.Operator {
		out.lamports = costOf(d)
	}
	return out, nil
}

// judgeSteps recomputes the content of each lane that the transaction steps; the
// keys that it steps between must be those of C(n) and C(n+1).
func (p *Policy) judgeSteps(d *chain.Decoded, lanes []Position, v view) ([]entry, *Refusal) {
	if len(lanes) != len(d.Plan.Steps) {
		return nil, refuse("position", "lanes", "%d positions are told, the transaction steps %d lanes", len(lanes), len(d.Plan.Steps))
	}
	var entries []entry
	for i, step := range d.Plan.Steps {
		at := lanes[i]
		name, known := p.Network.LaneName(step.Lane)
		switch {
		case !known:
			return nil, refuse("lane", "message", "lane %s is none of this network's", step.Lane)
		case at.Lane != step.Lane:
			return nil, refuse("position", "lanes", "position %d is that of lane %s, step %d is of %s", i, at.Lane, i, step.Lane)
		case !belongs(d.Plan.Kind, name):
			return nil, refuse("lane", "message", "a %s does not belong on lane %s", d.Plan.Kind, name)
		case at.N == 0 && at.C != chain.FirstC(step.Lane):
			return nil, refuse("position", "lanes", "C(0) of %s is another", name)
		}
		content, err := d.Content(step.Lane, at.N, at.C)
		if err == nil {
			err = content.Check()
		}
		if err != nil {
			return nil, refuse("form", "message", "%v", err)
		}
		e := entry{kind: content.Kind, lane: step.Lane, n: at.N, c: at.C, content: content.Hash(), next: content.Next()}
		if v.lane == nil {
			e.from = step.From
		}
		if v.lane != nil && (step.From != v.lane(e.c) || step.To != v.lane(e.next)) {
			return nil, refuse("lane-key", "message", "%s is not stepped from the key of position %d to the one that this content leads to", name, at.N)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// belongs is the table of proofs/FORMAT.md, section 9: which kinds a lane carries.
// Genesis is missing: it is signed where the keys are made.
func belongs(kind chain.Kind, lane string) bool {
	pay, claim := strings.HasPrefix(lane, "pay-"), strings.HasPrefix(lane, "claim-")
	switch kind {
	case chain.KindFence:
		return pay || claim
	case chain.KindEpoch, chain.KindRetire:
		return lane == "epoch"
	case chain.KindSeal, chain.KindReceipts:
		return lane == "seal"
	case chain.KindPayout, chain.KindWithdrawal, chain.KindUnlock, chain.KindFees:
		return pay
	case chain.KindClaim:
		return claim
	case chain.KindSkip:
		return lane != "epoch"
	}
	return false
}

// signatureFee is the chain's base fee, lamports for each signature.
const signatureFee = 5000

// judgeFees holds the ceilings of what our fee payer spends. A claim's fee is its
// wallet's, whose budget is then not ours to judge.
func (p *Policy) judgeFees(d *chain.Decoded, v view) *Refusal {
	b := d.Plan.Budget
	operator := p.Network.Keys.Operator
	if d.Plan.Kind == chain.KindClaim {
		if d.FeePayer == operator || v.ours(d.FeePayer) {
			return refuse("fee-payer", "signers", "a claim's fee is paid by its wallet, not by a key of ours")
		}
		return nil
	}
	switch {
	case d.FeePayer != operator:
		return refuse("fee-payer", "signers", "the fee payer is %s, not the operator", d.FeePayer)
	case b.PriorityLamports > p.MaxPriority:
		return refuse("priority-fee", "budget", "a priority fee of %d lamports is above the ceiling of %d", b.PriorityLamports, p.MaxPriority)
	case b.ComputeUnits > p.MaxUnits:
		return refuse("compute", "budget", "a limit of %d compute units is above the ceiling of %d", b.ComputeUnits, p.MaxUnits)
	}
	return nil
}

// accountRent bounds the rent of a token account that an unlock makes: what 165 bytes
// cost when rent was at its highest.
const accountRent = 2_100_000

// costOf bounds what a transaction takes from its fee payer: fees, which are due
// where it fails too, and the rent of the accounts that it may make.
func costOf(d *chain.Decoded) uint64 {
	return d.Plan.Budget.PriorityLamports + signatureFee*uint64(len(d.Signers)) + accountRent*uint64(len(d.Plan.Wallets))
}
