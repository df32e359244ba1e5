package localnet

import (
	"github.com/gagliardetto/solana-go"
)

// record is a transaction that landed, with success or not.
type record struct {
	tx        *wireTx
	slot      uint64
	index     int // in its block
	err       *txError
	fee       uint64
	pre, post []uint64 // lamports, by account key
	preTok    []tokenBalance
	postTok   []tokenBalance
	outcome
}

// tokenBalance is the token account at one account key, before or after.
type tokenBalance struct {
	index   int
	mint    solana.PublicKey
	owner   solana.PublicKey
	program solana.PublicKey
	amount  uint64
	decimal uint8
}

// history is every landed transaction of the present fork, oldest first.
type history struct {
	byID      map[solana.Signature]*record
	byMessage map[[32]byte]*record // what duplicates are told by, as a validator does
	byAddress map[solana.PublicKey][]*record
	count     uint64
}

func newHistory() *history {
	return &history{
		byID:      map[solana.Signature]*record{},
		byMessage: map[[32]byte]*record{},
		byAddress: map[solana.PublicKey][]*record{},
	}
}

func (h *history) add(r *record) {
	h.byID[r.tx.id()] = r
	h.byMessage[r.tx.hash] = r
	for _, k := range r.tx.keys {
		h.byAddress[k] = append(h.byAddress[k], r)
	}
	h.count++
}

// drop removes records that a fork undid. They must be the newest, in order.
func (h *history) drop(records []*record) {
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		delete(h.byID, r.tx.id())
		delete(h.byMessage, r.tx.hash)
		for _, k := range r.tx.keys {
			list := h.byAddress[k]
			if n := len(list); n > 0 && list[n-1] == r {
				h.byAddress[k] = list[: n-1 : n-1] // a snapshot may hold the last one
			}
		}
		h.count--
	}
}

// landed returns the record of a message if it lies at or before slot.
func (h *history) landed(message [32]byte, slot uint64) *record {
	if r := h.byMessage[message]; r != nil && r.slot <= slot {
		return r
	}
	return nil
}
