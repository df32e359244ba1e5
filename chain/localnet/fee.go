package localnet

import (
	"encoding/binary"
	"math/bits"

	"github.com/gagliardetto/solana-go"
)

const (
	lamportsPerSignature = 5000
	maxComputeUnits      = 1_400_000
	defaultUnits         = 200_000
	builtinUnits         = 3_000
)

// budget is what a message asks of the compute budget.
type budget struct {
	limit    uint32
	hasLimit bool
	price    uint64 // micro-lamports per unit
}

// readBudget reads the compute-budget instructions of a legacy or v0 message.
func readBudget(m *solana.Message) (b budget) {
	for _, ix := range m.Instructions {
		if m.AccountKeys[ix.ProgramIDIndex] != solana.ComputeBudget || len(ix.Data) == 0 {
			continue
		}
		switch arg := ix.Data[1:]; {
		case ix.Data[0] == 2 && len(arg) >= 4:
			b.limit, b.hasLimit = binary.LittleEndian.Uint32(arg), true
		case ix.Data[0] == 3 && len(arg) >= 8:
			b.price = binary.LittleEndian.Uint64(arg)
		}
	}
	return b
}

// units is the compute-unit limit in force: as asked, or by the programs called.
func (b budget) units(m *solana.Message) uint64 {
	if b.hasLimit {
		return min(uint64(b.limit), maxComputeUnits)
	}
	var n uint64
	for _, ix := range m.Instructions {
		if builtins[m.AccountKeys[ix.ProgramIDIndex]] {
			n += builtinUnits
		} else {
			n += defaultUnits
		}
	}
	return min(n, maxComputeUnits)
}

// messageFee is what the runtime charges for a message, in lamports:
//
//	5,000 x signatures + priority
//	priority = ceil(price x units / 10^6), in a v1 message its config's lamports
//
// where the signatures checked by precompiles count too. It saturates.
func messageFee(m *solana.Message) uint64 {
	fee := uint64(m.Header.NumRequiredSignatures) * lamportsPerSignature
	for _, ix := range m.Instructions {
		if precompiles[m.AccountKeys[ix.ProgramIDIndex]] && len(ix.Data) > 0 {
			fee += uint64(ix.Data[0]) * lamportsPerSignature
		}
	}
	if m.GetVersion() == solana.MessageVersionV1 {
		if p := m.TransactionConfig.PriorityFee; p != nil {
			return addSaturating(fee, *p)
		}
		return fee
	}
	b := readBudget(m)
	hi, lo := bits.Mul64(b.price, b.units(m))
	lo, carry := bits.Add64(lo, 999_999, 0)
	hi += carry
	if hi >= 1_000_000 {
		return ^uint64(0)
	}
	priority, _ := bits.Div64(hi, lo, 1_000_000)
	return addSaturating(fee, priority)
}

// unitPrice is the priority fee per compute unit in micro-lamports, as
// getRecentPrioritizationFees reports it.
func unitPrice(m *solana.Message) uint64 {
	if m.GetVersion() != solana.MessageVersionV1 {
		return readBudget(m).price
	}
	c := m.TransactionConfig
	if c.PriorityFee == nil || c.ComputeUnitLimit == nil || *c.ComputeUnitLimit == 0 {
		return 0
	}
	hi, lo := bits.Mul64(*c.PriorityFee, 1_000_000)
	if hi >= uint64(*c.ComputeUnitLimit) {
		return ^uint64(0)
	}
	price, _ := bits.Div64(hi, lo, uint64(*c.ComputeUnitLimit))
	return price
}

func addSaturating(a, b uint64) uint64 {
	if s := a + b; s >= a {
		return s
	}
	return ^uint64(0)
}
