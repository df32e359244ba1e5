package localnet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gagliardetto/solana-go"
)

// held is a transaction that was accepted and lands later: in slot, or, with last set,
// in the last block that its blockhash permits.
type held struct {
	tx      *wireTx
	slot    uint64
	last    bool
	failure *txError // forced outcome, nil: as it comes
}

// hold keeps a transaction for later. One that is held already stays as it is, so
// that whoever sends again changes nothing.
func (b *bank) hold(h held) {
	if !slices.ContainsFunc(b.held, func(o held) bool { return o.tx.hash == h.tx.hash }) {
		b.held = append(b.held[:len(b.held):len(b.held)], h)
	}
}

// due reports whether a held transaction lands in the open block, or, because its
// blockhash is gone, never.
func (b *bank) due(h held) bool {
	if !h.last {
		return b.open() >= h.slot
	}
	from, ok := b.byHash[h.tx.Message.RecentBlockhash]
	return !ok || b.blocks[b.open()].height > b.blocks[from].height+maxAge
}

// landHeld runs what is due in the open block.
func (b *bank) landHeld() error {
	var rest []held
	for i, h := range b.held {
		if !b.due(h) {
			rest = append(rest, h)
			continue
		}
		if err := b.land(h.tx, h.failure); err != nil {
			b.held = append(rest, b.held[i+1:]...)
			return err
		}
	}
	b.held = rest
	return nil
}

// release makes every held transaction due now.
func (b *bank) release() error {
	b.held = slices.Clone(b.held)
	for i := range b.held {
		b.held[i].slot, b.held[i].last = 0, false
	}
	return b.landHeld()
}

// fail lands a transaction with a forced failure: its fee is charged and nothing else
// of it happens, as when an instruction fails. One that can't be charged leaves no trace.
func (b *bank) fail(t *wireTx, failure *txError) (*record, *txError, error) {
	slot, payer, fee := b.open(), t.keys[0], messageFee(&t.Message)
	before := b.accounts.at(payer, slot)
	if before == nil || before.Lamports < fee {
		return nil, errShortOfFee, nil
	}
	r := &record{tx: t, slot: slot, index: len(b.blocks[slot].txs), err: failure, fee: fee}
	r.outcome = outcome{Logs: []string{"Program log: failed by the local chain: " + failure.text}}
	r.pre, r.preTok = b.balances(t, nil)
	after := *before
	after.Lamports -= fee
	if err := b.set(map[solana.PublicKey]*Account{payer: &after}); err != nil {
		return nil, nil, err
	}
	r.post, r.postTok = b.balances(t, nil)
	b.record(r)
	return r, nil, nil
}

// record appends a transaction that landed to the open block and to history.
func (b *bank) record(r *record) {
	blk := &b.blocks[r.slot]
	blk.txs = append(blk.txs, r)
	b.history.add(r)
	b.wake()
}

// errShortOfFee is what a fee payer without lamports gets.
var errShortOfFee = &txError{"InsufficientFundsForFee", text("InsufficientFundsForFee")}

// TxError is how a transaction fails, in the RPC's form: the name of an error without
// fields ("AccountInUse"), or {"InstructionError":[index, name or {"Custom":number}]}.
// The zero value is {"InstructionError":[0,{"Custom":1}]}.
type TxError struct{ err *txError }

func (e TxError) orDefault() *txError {
	if e.err == nil {
		return errLied
	}
	return e.err
}

// IsZero reports whether the default is meant.
func (e TxError) IsZero() bool { return e.err == nil }

// MarshalJSON writes the RPC's form.
func (e TxError) MarshalJSON() ([]byte, error) { return e.orDefault().MarshalJSON() }

// InstructionFailure is the error {"InstructionError":[index,{"Custom":code}]}.
func InstructionFailure(index int, code uint32) TxError {
	return TxError{customError(index, code)}
}

func customError(index int, code uint32) *txError {
	return &txError{
		map[string]any{"InstructionError": []any{index, map[string]uint32{"Custom": code}}},
		fmt.Sprintf("Error processing Instruction %d: custom program error: 0x%x", index, code),
	}
}

// UnmarshalJSON reads the RPC's form.
func (e *TxError) UnmarshalJSON(b []byte) error {
	var name string
	if json.Unmarshal(b, &name) == nil {
		if !slices.Contains(transactionErrors[:], name) {
			return fmt.Errorf("unknown transaction error %q, expected one of %s, or {\"InstructionError\":[index, error]}", name, strings.Join(transactionErrors[:], ", "))
		}
		e.err = &txError{name, text(name)}
		return nil
	}
	var o struct {
		At [2]json.RawMessage `json:"InstructionError"`
	}
	var index int
	if json.Unmarshal(b, &o) != nil || json.Unmarshal(o.At[0], &index) != nil || index < 0 {
		return fmt.Errorf("read transaction error %s: expected a name or {\"InstructionError\":[index, error]}", b)
	}
	var custom struct{ Custom *uint32 }
	if json.Unmarshal(o.At[1], &custom) == nil && custom.Custom != nil {
		e.err = customError(index, *custom.Custom)
		return nil
	}
	if json.Unmarshal(o.At[1], &name) != nil || !slices.Contains(instructionErrors[:], name) {
		return fmt.Errorf("read transaction error %s: unknown instruction error, expected {\"Custom\": code} or one of %s", b, strings.Join(instructionErrors[:], ", "))
	}
	e.err = &txError{map[string]any{"InstructionError": []any{index, name}}, fmt.Sprintf("Error processing Instruction %d: %s", index, text(name))}
	return nil
}
