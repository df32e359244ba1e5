package localnet

import (
	"slices"

	"github.com/gagliardetto/solana-go"
)

// apiVersion is the validator version whose RPC this follows.
const apiVersion = "4.0.0"

func getVersion(*Front, params) (any, error) {
	return map[string]any{"solana-core": apiVersion, "feature-set": 0}, nil
}

func getHealth(*Front, params) (any, error) { return "ok", nil }

func getGenesisHash(f *Front, _ params) (any, error) { return f.n.bank.genesis, nil }

func getIdentity(f *Front, _ params) (any, error) {
	return map[string]any{"identity": f.n.identity}, nil
}

func getSlotLeader(f *Front, p params) (any, error) {
	return f.read(p, 0, func(*view, uint64) (any, error) { return f.n.identity, nil })
}

// getSlotLeaders: one leader makes every block.
func getSlotLeaders(f *Front, p params) (any, error) {
	var start, limit uint64
	if err := p.into(0, &start); err != nil {
		return nil, err
	}
	if err := p.into(1, &limit); err != nil {
		return nil, err
	}
	if limit < 1 || limit > 5000 {
		return nil, rpcErrorf(codeParams, "Invalid limit; max 5000")
	}
	leaders := make([]solana.PublicKey, limit)
	for i := range leaders {
		leaders[i] = f.n.identity
	}
	return leaders, nil
}

// getAgGenesisCert: finality here is that of TowerBFT, so there is no such certificate.
func getAgGenesisCert(*Front, params) (any, error) { return nil, nil }

func getSlot(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, slot uint64) (any, error) { return v.claimed(slot), nil })
}

func getBlockHeight(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, slot uint64) (any, error) { return v.claimed(v.blocks[slot].height), nil })
}

func getTransactionCount(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, slot uint64) (any, error) {
		return v.transactions(slot), nil
	})
}

func getEpochInfo(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, slot uint64) (any, error) {
		said := v.claimed(slot)
		return map[string]uint64{
			"absoluteSlot": said, "blockHeight": v.claimed(v.blocks[slot].height), "epoch": said / slotsPerEpoch,
			"slotIndex": said % slotsPerEpoch, "slotsInEpoch": slotsPerEpoch, "transactionCount": v.transactions(slot),
		}, nil
	})
}

func getEpochSchedule(*Front, params) (any, error) {
	return map[string]any{
		"slotsPerEpoch": slotsPerEpoch, "leaderScheduleSlotOffset": slotsPerEpoch,
		"warmup": false, "firstNormalEpoch": 0, "firstNormalSlot": 0,
	}, nil
}

func getClusterNodes(f *Front, _ params) (any, error) {
	return []any{map[string]any{
		"pubkey": f.n.identity, "rpc": f.address, "pubsub": f.address, "gossip": nil, "tpu": nil,
		"tpuQuic": nil, "version": apiVersion, "featureSet": 0, "shredVersion": 0,
	}}, nil
}

// getVoteAccounts: nobody votes here.
func getVoteAccounts(*Front, params) (any, error) {
	return map[string]any{"current": []any{}, "delinquent": []any{}}, nil
}

func getFirstAvailableBlock(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, _ uint64) (any, error) { return v.seen.HistoryFrom, nil })
}

func getLatestBlockhash(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, slot uint64) (any, error) {
		hash, last := v.hashFor(slot)
		return v.context(slot, map[string]any{"blockhash": hash, "lastValidBlockHeight": last}), nil
	})
}

func isBlockhashValid(f *Front, p params) (any, error) {
	k, err := p.key(0)
	if err != nil {
		return nil, err
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		return v.context(slot, v.knows(solana.Hash(k), slot)), nil
	})
}

// getFeeForMessage answers null when the message's blockhash has expired.
func getFeeForMessage(f *Front, p params) (any, error) {
	var s string
	if err := p.into(0, &s); err != nil {
		return nil, err
	}
	b, err := decodeWire(s, "base64")
	if err != nil {
		return nil, err
	}
	m, err := parseMessage(b)
	if err != nil {
		return nil, invalid("message: %v", err)
	}
	return f.read(p, 1, func(v *view, slot uint64) (any, error) {
		if !v.knows(m.RecentBlockhash, slot) {
			return v.context(slot, nil), nil
		}
		return v.context(slot, messageFee(m)), nil
	})
}

// getRecentPrioritizationFees answers, for each of the newest 150 slots, the lowest
// price of a transaction that wrote all the given addresses; 0 when there is none.
func getRecentPrioritizationFees(f *Front, p params) (any, error) {
	var texts []string
	if err := p.optional(0, &texts); err != nil {
		return nil, err
	}
	if len(texts) > 128 {
		return nil, invalid("Too many inputs provided; max 128")
	}
	var keys []solana.PublicKey
	for _, t := range texts {
		k, err := parseKey(t)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	v := f.view()
	type fee struct {
		Slot uint64 `json:"slot"`
		Fee  uint64 `json:"prioritizationFee"`
	}
	fees := []fee{}
	for s := v.confirmed(); s > 0 && len(fees) < 150; s = v.blocks[s].parent {
		fees = append(fees, fee{s, lowestPrice(v.blocks[s].txs, keys)})
	}
	slices.Reverse(fees)
	return fees, nil
}

func lowestPrice(txs []*record, keys []solana.PublicKey) uint64 {
	lowest, found := ^uint64(0), false
	for _, r := range txs {
		if writesAll(r.tx, keys) {
			lowest, found = min(lowest, unitPrice(&r.tx.Message)), true
		}
	}
	if !found {
		return 0
	}
	return lowest
}

func writesAll(t *wireTx, keys []solana.PublicKey) bool {
	for _, k := range keys {
		i := slices.Index(t.keys, k)
		if i < 0 || !t.writable(i) {
			return false
		}
	}
	return true
}

// getRecentPerformanceSamples answers one sample, over the newest slots.
func getRecentPerformanceSamples(f *Front, _ params) (any, error) {
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	const window = 300
	last := f.view().confirmed()
	first := last - min(last, window)
	var count int
	for s := first + 1; s <= last; s++ {
		count += len(f.n.bank.blocks[s].txs)
	}
	return []any{map[string]any{
		"slot": last, "numSlots": last - first, "numTransactions": count, "numNonVoteTransactions": count,
		"samplePeriodSecs": max(1, f.n.bank.blocks[last].time-f.n.bank.blocks[first].time),
	}}, nil
}

// getSupply counts what genesis made; nothing circulates but the faucet's gifts.
func getSupply(f *Front, p params) (any, error) {
	return f.read(p, 0, func(v *view, slot uint64) (any, error) {
		var total, held uint64
		for k := range v.accounts.now {
			if a := v.account(k, slot); a != nil {
				total = addSaturating(total, a.Lamports)
			}
		}
		if a := v.account(f.n.faucet.PublicKey(), slot); a != nil {
			held = a.Lamports
		}
		return v.context(slot, map[string]any{
			"total": total, "circulating": total - held, "nonCirculating": held,
			"nonCirculatingAccounts": []any{f.n.faucet.PublicKey()},
		}), nil
	})
}
