package settlement

import (
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// public returns the public half of the key of the position whose C is c.
func (s *Service) public(c ionet.Hash) ionet.Key { return s.cfg.Keys.Lane.Public(c) }

// sign returns the signed transaction of each, or why it was not signed.
func (s *Service) sign(_ context.Context, list []unsigned) ([][]byte, []error) {
	signed, errs := make([][]byte, len(list)), make([]error, len(list))
	for i, u := range list {
		var keys []ed25519.PrivateKey
		for _, st := range u.steps {
			keys = append(keys, s.cfg.Keys.Lane.Key(st.lane.c))
		}
		var missing []ionet.Key
		signed[i], missing, errs[i] = chain.SignMessage(u.message, append(keys, s.cfg.Keys.Operator)...)
		if errs[i] == nil && len(missing) > 0 {
			errs[i] = fmt.Errorf("a key to sign with is missing: that of %s", missing[0])
		}
	}
	return signed, errs
}
