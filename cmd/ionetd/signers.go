package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/settlement"
	"github.com/ionet-settlement/ionet/settlement/genesis"
	"github.com/ionet-settlement/ionet/settlement/signer"
)

// signerFlags say who signs.
type signerFlags struct {
	Signer     []string `env:"IONET_SIGNER" placeholder:"ADDR" help:"Signer process, unix:PATH or https://HOST:PORT; repeat it for co-signers. The first must be the one with the lane secret: it alone steps the lanes, and is believed about their keys. Then --dir must hold network.toml, policy.toml and service.json, and no other key is read; without it the keys of --dir sign in this process."`
	SignerCert string   `env:"IONET_SIGNER_CERT" placeholder:"FILE" help:"Our certificate for https signers, PEM, with the extended key usage clientAuth alone."`
	SignerKey  string   `env:"IONET_SIGNER_KEY" placeholder:"FILE" help:"Key of --signer-cert, PEM, readable by its owner only."`
	SignerCA   string   `name:"signer-ca" env:"IONET_SIGNER_CA" placeholder:"FILE" help:"Authority that the signers' certificates are from, PEM."`
}

// load reads the folder and says who signs: its keys, or the signers that are named.
func (f signerFlags) load(ctx context.Context, dir string) (*genesis.Prepared, settlement.Keys, []signer.Signer, error) {
	if len(f.Signer) == 0 {
		if f.SignerCert != "" || f.SignerKey != "" || f.SignerCA != "" {
			return nil, settlement.Keys{}, nil, errors.New("--signer-cert, --signer-key and --signer-ca are for --signer https://HOST:PORT")
		}
		p, err := genesis.Load(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, settlement.Keys{}, nil, fmt.Errorf("--dir %s: %w; where ionetd signer holds the keys, give --signer", dir, err)
		}
		if err != nil {
			return nil, settlement.Keys{}, nil, fmt.Errorf("--dir %s: %w", dir, err)
		}
		k := p.Keys
		return p, settlement.Keys{Operator: k.Operator, Fees: k.Fees, Service: k.Service, Lane: k.Secret, Allocation: p.Managed()}, nil, nil
	}
	p, err := genesis.LoadPublic(ctx, dir)
	if err != nil {
		return nil, settlement.Keys{}, nil, fmt.Errorf("--dir %s: %w", dir, err)
	}
	list, err := f.clients(p.Network.ID())
	return p, settlement.Keys{Service: p.Keys.Service}, list, err
}

// clients makes a client of each signer; they need not be there yet.
func (f signerFlags) clients(network ionet.Hash) (list []signer.Signer, err error) {
	var config *tls.Config
	for i, address := range f.Signer {
		for _, other := range f.Signer[:i] {
			if other == address {
				return nil, fmt.Errorf("--signer %s is there twice", address)
			}
		}
		if strings.HasPrefix(address, "https:") && config == nil {
			if config, err = readTLS("--signer-cert", f.SignerCert, "--signer-key", f.SignerKey, "--signer-ca", f.SignerCA); err != nil {
				return nil, err
			}
		}
		c, err := signer.NewClient(signer.ClientConfig{Address: address, Network: network, TLS: config})
		if err != nil {
			return nil, fmt.Errorf("--signer: %w", err)
		}
		list = append(list, c)
	}
	return list, nil
}

// signerLines tells of each signer process what it holds, or why it does not answer.
func signerLines(list []settlement.SignerState) (lines []string) {
	for _, state := range list {
		switch {
		case state.Address == "": // keys of --dir
		case state.Err != nil:
			lines = append(lines, fmt.Sprintf("%s DOES NOT ANSWER: %v", state.Address, state.Err))
		case state.Lanes:
			lines = append(lines, fmt.Sprintf("%s holds %s and steps the lanes", state.Address, count(state.Keys, "key")))
		default:
			lines = append(lines, fmt.Sprintf("%s holds %s", state.Address, count(state.Keys, "key")))
		}
	}
	return lines
}
