package rpc

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Errors on which callers branch.
var (
	// ErrNotFound: the endpoint knows no such transaction or account at the
	// commitment asked for. It may still come to know it.
	ErrNotFound = errors.New("not found on chain")
	// ErrSkipped: the slot has no block.
	ErrSkipped = errors.New("slot has no block")
	// ErrNoBlock: no finalized block has a time in the range, and the chain is
	// past it, so none ever will.
	ErrNoBlock = errors.New("no block has a time in this range")
	// ErrNotYet: the finalized chain has not reached the range.
	ErrNotYet = errors.New("the finalized chain is not there yet")
	// ErrDisagree: endpoints tell different things of what is final. One of them is
	// wrong; which is not decided here.
	ErrDisagree = errors.New("endpoints disagree")
	// ErrBlockhashNotFound: the node that was asked does not know the blockhash
	// (any more, or yet). Resend; only CheckDead can tell which.
	ErrBlockhashNotFound = errors.New("blockhash not found")
	// ErrAlreadyProcessed: the node knows the transaction already.
	ErrAlreadyProcessed = errors.New("transaction is already processed")
)

// Error is a JSON-RPC error object: the node understood and refused.
type Error struct {
	Code    int             `json:"code"`
	Message string          `json:"message"`
	Data    json.RawMessage `json:"data"`
}

func (e *Error) Error() string { return fmt.Sprintf("node answers %d: %.300s", e.Code, e.Message) }

// Codes of Agave's JSON-RPC.
const (
	codeCleanedUp        = -32001
	codePreflight        = -32002
	codeBlockUnavailable = -32004
	codeUnhealthy        = -32005
	codeSkipped          = -32007
	codeSkippedLongTerm  = -32009
	codeNoHistory        = -32011
	codeStatusUnknown    = -32014
	codeMinContextSlot   = -32016
	codeLongTermDown     = -32019
	codeInternal         = -32603
)

// TransportError is an answer that never came, or is none of JSON-RPC.
type TransportError struct {
	Status int           // HTTP status, 0 where there was no answer
	After  time.Duration // what a 429 asked for, at most 5 s
	Cause  error
}

func (e *TransportError) Error() string {
	if e.Status != 0 {
		return fmt.Sprintf("HTTP %d: %v", e.Status, e.Cause)
	}
	return e.Cause.Error()
}

func (e *TransportError) Unwrap() error { return e.Cause }

// retryable reports whether another endpoint, or this one later, may answer.
func retryable(err error) bool {
	var node *Error
	if !errors.As(err, &node) {
		return true
	}
	switch node.Code {
	case codeCleanedUp, codeLongTermDown, codeSkippedLongTerm, codeBlockUnavailable, codeUnhealthy, codeNoHistory, codeStatusUnknown, codeMinContextSlot, codeInternal:
		return true
	}
	return false
}

func retryAfter(err error) time.Duration {
	var t *TransportError
	if errors.As(err, &t) {
		return t.After
	}
	return 0
}

func isCode(err error, codes ...int) bool {
	var node *Error
	if errors.As(err, &node) {
		for _, c := range codes {
			if node.Code == c {
				return true
			}
		}
	}
	return false
}

// TransactionError is why a transaction failed, as the runtime says it.
type TransactionError struct {
	Name        string  // such as "InstructionError" or "InsufficientFundsForFee"
	Instruction int     // index of the instruction that failed, or -1
	Reason      string  // of an InstructionError, such as "InvalidAccountData" or "Custom"
	Custom      *uint32 // the program's own number where Reason is "Custom"
}

func (e *TransactionError) Error() string {
	switch {
	case e.Custom != nil:
		return fmt.Sprintf("instruction %d failed with the program's error %d", e.Instruction, *e.Custom)
	case e.Instruction >= 0:
		return fmt.Sprintf("instruction %d failed: %s", e.Instruction, e.Reason)
	}
	return "transaction failed: " + e.Name
}

// UnmarshalJSON reads the forms "Name", {"InstructionError":[i,"Reason"]},
// {"InstructionError":[i,{"Custom":n}]} and {"Name":detail}.
func (e *TransactionError) UnmarshalJSON(b []byte) error {
	*e = TransactionError{Instruction: -1}
	if json.Unmarshal(b, &e.Name) == nil {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(b, &object); err != nil || len(object) != 1 {
		return fmt.Errorf("transaction error %.100q has an unknown form", b)
	}
	for name, detail := range object {
		e.Name = name
		if name == "InstructionError" {
			return e.parseInstruction(detail)
		}
	}
	return nil
}

func (e *TransactionError) parseInstruction(detail []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(detail, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("instruction error %.100q has an unknown form", detail)
	}
	if err := json.Unmarshal(pair[0], &e.Instruction); err != nil || e.Instruction < 0 {
		return fmt.Errorf("instruction error %.100q has an unknown form", detail)
	}
	if json.Unmarshal(pair[1], &e.Reason) == nil {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(pair[1], &object); err != nil || len(object) != 1 {
		return fmt.Errorf("instruction error %.100q has an unknown form", detail)
	}
	for reason, number := range object {
		e.Reason = reason
		if reason == "Custom" {
			return json.Unmarshal(number, &e.Custom)
		}
	}
	return nil
}
