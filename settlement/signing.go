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
	tried   []ionet.Key // whose signers were asked
	why     error       // what those said who were asked and did not sign
}

// sign returns the transaction of each with the signatures that it has now, and why it
// lacks some.
func (s *Service) sign(ctx context.Context, list []unsigned) ([][]byte, []error) {
	jobs := make([]*signing, len(list))
	for i, u := range list {
		jobs[i] = newSigning(u)
	}
	s.complete(ctx, jobs)
	signed, errs := make([][]byte, len(list)), make([]error, len(list))
	for i, j := range jobs {
		signed[i], errs[i] = j.tx, j.lacks()
	}
	s.signers.allow(jobs, errs)
	return signed, errs
}

// newSigning goes on with the signatures that u has.
func newSigning(u unsigned) *signing {
	j := &signing{kind: u.draft.kind, message: u.message}
	for _, st := range u.steps {
		j.lanes = append(j.lanes, st.lane)
	}
	if u.tx != nil {
		j.tx, j.missing, j.why = chain.Attach(u.tx, nil)
	} else {
		j.tx, j.missing, j.why = chain.SignMessage(u.message)
	}
	return j
}

// lacks is the error of a transaction that still lacks signatures; nil where it has
// all.
func (j *signing) lacks() error {
	switch {
	case len(j.missing) == 0 && j.tx != nil:
		return nil
	case j.why != nil:
		return j.why
	}
	return fmt.Errorf("a key to sign with is missing: that of %s", j.missing[0])
}

// complete asks the signers for what they owe to each transaction, and puts it in: first
// those that did not sign when they were last asked, and the others only where these do:
// who signs counts what he signs, and as long as one is away nobody else signs in vain.
// Nothing that it does is durable: whoever reads the transaction back and persists it
// makes it count.
func (s *Service) complete(ctx context.Context, jobs []*signing) {
	for _, j := range jobs {
		if j.why == nil {
			j.why = s.signers.resting(j.kind)
		}
	}
	s.askAll(ctx, jobs, s.doubts)
	for _, j := range jobs {
		if len(j.tried) > 0 && j.why == nil && slices.ContainsFunc(j.tried, j.isMissing) {
			j.why = j.lacks()
		}
	}
	s.askAll(ctx, jobs, func(int, *signing) bool { return true })
	for _, j := range jobs {
		for _, key := range j.tried {
			s.cosigners.note(key, j.kind, !j.isMissing(key), s.now())
		}
	}
}

// doubts reports whether signer n did not answer when it was last asked, or did not sign
// one of j's kind then with a key that j lacks, or was not asked for any yet.
func (s *Service) doubts(n int, j *signing) bool {
	if s.signers.state(n).err != nil {
		return true
	}
	keys := s.signers.keysOf(n)
	return slices.ContainsFunc(j.missing, func(key ionet.Key) bool { return keys[key] && !s.cosigners.isWell(key, j.kind) })
}

// askAll asks all signers that owe a signature, side by side, those of which of says so.
func (s *Service) askAll(ctx context.Context, jobs []*signing, of func(n int, j *signing) bool) {
	k := s.signers
	asked := make([][]*signing, len(k.list))
	for n := range k.list {
		for _, j := range k.wanted(n, jobs) {
			if of(n, j) {
				asked[n] = append(asked[n], j)
			}
		}
	}
	for n := range k.list {
		for _, j := range asked[n] {
			j.try(k.keysOf(n))
		}
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

// try notes the keys that j lacks and a signer has that is asked for them.
func (j *signing) try(keys map[ionet.Key]bool) {
	for _, key := range j.missing {
		if keys[key] {
			j.tried = append(j.tried, key)
		}
	}
}

func (j *signing) isMissing(key ionet.Key) bool { return slices.Contains(j.missing, key) }

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

// wanted returns the transactions that lack a signature that signer n may make: with its
// keys, or, by the first, with those of lanes.
func (k *signers) wanted(n int, jobs []*signing) (asked []*signing) {
	owes := func(key ionet.Key) bool { return k.keysOf(n)[key] || n == 0 && !k.others(key) }
	for _, j := range jobs {
		if j.why == nil && slices.ContainsFunc(j.missing, owes) {
			asked = append(asked, j)
		}
	}
	return asked
}

// others reports whether the money key is that of another signer than the first.
func (k *signers) others(key ionet.Key) bool {
	for n := 1; n < len(k.list); n++ {
		if k.keysOf(n)[key] {
			return true
		}
	}
	return false
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
