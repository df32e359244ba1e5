package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// signing is a transaction on its way through the signers.
type signing struct {
	kind    chain.Kind
	tx      []byte // with the signatures that are there
	message []byte
	missing []ionet.Key // who has yet to sign
	lanes   []lane
	why     error // what those said who were asked and did not sign
}

// sign returns the signed transaction of each, or why it was not signed.
func (s *Service) sign(ctx context.Context, list []unsigned) ([][]byte, []error) {
	jobs := make([]*signing, len(list))
	for i, u := range list {
		jobs[i] = &signing{kind: u.draft.kind, message: u.message}
		for _, st := range u.steps {
			jobs[i].lanes = append(jobs[i].lanes, st.lane)
		}
		jobs[i].tx, jobs[i].missing, jobs[i].why = chain.SignMessage(u.message)
	}
	s.complete(ctx, jobs)
	signed, errs := make([][]byte, len(list)), make([]error, len(list))
	for i, j := range jobs {
		signed[i], errs[i] = j.tx, s.lacks(j)
	}
	s.signers.allow(jobs, errs)
	return signed, errs
}

// lacks is the error of a transaction that still lacks signatures; nil where it has
// all. Co-signers that did not sign are not chosen for a while.
func (s *Service) lacks(j *signing) error {
	for _, key := range j.missing {
		s.cosigners.fail(key, s.now())
	}
	switch {
	case len(j.missing) == 0 && j.tx != nil:
		return nil
	case j.why != nil:
		return j.why
	}
	return fmt.Errorf("a key to sign with is missing: that of %s", j.missing[0])
}

// complete asks all signers side by side for what they owe to each transaction, and
// puts it in. Nothing that it does is durable: whoever reads the transaction back and
// persists it makes it count.
func (s *Service) complete(ctx context.Context, jobs []*signing) {
	k := s.signers
	for _, j := range jobs {
		if j.why == nil {
			j.why = k.resting(j.kind)
		}
	}
	asked := make([][]*signing, len(k.list))
	for n := range k.list {
		asked[n] = k.wanted(n, jobs)
	}
	answers, errs := make([][]signer.Signed, len(k.list)), make([]error, len(k.list))
	s.each(len(k.list), func(n int) {
		if len(asked[n]) > 0 {
			answers[n], errs[n] = k.ask(ctx, n, asked[n])
		}
	})
	for n := range k.list {
		for i, j := range asked[n] {
			switch {
			case errs[n] != nil:
				j.why = errors.Join(j.why, errs[n])
			case answers[n][i].Refused != nil:
				j.why = errors.Join(j.why, s.refusal(j.kind, answers[n][i].Refused))
			default:
				j.take(answers[n][i].Signatures)
			}
		}
	}
}

// take puts in those signatures that are missing and verify: a wrong one by a signer
// that has no such key keeps nobody else's out.
func (j *signing) take(signatures map[ionet.Key]chain.Signature) {
	wanted := map[ionet.Key]chain.Signature{}
	for _, key := range j.missing {
		signature, ok := signatures[key]
		switch {
		case ok && ed25519.Verify(key[:], j.message, signature[:]):
			wanted[key] = signature
		case ok:
			j.why = errors.Join(j.why, fmt.Errorf("a signature with key %s does not verify", key))
		}
	}
	if len(wanted) == 0 {
		return
	}
	tx, missing, err := chain.Attach(j.tx, wanted)
	if err != nil {
		j.why = errors.Join(j.why, err)
		return
	}
	j.tx, j.missing = tx, missing
}

// wanted returns the transactions that lack a signature that signer n may make.
func (k *signers) wanted(n int, jobs []*signing) (asked []*signing) {
	keys := k.keysOf(n)
	owes := func(key ionet.Key) bool { return keys[key] }
	for _, j := range jobs {
		if j.why == nil && len(j.missing) > 0 && (n == 0 || slices.ContainsFunc(j.missing, owes)) {
			asked = append(asked, j)
		}
	}
	return asked
}

// ask asks signer n, unless it did not answer a moment ago.
func (k *signers) ask(ctx context.Context, n int, jobs []*signing) ([]signer.Signed, error) {
	if state := k.state(n); state.err != nil && k.now().Before(state.until) {
		return nil, state.err
	}
	list := make([]signer.Request, len(jobs))
	for i, j := range jobs {
		list[i].Message = j.message
		for _, l := range j.lanes {
			list[i].Lanes = append(list[i].Lanes, signer.Position{Lane: l.address, N: l.position, C: l.c})
		}
	}
	answers, err := k.list[n].Sign(ctx, list)
	if err == nil && len(answers) != len(list) {
		err = fmt.Errorf("%d answers came to %d questions", len(answers), len(list))
	}
	if err != nil {
		k.silent(ctx, n, err)
		return nil, err
	}
	k.update(n, func(s *told) { s.err, s.failed = nil, 0 })
	return answers, nil
}
