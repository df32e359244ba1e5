package settlement

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// public returns the public half of the key of the position whose C is c.
func (s *Service) public(c ionet.Hash) ionet.Key { return s.cfg.Keys.Lane.Public(c) }

// money returns the private keys that move money, those that are there.
func (k Keys) money() []ed25519.PrivateKey {
	keys := slices.Concat([]ed25519.PrivateKey{k.Operator, k.Fees}, k.Members, k.Allocation)
	return slices.DeleteFunc(keys, func(key ed25519.PrivateKey) bool { return key == nil })
}

// holds reports whether a signer with that key is there.
func (s *Service) holds(key ionet.Key) bool {
	return slices.ContainsFunc(s.cfg.Keys.money(), func(k ed25519.PrivateKey) bool { return chain.PublicOf(k) == key })
}

// keysFor returns the keys of signers that are here: one-time keys of the lanes, and
// money keys.
func (s *Service) keysFor(signers []ionet.Key, lanes []lane) []ed25519.PrivateKey {
	all := s.cfg.Keys.money()
	for _, l := range lanes {
		all = append(all, s.cfg.Keys.Lane.Key(l.c))
	}
	return slices.DeleteFunc(all, func(k ed25519.PrivateKey) bool { return !slices.Contains(signers, chain.PublicOf(k)) })
}

// sign returns the signed transaction of each, or why it was not signed.
func (s *Service) sign(_ context.Context, list []unsigned) ([][]byte, []error) {
	signed, errs := make([][]byte, len(list)), make([]error, len(list))
	for i, u := range list {
		_, missing, err := chain.SignMessage(u.message)
		if err == nil {
			signed[i], missing, err = chain.SignMessage(u.message, s.keysFor(missing, u.draft.lanes)...)
		}
		if errs[i] = err; err == nil && len(missing) > 0 {
			errs[i] = fmt.Errorf("a key to sign with is missing: that of %s", missing[0])
		}
		for _, k := range missing {
			s.cosigners.fail(k, s.now())
		}
	}
	return signed, errs
}
