package settlement

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// MaxDelegations is how many delegations of a worker are listed.
const MaxDelegations = 100

// A StoredDelegation is a delegation as its provider handed it in.
type StoredDelegation struct {
	Envelope proofs.Envelope
	Revoked  uint64 // epoch of the first revocation's arrival: from the next on it counts no more; 0: none
}

// Anybody can sign a delegation that names a worker, so that the newest alone may be
// a stranger's; $2 names whose are wanted, null those of all.
const selectDelegationsOf = `
SELECT s.signer, s.signature, s.body,
       coalesce((SELECT min(r.arrival_epoch) FROM revocations r WHERE r.delegation = d.id), 0)
FROM delegation_workers w
JOIN delegations d ON d.id = w.delegation
JOIN statements s ON s.epoch = 0 AND s.id = d.id
WHERE w.worker = $1 AND ($2::bytea IS NULL OR d.provider = $2) AND d.expires > $3
ORDER BY d.issued DESC, d.id LIMIT $4`

// DelegationsOf returns the delegations that name the worker and have not expired, the
// one issued last first, at most MaxDelegations; of one provider, or of all where it is
// zero. A worker that nobody named has none.
func (s *Service) DelegationsOf(ctx context.Context, worker, provider ionet.Key) ([]StoredDelegation, error) {
	var by []byte
	if !provider.IsZero() {
		by = provider[:]
	}
	rows, err := s.front.Query(ctx, selectDelegationsOf, worker[:], by, s.now().Unix(), MaxDelegations)
	if err != nil {
		return nil, fmt.Errorf("read delegations of worker %s: %w", worker, err)
	}
	list, err := pgx.CollectRows(rows, scanDelegation)
	if err != nil {
		return nil, fmt.Errorf("read delegations of worker %s: %w", worker, err)
	}
	return list, nil
}

func scanDelegation(row pgx.CollectableRow) (StoredDelegation, error) {
	var signer, signature []byte
	var revoked int64
	d := StoredDelegation{Envelope: proofs.Envelope{Kind: proofs.KindDelegation}}
	if err := row.Scan(&signer, &signature, &d.Envelope.Body, &revoked); err != nil {
		return StoredDelegation{}, err
	}
	d.Envelope.Signer, d.Revoked = ionet.Key(signer), uint64(revoked)
	copy(d.Envelope.Signature[:], signature)
	return d, nil
}

// backdated lets a delegation count for the sample in which it is signed, and on a
// chain whose clock is a little behind ours; seconds.
const backdated = 600

// delegationDays is how long a delegation runs where nothing is said of it.
const delegationDays = 365

// DelegationText completes a delegation that a provider is about to sign and returns
// it with its text: the payout wallet is the provider's own where it is zero, the
// workers are put in order, Issued and Expires get values where they are 0. What no
// wallet may sign is a malformed-statement Problem.
func (s *Service) DelegationText(d proofs.Delegation) (proofs.Delegation, string, error) {
	if d.Payout.IsZero() {
		d.Payout = d.Provider
	}
	if d.Issued == 0 {
		d.Issued = s.now().Unix() - backdated
	}
	if d.Expires == 0 {
		d.Expires = d.Issued + delegationDays*24*3600
	}
	d.Workers = slices.Clone(d.Workers)
	slices.SortFunc(d.Workers, func(a, b ionet.Key) int { return bytes.Compare(a[:], b[:]) })
	d.Workers = slices.Compact(d.Workers)
	text, err := d.Text(s.cfg.Network.ID())
	if err != nil {
		return proofs.Delegation{}, "", NewProblem(ProblemMalformedStatement, "delegation", "%v", err)
	}
	if now := s.now().Unix(); d.Expires <= now {
		return proofs.Delegation{}, "", NewProblem(ProblemDelegationExpired, "expires", "the delegation would expire at %d, it is %d now", d.Expires, now)
	}
	return d, text, nil
}
