package genesis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
)

// SecretFile is the name of the lane secret's file in Config.Dir.
const SecretFile = secretFile

// LoadPublic reads of a folder what a service needs whose money is signed for
// elsewhere: network file, policy, and the key of the service. No other key is
// read, and none needs to be there; Prepared.Keys has the service's alone.
func LoadPublic(ctx context.Context, dir string) (*Prepared, error) {
	p, err := loadPublic(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	path := filepath.Join(dir, serviceFile)
	if p.Keys.Service, err = chain.ReadKeypair(path); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("load network: %w: copy it from the folder of genesis: the service signs acks with it, also where a signer holds the other keys", err)
	} else if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	if got := chain.PublicOf(p.Keys.Service); got != p.Network.Keys.Service {
		return nil, fmt.Errorf("load network: key file %s is that of %s, the network file names %s", serviceFile, got, p.Network.Keys.Service)
	}
	return p, nil
}

// loadPublic reads network file and policy, which everybody may have.
func loadPublic(ctx context.Context, dir string) (*Prepared, error) {
	f, err := readFiles(ctx, dir)
	if err != nil {
		return nil, err
	}
	switch {
	case f.network == nil && f.policyFile == nil:
		return nil, fmt.Errorf("%s has no %s and no %s: run ionetd genesis first", dir, NetworkFile, PolicyFile)
	case f.network == nil:
		return nil, fmt.Errorf("%s has no %s: copy it from the folder of genesis", dir, NetworkFile)
	case f.policyFile == nil:
		return nil, fmt.Errorf("%s has no %s: copy it from the folder of genesis", dir, PolicyFile)
	}
	p := &Prepared{Dir: dir, Network: f.network, NetworkFile: f.networkFile, PolicyFile: f.policyFile}
	if p.Policy, err = emissions.ParsePolicy(p.PolicyFile); err != nil {
		return nil, err
	}
	if p.Policy.Hash() != p.Network.Policy {
		return nil, fmt.Errorf("%s has hash %s, the network file wants %s", PolicyFile, p.Policy.Hash(), p.Network.Policy)
	}
	return p, nil
}
