package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Limits of a body of statements. The service reads and answers MaxStatements or
// MaxBody bytes at a time; a body of no more is refused as a whole where it is torn.
const (
	MaxStatements = 1000
	MaxBody       = 1 << 20
	MaxStream     = 64 << 20 // bytes of a body, uncompressed
)

// StatementsMediaType is the Content-Type of a body of statements, LinesMediaType
// that of an answer with one Result a line, for senders that accept it.
const (
	StatementsMediaType = "application/octet-stream"
	LinesMediaType      = "application/x-ndjson"
)

// NetworkFile returns the network file and its exact bytes, whose hash is the
// network id. A caller that knows the id compares: the service is not trusted.
func (c *Client) NetworkFile(ctx context.Context) (*ionet.Network, []byte, error) {
	file, err := c.do(ctx, call{method: http.MethodGet, path: "/v1/network"})
	if err != nil {
		return nil, nil, err
	}
	n, err := ionet.ParseNetwork(file)
	if err != nil {
		return nil, nil, fmt.Errorf("read network file from %s: %w", c.server, err)
	}
	return n, file, nil
}

// Policy returns the exact bytes of the policy in force at the current epoch.
func (c *Client) Policy(ctx context.Context) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodGet, path: "/v1/policy"})
}

// Policies returns the genesis policy and all that were announced, in that order.
// The file of each is File("policies/<hash>.toml").
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	var out Policies
	err := c.get(ctx, &out, "/v1/policies")
	return out.Policies, err
}

// Head returns where the network and the service are.
func (c *Client) Head(ctx context.Context) (h Head, err error) {
	return h, c.get(ctx, &h, "/v1/head")
}

// Beacon returns a finalized block of that sample, or a *Problem BeaconNotReady.
func (c *Client) Beacon(ctx context.Context, epoch uint64, sample uint16) (b Beacon, err error) {
	return b, c.get(ctx, &b, "/v1/beacon?epoch=%d&sample=%d", epoch, sample)
}

// A Presented is a statement to hand in, with the ack that the service once gave for
// it, if the sender has one: it keeps its arrival when the service lost its memory.
type Presented struct {
	Statement proofs.Envelope
	Ack       *proofs.Envelope
}

// Submit hands in statements, of MaxStream bytes at most, and returns a result for
// each, in their order. A refused statement is a result with a Problem, not an error;
// where the service could not take all, the rest are results with a Problem that says
// Busy and has RetryAfter. With an error come the results of the first statements that
// the service answered before, if any.
func (c *Client) Submit(ctx context.Context, list []Presented) ([]Result, error) {
	if c.cfg.Network.IsZero() {
		return nil, errors.New("submit statements: the client has no network id")
	}
	var body []byte
	for _, p := range list {
		body = p.Statement.Append(body)
		if p.Ack != nil {
			body = p.Ack.Append(body)
		}
	}
	if len(body) > MaxStream {
		return nil, fmt.Errorf("submit statements: %d statements have %d bytes, at most %d are taken", len(list), len(body), MaxStream)
	}
	out, err := c.submit(ctx, body, len(list))
	var p *Problem
	if len(list) == 1 && errors.As(err, &p) && p.ours() && p.Status < 500 && p.Status != http.StatusTooManyRequests {
		return []Result{{ID: list[0].Statement.ID(), Status: Refused, Problem: p}}, nil
	}
	if err != nil {
		return nil, err
	}
	if len(out.Results) != len(list) && (out.Problem == nil || len(out.Results) > len(list)) {
		return nil, fmt.Errorf("submit statements: %d results for %d statements", len(out.Results), len(list))
	}
	for i, r := range out.Results {
		if id := list[i].Statement.ID(); r.ID != id {
			return nil, fmt.Errorf("submit statements: result %d is of %s, not of %s", i, r.ID, id)
		}
	}
	if out.Problem != nil {
		return out.Results, fmt.Errorf("submit statements: %w", out.Problem)
	}
	return out.Results, nil
}

// answerPerStatement is more bytes than the answer to one statement has.
const answerPerStatement = 8 << 10

// codingField is the field of refusals that the same body does not get uncompressed.
const codingField = "Content-Encoding"

