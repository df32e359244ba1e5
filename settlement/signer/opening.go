package signer

import (
	"bytes"
	"encoding/binary"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// maxRent bounds the lamports that a lane's account may be given: more than an SPL
// mint needed when rent was at its highest.
const maxRent = 2_000_000

// judgeOpening allows the opening of this network's lanes, each with the key of its
// position 0. The message is rebuilt from what it says and compared byte for byte.
// It takes no position, and on the chain it succeeds once, so nothing of it is kept
// but its cost.
func (p *Policy) judgeOpening(r Request, unsigned []byte, signers []ionet.Key, v view) (verdict, *Refusal) {
	n := p.Network
	if v.lane == nil || !v.ours(n.Keys.Lane) {
		return verdict{}, refuse("position", "lanes", "no position is told, and this signer does not open lanes")
	}
	raw, err := chain.ParseRaw(unsigned, nil, nil)
	if err != nil {
		return verdict{}, refuse("form", "message", "%v", err)
	}
	o, rent, ok := readOpening(raw, n.Keys.Lane)
	if !ok || o.FeePayer != n.Keys.Operator {
		return verdict{}, refuse("form", "message", "no position is told, and it is no opening of lanes paid by the operator")
	}
	for _, l := range o.Lanes {
		address, known := n.Lane(l.Name)
		if !known || address != chain.LaneAddress(n.Keys.Lane, l.Name) {
			return verdict{}, refuse("lane", "message", "it opens %.40q, which is no lane of this network", l.Name)
		}
		if l.First != v.lane(chain.FirstC(address)) {
			return verdict{}, refuse("lane-key", "message", "lane %s would begin with another key than that of position 0", l.Name)
		}
		if l.Lamports > maxRent {
			return verdict{}, refuse("rent", "message", "lane %s would be given %d lamports, more than %d", l.Name, l.Lamports, maxRent)
		}
	}
	again, err := o.Message()
	if err != nil || !bytes.Equal(again, r.Message) {
		return verdict{}, refuse("form", "message", "it is not exactly an opening of lanes")
	}
	if o.Budget.PriorityLamports > p.MaxPriority {
		return verdict{}, refuse("priority-fee", "budget", "a priority fee of %d lamports is above the ceiling of %d", o.Budget.PriorityLamports, p.MaxPriority)
	}
	return verdict{signers: signers, lamports: rent + o.Budget.PriorityLamports + signatureFee*uint64(len(signers))}, nil
}

// readOpening reads what an opening would say, loosely: whoever calls it builds the
// opening again and compares. rent is the sum of the lamports given.
func readOpening(raw *chain.Raw, laneKey ionet.Key) (o chain.Opening, rent uint64, ok bool) {
	ins := raw.Instructions
	if len(ins) < 5 || len(ins[0].Data) != 5 || len(ins[1].Data) != 9 || len(ins[2].Data) != 5 {
		return o, 0, false
	}
	price := binary.LittleEndian.Uint64(ins[1].Data[1:])
	if price > 1<<40 {
		return o, 0, false
	}
	b := chain.Budget{ComputeUnits: binary.LittleEndian.Uint32(ins[0].Data[1:]), LoadedBytes: binary.LittleEndian.Uint32(ins[2].Data[1:])}
	b.PriorityLamports = (price*uint64(b.ComputeUnits) + 999_999) / 1_000_000
	o = chain.Opening{FeePayer: raw.FeePayer, LaneKey: laneKey, Blockhash: raw.Blockhash, Budget: b}
	for ins = ins[3:]; len(ins) > 0; {
		var l chain.NewLane
		if len(ins[0].Data) == 12 { // a transfer of the lamports that the address lacks
			l.Lamports, ins = binary.LittleEndian.Uint64(ins[0].Data[4:]), ins[1:]
		}
		if len(ins) < 2 || len(ins[1].Data) < 34 {
			return o, 0, false
		}
		l.Name, ok = seedOf(ins[0].Data)
		if !ok {
			return o, 0, false
		}
		copy(l.First[:], ins[1].Data[2:])
		o.Lanes, rent, ins = append(o.Lanes, l), rent+min(l.Lamports, maxRent), ins[2:]
	}
	return o, rent, true
}

// seedOf returns the seed of an AllocateWithSeed: tag u32, base, length u64, seed,
// space u64, owner.
func seedOf(data []byte) (string, bool) {
	const before, after = 4 + 32 + 8, 8 + 32
	if len(data) < before+after {
		return "", false
	}
	seed := data[before : len(data)-after]
	return string(seed), binary.LittleEndian.Uint64(data[36:]) == uint64(len(seed))
}
