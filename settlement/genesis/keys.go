package genesis

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
)

// Keys are all keys of a network. Allocation owners are by category.
type Keys struct {
	Operator   ed25519.PrivateKey
	Fees       ed25519.PrivateKey
	Service    ed25519.PrivateKey
	Lane       ed25519.PrivateKey // signs the opening of lanes, nothing else
	Secret     chain.Secret
	Allocation map[string]ed25519.PrivateKey
}

// Names of the key files in Config.Dir.
const (
	operatorFile = "operator.json"
	feesFile     = "fees.json"
	serviceFile  = "service.json"
	laneFile     = "lane.json"
	secretFile   = "lane-secret.json"
)

func allocationFile(category string) string { return "allocation-" + category + ".json" }

// keyFile is one key with the name of its file.
type keyFile struct {
	name string
	key  ed25519.PrivateKey
}

// list returns the keys in the order in which their files are made.
func (k Keys) list(shares []emissions.Share) []keyFile {
	list := []keyFile{{operatorFile, k.Operator}, {feesFile, k.Fees}, {serviceFile, k.Service}, {laneFile, k.Lane}}
	for _, s := range shares {
		list = append(list, keyFile{allocationFile(s.Category), k.Allocation[s.Category]})
	}
	return list
}

// openKeys takes every key from open and the secret from openSecret, which are
// given paths.
func openKeys(dir string, shares []emissions.Share, open func(path string) (ed25519.PrivateKey, error), openSecret func(path string) (chain.Secret, error)) (k Keys, err error) {
	k.Allocation = map[string]ed25519.PrivateKey{}
	for _, f := range []struct {
		name string
		key  *ed25519.PrivateKey
	}{{operatorFile, &k.Operator}, {feesFile, &k.Fees}, {serviceFile, &k.Service}, {laneFile, &k.Lane}} {
		if *f.key, err = open(filepath.Join(dir, f.name)); err != nil {
			return Keys{}, err
		}
	}
	for _, s := range shares {
		if k.Allocation[s.Category], err = open(filepath.Join(dir, allocationFile(s.Category))); err != nil {
			return Keys{}, err
		}
	}
	k.Secret, err = openSecret(filepath.Join(dir, secretFile))
	return k, err
}

// draftKeys reads the keys that are in the folder and draws the others, whose
// files it names in missing.
func draftKeys(dir string, shares []emissions.Share, missing map[string]bool) (Keys, error) {
	open := func(path string) (ed25519.PrivateKey, error) {
		key, err := chain.ReadKeypair(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return key, err
		}
		missing[filepath.Base(path)] = true
		_, key, err = ed25519.GenerateKey(nil)
		return key, err
	}
	openSecret := func(path string) (chain.Secret, error) {
		secret, err := chain.ReadSecret(path)
		if !errors.Is(err, fs.ErrNotExist) {
			return secret, err
		}
		missing[secretFile] = true
		return chain.NewSecret(), nil
	}
	return openKeys(dir, shares, open, openSecret)
}

// readKeys reads the keys of a network whose file is there: none may be missing.
func readKeys(dir string, shares []emissions.Share) (Keys, error) {
	k, err := openKeys(dir, shares, chain.ReadKeypair, chain.ReadSecret)
	if errors.Is(err, fs.ErrNotExist) {
		return Keys{}, fmt.Errorf("%w: %s is there and names this key, so put its file back", err, filepath.Join(dir, NetworkFile))
	}
	return k, err
}

// check compares the keys with the network file.
func (k Keys) check(n *ionet.Network, shares []emissions.Share) error {
	want := []ionet.Key{n.Keys.Operator, n.Keys.Fees, n.Keys.Service, n.Keys.Lane}
	for _, a := range n.Allocation {
		if _, ok := n.Multisig(a.Owner); !ok {
			want = append(want, a.Owner)
		}
	}
	for i, f := range k.list(shares) {
		if got := chain.PublicOf(f.key); got != want[i] {
			return fmt.Errorf("key file %s is that of %s, the network file names %s", f.name, got, want[i])
		}
	}
	return nil
}
