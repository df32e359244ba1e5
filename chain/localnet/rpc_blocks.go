package localnet

// blockAt returns the block of a slot that has reached a commitment, or the error of a
// validator that lacks it.
func (v *view) blockAt(slot uint64, c commitment) (*block, error) {
	if err := v.hasHistory(); err != nil {
		return nil, err
	}
	if slot > v.slotAt(c) {
		return nil, rpcErrorf(codeNotAvailable, "Block not available for slot %d", slot)
	}
	if slot < v.seen.HistoryFrom {
		return nil, rpcErrorf(codeCleanedUp, "Block %d cleaned up, does not exist on node. First available block: %d", slot, v.seen.HistoryFrom)
	}
	if v.blocks[slot].skipped {
		return nil, rpcErrorf(codeSkipped, "Slot %d was skipped, or missing due to ledger jump to recent snapshot", slot)
	}
	return &v.blocks[slot], nil
}

func getBlock(f *Front, p params) (any, error) {
	var slot uint64
	if err := p.into(0, &slot); err != nil {
		return nil, err
	}
	c, err := p.txConfigAt(1)
	if err != nil {
		return nil, err
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	v := f.view()
	blk, err := v.blockAt(slot, c.Commitment)
	if err != nil {
		return nil, err
	}
	return v.showBlock(blk, c, nil)
}

// showBlock shows a block with those of its transactions that keep accepts; nil: all.
func (b *bank) showBlock(blk *block, c txConfig, keep func(*record) bool) (any, error) {
	shown := map[string]any{
		"blockhash": blk.hash, "previousBlockhash": b.blocks[blk.parent].hash, "parentSlot": blk.parent,
		"blockTime": blk.time, "blockHeight": blk.height,
	}
	if c.Rewards == nil || *c.Rewards {
		shown["rewards"], shown["numRewardPartitions"] = []any{}, nil
	}
	txs, signatures := []any{}, []any{}
	for _, r := range blk.txs {
		if keep != nil && !keep(r) {
			continue
		}
		signatures = append(signatures, r.tx.id())
		if c.Details == "none" || c.Details == "signatures" {
			continue
		}
		tx, err := showTx(r, c)
		if err != nil {
			return nil, err
		}
		txs = append(txs, tx)
	}
	switch c.Details {
	case "", "full", "accounts":
		shown["transactions"] = txs
	case "signatures":
		shown["signatures"] = signatures
	case "none":
	default:
		return nil, invalid("unknown transactionDetails %q, expected full, accounts, signatures or none", c.Details)
	}
	return shown, nil
}

// maxBlocks is the longest range of slots that getBlocks answers.
const maxBlocks = 500_000

func getBlocks(f *Front, p params) (any, error) {
	var from uint64
	if err := p.into(0, &from); err != nil {
		return nil, err
	}
	config := 1
	var to *uint64
	if p.given(1) && p[1][0] != '{' { // the end may be left out before the config
		config = 2
		if err := p.into(1, &to); err != nil {
			return nil, err
		}
	} else if len(p) > 2 {
		config = 2
	}
	return f.listBlocks(p, config, from, to, maxBlocks)
}

func getBlocksWithLimit(f *Front, p params) (any, error) {
	var from, limit uint64
	if err := p.into(0, &from); err != nil {
		return nil, err
	}
	if err := p.into(1, &limit); err != nil {
		return nil, err
	}
	if limit > maxBlocks {
		return nil, rpcErrorf(codeParams, "Limit too large; max %d", maxBlocks)
	}
	return f.listBlocks(p, 2, from, nil, limit)
}

func (f *Front) listBlocks(p params, config int, from uint64, to *uint64, limit uint64) (any, error) {
	var c contextConfig
	if err := p.optional(config, &c); err != nil {
		return nil, err
	}
	if err := c.notBelowConfirmed(); err != nil {
		return nil, err
	}
	return f.read(p, config, func(v *view, slot uint64) (any, error) {
		last := slot
		if to != nil {
			last = min(last, *to)
			if *to > from && *to-from > maxBlocks {
				return nil, rpcErrorf(codeParams, "Slot range too large; max %d", maxBlocks)
			}
		}
		slots := []uint64{}
		for s := max(from, v.seen.HistoryFrom); s <= last && uint64(len(slots)) < limit; s++ {
			if !v.blocks[s].skipped {
				slots = append(slots, s)
			}
		}
		return slots, nil
	})
}

func getBlockTime(f *Front, p params) (any, error) {
	var slot uint64
	if err := p.into(0, &slot); err != nil {
		return nil, err
	}
	f.n.bank.mu.RLock()
	defer f.n.bank.mu.RUnlock()
	v := f.view()
	blk, err := v.blockAt(slot, confirmed)
	if err != nil {
		return nil, err
	}
	return blk.time, nil
}

// getBlockCommitment: nobody votes here, so no stake stands behind a block.
func getBlockCommitment(f *Front, p params) (any, error) {
	var slot uint64
	if err := p.into(0, &slot); err != nil {
		return nil, err
	}
	return map[string]any{"commitment": nil, "totalStake": 0}, nil
}
