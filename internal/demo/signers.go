package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/ionet-settlement/ionet/chain"
)

// members is how many the multisigs have where the network is one of several signers;
// any two of them suffice.
const members = 3

func (s *stage) memberDir(i int) string {
	return filepath.Join(s.dir, "members", fmt.Sprintf("member-%d", i))
}

// board makes the members' keys, each in a folder of its own, and returns the flags
// by which genesis gives them mint and vaults.
func (s *stage) board(ctx context.Context) ([]string, error) {
	keys := make([]string, members)
	for i := range members {
		if err := os.MkdirAll(s.memberDir(i+1), 0o700); err != nil {
			return nil, fmt.Errorf("make a member's folder: %w", err)
		}
		file := filepath.Join(s.memberDir(i+1), "member.json")
		if err := s.do(ctx, "member", "ionet", "keygen", "--out", file); err != nil {
			return nil, err
		}
		key, err := chain.ReadKeypair(file)
		if err != nil {
			return nil, fmt.Errorf("read a member's key: %w", err)
		}
		keys[i] = chain.PublicOf(key).String()
	}
	board := fmt.Sprintf("2of%d:%s", members, strings.Join(keys, ","))
	return []string{"--mint-authority", board, "--reward-authority", board, "--fee-authority", board}, nil
}

// isRemote reports whether the service has its money keys in other processes.
func (s *stage) isRemote() bool { return s.multisig || s.hostile }

// startSigners starts a process for the keys that genesis made and one for each
// member. What the service keeps is a folder with no key but the one for acks.
func (s *stage) startSigners(ctx context.Context) error {
	if !s.isRemote() {
		return nil
	}
	var err error
	if s.sockets, err = os.MkdirTemp("", "io-"); err != nil { // a socket's path must be short
		return fmt.Errorf("make a folder of sockets: %w", err)
	}
	if err := os.MkdirAll(s.place(), 0o700); err != nil {
		return fmt.Errorf("make the service's folder: %w", err)
	}
	for _, name := range []string{"network.toml", "policy.toml", "service.json"} {
		file, err := os.ReadFile(filepath.Join(s.keys(), name))
		if err == nil {
			err = os.WriteFile(filepath.Join(s.place(), name), file, 0o600)
		}
		if err != nil {
			return fmt.Errorf("copy %s to the service: %w", name, err)
		}
	}
	if err := s.startSigner(ctx, "signer", s.keys()); err != nil {
		return err
	}
	if !s.multisig {
		return nil
	}
	for i := range members {
		if err := s.startSigner(ctx, fmt.Sprintf("member-%d", i+1), s.memberDir(i+1)); err != nil {
			return err
		}
	}
	return nil
}

// signerLimit is more than the demo's providers can earn, and all that is unlocked.
const signerLimit = "10000000000"

func (s *stage) startSigner(ctx context.Context, name, dir string) error {
	c, err := s.start(name, "ionetd", "signer", "--dir", dir, "--network", filepath.Join(s.keys(), "network.toml"),
		"--journal", filepath.Join(dir, "signer.journal"), "--listen", s.socket(name),
		"--limit-payout", signerLimit, "--limit-claim", signerLimit, "--limit-withdrawal", signerLimit, "--limit-fees", signerLimit, "--limit-unlock", signerLimit)
	if err != nil {
		return err
	}
	s.signers = append(s.signers, c)
	_, err = c.line(ctx, "listening ")
	return err
}

func (s *stage) socket(name string) string { return "unix:" + filepath.Join(s.sockets, name) }

// place is the folder that the service reads.
func (s *stage) place() string {
	if s.isRemote() {
		return filepath.Join(s.dir, "service")
	}
	return s.keys()
}

// placeFlags name the service's folder, and who signs for it, to a command.
func (s *stage) placeFlags() []string {
	flags := []string{"--dir", s.place()}
	for _, c := range s.signers {
		flags = append(flags, "--signer", s.socket(c.name))
	}
	return flags
}

// stopSigners ends the signers and takes their sockets away.
func (s *stage) stopSigners() error {
	var errs []error
	for _, c := range s.signers {
		errs = append(errs, c.stop())
	}
	if s.sockets != "" {
		errs = append(errs, os.RemoveAll(s.sockets))
	}
	return errors.Join(errs...)
}

// loseMember kills the last member's signer: the others suffice from then on.
func (s *stage) loseMember(context.Context) error {
	if s.multisig {
		s.signers[len(s.signers)-1].kill()
	}
	return nil
}
