package client

import (
	"context"

	"github.com/ionet-settlement/ionet"
)

// Delegation is a delegation as its provider signed it. Anybody can sign one that
// names a worker: who takes one from here checks its signature and whose it is.
type Delegation struct {
	ID       ionet.Hash `json:"id" doc:"Statement id, hexadecimal"`
	Provider ionet.Key  `json:"provider" doc:"Who signed it"`
	Envelope []byte     `json:"envelope" doc:"The signed statement, base64"`
	Revoked  uint64     `json:"revoked,omitempty" doc:"Epoch in which a revocation arrived: from the next on it counts no more; absent: none did"`
}

// Delegations lists delegations, the one issued last first.
type Delegations struct {
	Delegations []Delegation `json:"delegations"`
}

// DelegationAsk asks for the text of a delegation.
type DelegationAsk struct {
	Provider ionet.Key   `json:"provider" doc:"The wallet that will sign"`
	Payout   ionet.Key   `json:"payout,omitzero" doc:"The wallet that is paid; the provider's own where absent"`
	Workers  []ionet.Key `json:"workers" minItems:"1" maxItems:"256" doc:"In any order"`
	Issued   int64       `json:"issued,omitempty" minimum:"0" doc:"Unix seconds; ten minutes ago where absent"`
	Expires  int64       `json:"expires,omitempty" minimum:"0" doc:"Unix seconds, at most 400 days after issued; 365 days after issued where absent"`
}

// DelegationText is what the provider's wallet signs.
type DelegationText struct {
	Network  ionet.Key   `json:"network" doc:"Network id, base58"`
	Provider ionet.Key   `json:"provider"`
	Payout   ionet.Key   `json:"payout"`
	Workers  []ionet.Key `json:"workers" doc:"In the order of the text, each once"`
	Issued   int64       `json:"issued" doc:"Unix seconds"`
	Expires  int64       `json:"expires" doc:"Unix seconds"`
	Text     string      `json:"text" doc:"proofs/FORMAT.md section 4; its exact bytes are the body of the statement and what is signed"`
	ID       ionet.Hash  `json:"id" doc:"Id that the signed statement will have, hexadecimal"`
}

// Delegations returns the delegations that name the worker and have not expired, the
// one issued last first, at most 100; none for a worker that nobody named.
func (c *Client) Delegations(ctx context.Context, worker ionet.Key) ([]Delegation, error) {
	var out Delegations
	err := c.get(ctx, &out, "/v1/workers/%s/delegations", worker)
	return out.Delegations, err
}

// DelegationsBy is Delegations of one provider: those of others, of which there can be
// many, do not crowd its own out.
func (c *Client) DelegationsBy(ctx context.Context, worker, provider ionet.Key) ([]Delegation, error) {
	var out Delegations
	err := c.get(ctx, &out, "/v1/workers/%s/delegations?provider=%s", worker, provider)
	return out.Delegations, err
}

// DelegationText returns the text that a provider's wallet signs.
func (c *Client) DelegationText(ctx context.Context, ask DelegationAsk) (t DelegationText, err error) {
	return t, c.post(ctx, ask, &t, "/v1/delegations/text")
}
