package localnet

import (
	"slices"

	"github.com/gagliardetto/solana-go"
)

// apiVersion is the validator version whose RPC this follows.
const apiVersion = "4.0.0"

func getVersion(*Node, params) (any, error) {
	return map[string]any{"solana-core": apiVersion, "feature-set": 0}, nil
}

func getHealth(*Node, params) (any, error) { return "ok", nil }

func getGenesisHash(n *Node, _ params) (any, error) { return n.bank.genesis, nil }

func getIdentity(n *Node, _ params) (any, error) {
	return map[string]any{"identity": n.identity}, nil
}

func getSlotLeader(n *Node, p params) (any, error) {
	return n.read(p, 0, func(uint64) (any, error) { return n.identity, nil })
}

// getSlotLeaders: one leader makes every block.
func getSlotLeaders(n *Node, p params) (any, error) {
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
		leaders[i] = n.identity
	}
	return leaders, nil
}

// getAgGenesisCert: finality here is that of TowerBFT, so there is no such certificate.
func getAgGenesisCert(*Node, params) (any, error) { return nil, nil }

func getSlot(n *Node, p params) (any, error) {
	return n.read(p, 0, func(slot uint64) (any, error) { return slot, nil })
}

func getBlockHeight(n *Node, p params) (any, error) {
	return n.read(p, 0, func(slot uint64) (any, error) { return n.bank.blocks[slot].height, nil })
}

func getTransactionCount(n *Node, p params) (any, error) {
	return n.read(p, 0, func(slot uint64) (any, error) {
		count := n.bank.history.count
		for s := slot + 1; s <= n.bank.open(); s++ {
			count -= uint64(len(n.bank.blocks[s].txs))
		}
		return count, nil
	})
}

func getEpochInfo(n *Node, p params) (any, error) {
	return n.read(p, 0, func(slot uint64) (any, error) {
		count := n.bank.history.count
		for s := slot + 1; s <= n.bank.open(); s++ {
			count -= uint64(len(n.bank.blocks[s].txs))
		}
		return map[string]uint64{
			"absoluteSlot": slot, "blockHeight": n.bank.blocks[slot].height, "epoch": slot / slotsPerEpoch,
			"slotIndex": slot % slotsPerEpoch, "slotsInEpoch": slotsPerEpoch, "transactionCount": count,
		}, nil
	})
}

func getEpochSchedule(*Node, params) (any, error) {
	return map[string]any{
		"slotsPerEpoch": slotsPerEpoch, "leaderScheduleSlotOffset": slotsPerEpoch,
		"warmup": false, "firstNormalEpoch": 0, "firstNormalSlot": 0,
	}, nil
}

func getClusterNodes(n *Node, _ params) (any, error) {
	return []any{map[string]any{
		"pubkey": n.identity, "rpc": n.address, "pubsub": n.address, "gossip": nil, "tpu": nil,
		"tpuQuic": nil, "version": apiVersion, "featureSet": 0, "shredVersion": 0,
	}}, nil
}

// getVoteAccounts: nobody votes here.
func getVoteAccounts(*Node, params) (any, error) {
	return map[string]any{"current": []any{}, "delinquent": []any{}}, nil
}

func getFirstAvailableBlock(*Node, params) (any, error) { return 0, nil }

func getLatestBlockhash(n *Node, p params) (any, error) {
	return n.read(p, 0, func(slot uint64) (any, error) {
		hash, last := n.bank.hashFor(slot)
		return inContext(slot, map[string]any{"blockhash": hash, "lastValidBlockHeight": last}), nil
	})
}

func isBlockhashValid(n *Node, p params) (any, error) {
	k, err := p.key(0)
	if err != nil {
		return nil, err
	}
	return n.read(p, 1, func(slot uint64) (any, error) {
		return inContext(slot, n.bank.knows(solana.Hash(k), slot)), nil
	})
}

// getFeeForMessage answers null when the message's blockhash has expired.
func getFeeForMessage(n *Node, p params) (any, error) {
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
	return n.read(p, 1, func(slot uint64) (any, error) {
		if !n.bank.knows(m.RecentBlockhash, slot) {
			return inContext(slot, nil), nil
		}
		return inContext(slot, messageFee(m)), nil
	})
}

// getRecentPrioritizationFees answers, for each of the newest 150 slots, the lowest
// price of a transaction that wrote all the given addresses; 0 when there is none.
func getRecentPrioritizationFees(n *Node, p params) (any, error) {
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
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	type fee struct {
		Slot uint64 `json:"slot"`
		Fee  uint64 `json:"prioritizationFee"`
	}
	fees := []fee{}
	for s := n.bank.confirmed(); s > 0 && len(fees) < 150; s = n.bank.blocks[s].parent {
		fees = append(fees, fee{s, lowestPrice(n.bank.blocks[s].txs, keys)})
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
func getRecentPerformanceSamples(n *Node, _ params) (any, error) {
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	const window = 300
	last := n.bank.confirmed()
	first := last - min(last, window)
	var count int
	for s := first + 1; s <= last; s++ {
		count += len(n.bank.blocks[s].txs)
	}
	return []any{map[string]any{
		"slot": last, "numSlots": last - first, "numTransactions": count, "numNonVoteTransactions": count,
		"samplePeriodSecs": max(1, n.bank.blocks[last].time-n.bank.blocks[first].time),
	}}, nil
}

// getSupply counts what genesis made; nothing circulates but the faucet's gifts.
func getSupply(n *Node, p params) (any, error) {
	return n.read(p, 0, func(slot uint64) (any, error) {
		var total, held uint64
		for k := range n.bank.accounts.now {
			if a := n.bank.accounts.at(k, slot); a != nil {
				total = addSaturating(total, a.Lamports)
			}
		}
		if a := n.bank.accounts.at(n.faucet.PublicKey(), slot); a != nil {
			held = a.Lamports
		}
		return inContext(slot, map[string]any{
			"total": total, "circulating": total - held, "nonCirculating": held,
			"nonCirculatingAccounts": []any{n.faucet.PublicKey()},
		}), nil
	})
}
