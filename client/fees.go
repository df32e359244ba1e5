package client

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// Offers returns what workers offer for a model, or for all with "", the cheapest of
// each model first; at most limit, or as many as the service likes with 0.
func (c *Client) Offers(ctx context.Context, model string, limit int) ([]ListedOffer, error) {
	q := url.Values{}
	if model != "" {
		q.Set("model", model)
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	var out Offers
	err := c.get(ctx, &out, "/v1/offers?%s", q.Encode())
	return out.Offers, err
}

// Session returns a session and its channels, or a *Problem UnknownSession.
func (c *Client) Session(ctx context.Context, id ionet.Hash) (s Session, err error) {
	return s, c.get(ctx, &s, "/v1/sessions/%s", id)
}

// SessionsOf returns the sessions of a renter's wallet or of a session key, the latest
// first; none for a key that nobody knows.
func (c *Client) SessionsOf(ctx context.Context, key ionet.Key) ([]Session, error) {
	var out Sessions
	err := c.get(ctx, &out, "/v1/keys/%s/sessions", key)
	return out.Sessions, err
}

// SessionText returns the text that a renter's wallet signs.
func (c *Client) SessionText(ctx context.Context, ask SessionAsk) (t SessionText, err error) {
	q := url.Values{"renter": {ask.Renter.String()}, "key": {ask.Key.String()}, "reserve": {ask.Reserve.String()}}
	for _, most := range ask.Caps {
		q.Add("cap", fmt.Sprintf("%s=%s/%d", most.Model, most.Price, most.Per))
	}
	if ask.Issued != 0 {
		q.Set("issued", strconv.FormatInt(ask.Issued, 10))
	}
	if ask.Expires != 0 {
		q.Set("expires", strconv.FormatInt(ask.Expires, 10))
	}
	return t, c.get(ctx, &t, "/v1/sessions/text?%s", q.Encode())
}

// FeeRules returns the table of rules by which jobs and channels are refused.
func (c *Client) FeeRules(ctx context.Context) ([]Rule, error) {
	var out Rules
	err := c.get(ctx, &out, "/v1/rules/fees")
	return out.Rules, err
}

// Channel returns a channel, or a *Problem UnknownChannel.
func (c *Client) Channel(ctx context.Context, channel ionet.Key) (s Channel, err error) {
	return s, c.get(ctx, &s, "/v1/channels/%s", channel)
}

// Receipt returns a receipt with what proves it, by the job's id, 32 hexadecimal digits,
// or by the id of its statement, 64 digits; or a *Problem UnknownReceipt.
func (c *Client) Receipt(ctx context.Context, id string) (r Receipt, err error) {
	return r, c.get(ctx, &r, "/v1/receipts/%s", url.PathEscape(id))
}

// ReceiptsAsk asks for a renter's receipts.
type ReceiptsAsk struct {
	Renter ionet.Key
	Reader ed25519.PrivateKey // of the wallet, or of one of its sessions
	After  uint64             // Next of the page before; 0: from the beginning
	Limit  int                // receipts of a page; 0: as many as the service likes
}

// ReceiptsPage returns one page of a renter's receipts. The request is signed by the
// reader; a key that is neither the wallet nor of its sessions gets a *Problem
// Unauthorized.
func (c *Client) ReceiptsPage(ctx context.Context, ask ReceiptsAsk) (p ReceiptsPage, err error) {
	q := url.Values{}
	if ask.After > 0 {
		q.Set("after", strconv.FormatUint(ask.After, 10))
	}
	if ask.Limit > 0 {
		q.Set("limit", strconv.Itoa(ask.Limit))
	}
	path := "/v1/renters/" + ask.Renter.String() + "/receipts"
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	return p, c.read(ctx, ask.Reader, path, &p)
}

// Receipts yields the pages of a renter's receipts to the last. Receipts that are out of
// order are an error.
func (c *Client) Receipts(ctx context.Context, ask ReceiptsAsk) iter.Seq2[ReceiptsPage, error] {
	return func(yield func(ReceiptsPage, error) bool) {
		for {
			p, err := c.ReceiptsPage(ctx, ask)
			if err == nil {
				err = p.follows(ask.After)
			}
			if !yield(p, err) || err != nil || p.Next == 0 {
				return
			}
			ask.After = p.Next
		}
	}
}

// follows checks that the page's receipts ascend from after on.
func (p ReceiptsPage) follows(after uint64) error {
	for _, r := range p.Receipts {
		if r.Index < after {
			return fmt.Errorf("read receipts: the one at %d is out of order", r.Index)
		}
		after = r.Index + 1
	}
	if p.Next != 0 && (len(p.Receipts) == 0 || p.Next < after) {
		return errors.New("read receipts: the page that follows is not after this one")
	}
	return nil
}

// read is get with a signed request.
func (c *Client) read(ctx context.Context, key ed25519.PrivateKey, path string, out any) error {
	if c.cfg.Network.IsZero() {
		return fmt.Errorf("GET %s: the client has no network id to sign for", path)
	}
	if len(key) != ed25519.PrivateKeySize {
		return fmt.Errorf("GET %s: the reader's key is missing", path)
	}
	header := proofs.SignRead(c.cfg.Network, key, time.Now(), http.MethodGet, path)
	return c.json(ctx, call{method: http.MethodGet, path: path, read: header}, out)
}

// Log returns where the receipt log is.
func (c *Client) Log(ctx context.Context) (l Log, err error) {
	return l, c.get(ctx, &l, "/v1/log")
}

// Inclusion returns the proof that a leaf is in the tree of size leaves, or a *Problem
// UnknownReceipt where that many are not published yet.
func (c *Client) Inclusion(ctx context.Context, index, size uint64) ([]ionet.Hash, error) {
	var out InclusionProof
	err := c.get(ctx, &out, "/v1/log/inclusion?index=%d&size=%d", index, size)
	return out.Proof, err
}

// Consistency returns the proof that the tree of to leaves begins with that of from.
func (c *Client) Consistency(ctx context.Context, from, to uint64) ([]ionet.Hash, error) {
	var out ConsistencyProof
	err := c.get(ctx, &out, "/v1/log/consistency?from=%d&to=%d", from, to)
	return out.Proof, err
}

// SubmitDispute hands in a dispute and the worker's statement that the renter holds;
// the same one again is answered with where it stands.
func (c *Client) SubmitDispute(ctx context.Context, dispute, response proofs.Envelope) (d Dispute, err error) {
	return d, c.post(ctx, DisputeSubmission{dispute.Append(nil), response.Append(nil)}, &d, "/v1/disputes")
}

// Dispute returns a dispute, or a *Problem UnknownDispute.
func (c *Client) Dispute(ctx context.Context, id ionet.Hash) (d Dispute, err error) {
	return d, c.get(ctx, &d, "/v1/disputes/%s", id)
}

// AnswerDispute shows where the job of an open dispute stands in its batch.
func (c *Client) AnswerDispute(ctx context.Context, id ionet.Hash, answer DisputeAnswer) (d Dispute, err error) {
	return d, c.post(ctx, answer, &d, "/v1/disputes/"+id.String()+"/answer")
}
