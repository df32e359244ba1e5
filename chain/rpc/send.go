package rpc

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/ionet-settlement/ionet/chain"
)

// PreflightError is a refusal by simulation: the node did not forward the
// transaction this time. An earlier or later copy of it may land all the same.
type PreflightError struct {
	Err  *TransactionError
	Logs []string
}

func (e *PreflightError) Error() string { return "refused by simulation: " + e.Err.Error() }

func (e *PreflightError) Unwrap() error { return e.Err }

// UnknownError is an outcome that is not known: the transaction may or may not
// have been forwarded. Resend the same bytes, read the lane.
type UnknownError struct{ Cause error }

func (e *UnknownError) Error() string { return "outcome of sending is unknown: " + e.Cause.Error() }

func (e *UnknownError) Unwrap() error { return e.Cause }

// SendOptions modify Send.
type SendOptions struct {
	MinContextSlot uint64 // context slot of the blockhash
	SkipPreflight  bool
}

// Resend hands the same bytes to every endpoint: one that takes transactions and
// drops them in silence must not stand between us and the chain. It returns nil
// once one of them took it or knows it, else their errors.
func (c *Client) Resend(ctx context.Context, tx []byte, minContextSlot uint64) error {
	o := SendOptions{MinContextSlot: minContextSlot, SkipPreflight: true}
	errs := make([]error, len(c.endpoints))
	var all sync.WaitGroup
	for i, e := range c.endpoints {
		all.Go(func() { errs[i] = c.sendTo(ctx, e, tx, o) })
	}
	all.Wait()
	for _, err := range errs {
		if err == nil || errors.Is(err, ErrAlreadyProcessed) {
			return nil
		}
	}
	return errors.Join(errs...)
}

// Send hands a signed transaction to the endpoints in turn until one takes it,
// and returns nil (taken, which does not mean landed), *PreflightError,
// ErrBlockhashNotFound, ErrAlreadyProcessed or *UnknownError. Nodes are told
// not to rebroadcast it by themselves.
func (c *Client) Send(ctx context.Context, tx []byte, o SendOptions) error {
	var unheard error
	for _, e := range c.endpoints {
		err := c.sendTo(ctx, e, tx, o)
		var unknown *UnknownError
		if !errors.As(err, &unknown) {
			// A refusal after an unheard attempt may be the echo of its success.
			if err != nil && unheard != nil {
				return &UnknownError{errors.Join(unheard, err)}
			}
			return err
		}
		unheard = errors.Join(unheard, unknown.Cause)
	}
	return &UnknownError{unheard}
}

func (c *Client) sendTo(ctx context.Context, e *endpoint, tx []byte, o SendOptions) error {
	config := map[string]any{
		"encoding": "base64", "skipPreflight": o.SkipPreflight, "preflightCommitment": Confirmed, "maxRetries": 0,
	}
	if o.MinContextSlot > 0 {
		config["minContextSlot"] = o.MinContextSlot
	}
	return classify(c.call(ctx, e, nil, "sendTransaction", base64.StdEncoding.EncodeToString(tx), config))
}

func classify(err error) error {
	var node *Error
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &node) || node.Code != codePreflight:
		return &UnknownError{err}
	}
	var data struct {
		Err  *TransactionError `json:"err"`
		Logs []string          `json:"logs"`
	}
	if json.Unmarshal(node.Data, &data) != nil || data.Err == nil {
		return &UnknownError{err}
	}
	switch data.Err.Name {
	case "BlockhashNotFound":
		return ErrBlockhashNotFound
	case "AlreadyProcessed":
		return ErrAlreadyProcessed
	}
	return &PreflightError{data.Err, data.Logs}
}

// Status is what the cluster says of a signature.
type Status struct {
	Slot       uint64
	Commitment string // "processed", "confirmed" or "finalized"
	Err        *TransactionError
}

// maxStatuses is how many signatures getSignatureStatuses takes at once.
const maxStatuses = 256

// Statuses returns the status of each signature, nil where the endpoint knows
// none, which proves nothing.
func (c *Client) Statuses(ctx context.Context, signatures []chain.Signature) ([]*Status, error) {
	var all []*Status
	for part := range slices.Chunk(signatures, maxStatuses) {
		names := make([]string, len(part))
		for i, s := range part {
			names[i] = s.String()
		}
		var r withContext[[]*struct {
			Slot   uint64            `json:"slot"`
			Err    *TransactionError `json:"err"`
			Status string            `json:"confirmationStatus"`
		}]
		if err := c.read(ctx, &r, "getSignatureStatuses", names, map[string]bool{"searchTransactionHistory": true}); err != nil {
			return nil, err
		}
		if len(r.Value) != len(part) {
			return nil, fmt.Errorf("read statuses: asked for %d, got %d", len(part), len(r.Value))
		}
		for _, v := range r.Value {
			if v == nil {
				all = append(all, nil)
			} else {
				all = append(all, &Status{v.Slot, v.Status, v.Err})
			}
		}
	}
	return all, nil
}

// Simulation is what a transaction would do.
type Simulation struct {
	Err    *TransactionError // nil: it would succeed
	Units  uint64
	Loaded uint64 // bytes of accounts loaded; 0 where the node does not tell
	Logs   []string
}

// Simulate runs a transaction, which need not be signed, on confirmed state.
func (c *Client) Simulate(ctx context.Context, tx []byte, minContextSlot uint64) (Simulation, error) {
	config := map[string]any{"encoding": "base64", "commitment": Confirmed, "sigVerify": false, "replaceRecentBlockhash": false}
	if minContextSlot > 0 {
		config["minContextSlot"] = minContextSlot
	}
	var r withContext[struct {
		Err    *TransactionError `json:"err"`
		Units  uint64            `json:"unitsConsumed"`
		Loaded uint64            `json:"loadedAccountsDataSize"`
		Logs   []string          `json:"logs"`
	}]
	if err := c.read(ctx, &r, "simulateTransaction", base64.StdEncoding.EncodeToString(tx), config); err != nil {
		return Simulation{}, err
	}
	return Simulation{r.Value.Err, r.Value.Units, r.Value.Loaded, r.Value.Logs}, nil
}