// submit sends a body of n statements, compressed where that is worth it.
func (c *Client) submit(ctx context.Context, body []byte, n int) (out Results, err error) {
	r := call{
		method: http.MethodPost, path: "/v1/statements", media: StatementsMediaType,
		limit: maxAnswer + int64(n)*answerPerStatement, timeout: c.cfg.Timeout + time.Duration(n)*time.Millisecond,
	}
	r.body, r.coding = c.zip.compress(body)
	err = c.json(ctx, r, &out)
	p := (*Problem)(nil)
	if r.coding != "" && errors.As(err, &p) && (p.Status == http.StatusUnsupportedMediaType || p.Field == codingField) {
		// One that is short of decoders, or that finds it compressed too much, takes the next one.
		if p.Status == http.StatusUnsupportedMediaType {
			c.zip.refused.Store(true)
		}
		r.body, r.coding = body, ""
		err = c.json(ctx, r, &out)
	}
	return out, err
}

// Worker returns what the service has of a worker, or a *Problem UnknownWorker.
func (c *Client) Worker(ctx context.Context, worker ionet.Key) (w WorkerStatus, err error) {
	return w, c.get(ctx, &w, "/v1/workers/%s", worker)
}

// Epochs returns the latest epochs, the latest first; at most limit.
func (c *Client) Epochs(ctx context.Context, limit int) ([]Epoch, error) {
	var out Epochs
	err := c.get(ctx, &out, "/v1/epochs?limit=%d", limit)
	return out.Epochs, err
}

// Epoch returns one epoch, or a *Problem NotFound.
func (c *Client) Epoch(ctx context.Context, epoch uint64) (e Epoch, err error) {
	return e, c.get(ctx, &e, "/v1/epochs/%d", epoch)
}

// Price returns the price that was observed for an epoch, or a *Problem UnknownPrice.
func (c *Client) Price(ctx context.Context, epoch uint64) (p Price, err error) {
	return p, c.get(ctx, &p, "/v1/prices/%d", epoch)
}

// Verdicts returns all verdicts of an epoch.
func (c *Client) Verdicts(ctx context.Context, epoch uint64) (v Verdicts, err error) {
	return v, c.get(ctx, &v, "/v1/epochs/%d/verdicts", epoch)
}

// Device returns what became of a device in an epoch, with inclusion proofs.
func (c *Client) Device(ctx context.Context, device ionet.UUID, epoch uint64) (d DeviceEpoch, err error) {
	return d, c.get(ctx, &d, "/v1/devices/%s/epochs/%d", device, epoch)
}

// Rules returns the table of rules.
func (c *Client) Rules(ctx context.Context) ([]Rule, error) {
	var out Rules
	err := c.get(ctx, &out, "/v1/rules")
	return out.Rules, err
}

// Provider returns what a payout wallet has earned.
func (c *Client) Provider(ctx context.Context, wallet ionet.Key) (p Provider, err error) {
	return p, c.get(ctx, &p, "/v1/providers/%s", wallet)
}

// Payments returns the latest payments, the latest first; at most limit.
func (c *Client) Payments(ctx context.Context, limit int) ([]Payment, error) {
	var out Payments
	err := c.get(ctx, &out, "/v1/payments?limit=%d", limit)
	return out.Payments, err
}

// Payouts returns what goes out and what waits, with the newest limit transactions.
func (c *Client) Payouts(ctx context.Context, limit int) (p Payouts, err error) {
	return p, c.get(ctx, &p, "/v1/payouts?limit=%d", limit)
}

// PrepareClaim returns a transaction that pays the wallet what is claimable.
func (c *Client) PrepareClaim(ctx context.Context, wallet ionet.Key) (p Claim, err error) {
	return p, c.post(ctx, ClaimRequest{wallet}, &p, "/v1/claims")
}

// SubmitClaim hands in a claim that the wallet has signed.
func (c *Client) SubmitClaim(ctx context.Context, tx []byte) (s ClaimState, err error) {
	return s, c.post(ctx, ClaimSubmission{tx}, &s, "/v1/claims/submit")
}

// ClaimState returns where a claim is, or a *Problem UnknownClaim.
func (c *Client) ClaimState(ctx context.Context, message ionet.Hash) (s ClaimState, err error) {
	return s, c.get(ctx, &s, "/v1/claims/%s", message)
}

// OfferClaim returns a claim that wallet signs and sends by itself, as Solana Pay has
// it: once it is asked for, that claim is live.
func (c *Client) OfferClaim(ctx context.Context, wallet ionet.Key) (p PayTransaction, err error) {
	return p, c.post(ctx, PayRequest{wallet}, &p, "/v1/pay/claim")
}

// File returns a published file, such as a book; the caller checks it from its name.
func (c *Client) File(ctx context.Context, name string) ([]byte, error) {
	return c.do(ctx, call{method: http.MethodGet, path: "/files/" + name, limit: maxFile})
}
