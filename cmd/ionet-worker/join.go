package main

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker"
)

// membership is what a host needs to take part.
type membership struct {
	folder  *worker.Folder
	key     ed25519.PrivateKey
	network *ionet.Network
	api     *client.Client // for that network
}

func (m *membership) worker() ionet.Key { return chain.PublicOf(m.key) }

// join opens the folder, makes the host key where there is none, and joins the
// service's network. A folder that joined before needs no service.
func join(ctx context.Context, dir, server string) (*membership, error) {
	f, err := worker.OpenFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("--dir: %w", err)
	}
	m := &membership{folder: f}
	if err := m.open(ctx, server); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return m, nil
}

func (m *membership) open(ctx context.Context, server string) error {
	var err error
	if m.key, err = hostKey(m.folder.KeyPath()); err != nil {
		return err
	}
	api, err := client.New(client.Config{Server: server})
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	file, err := m.folder.Network()
	joined := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		if _, file, err = api.NetworkFile(ctx); err != nil {
			return fmt.Errorf("join the network: %w; is --server right?", err)
		}
		err = m.folder.Join(file)
	}
	if err != nil {
		return err
	}
	if m.network, err = ionet.ParseNetwork(file); err != nil {
		return err
	}
	m.api = api.ForNetwork(m.network.ID())
	if joined {
		return m.checkServer(ctx, server)
	}
	return nil
}

// serverPatience is how long a service that hangs holds a start up.
const serverPatience = 3 * time.Second

// checkServer refuses a service of another network. One that does not answer is not
// waited for: the folder has all that a start needs.
func (m *membership) checkServer(ctx context.Context, server string) error {
	once, err := client.New(client.Config{Server: server, Network: m.network.ID(), Attempts: 1, Timeout: serverPatience})
	if err != nil {
		return fmt.Errorf("--server: %w", err)
	}
	head, err := once.Head(ctx)
	if err != nil {
		return ctx.Err()
	}
	return m.checkHead(once, head)
}

// otherNetworkError reports a service of another network than the folder joined.
type otherNetworkError struct {
	server         string
	serves, joined ionet.Key
}

func (e *otherNetworkError) Error() string {
	return fmt.Sprintf("%s serves network %s, this folder joined %s: give the --server of that network, or another --dir", e.server, e.serves, e.joined)
}

// checkHead refuses the head of another network than the folder joined.
func (m *membership) checkHead(api *client.Client, head client.Head) error {
	if id := ionet.Key(m.network.ID()); head.Network != id {
		return &otherNetworkError{server: api.Server(), serves: head.Network, joined: id}
	}
	return nil
}

// hostKey reads the key, or makes it.
func hostKey(path string) (ed25519.PrivateKey, error) {
	key, err := chain.ReadKeypair(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, fmt.Errorf("make host key: %w", err)
	}
	return key, chain.WriteKeypair(path, key)
}

// consent are the flags by which the provider's delegation comes in.
type consent struct {
	Provider   ionet.Key `env:"IONET_PROVIDER" placeholder:"KEY" help:"The provider's wallet: only its delegations are taken. It can sign in a browser, or the text that init prints."`
	Keypair    string    `env:"IONET_KEYPAIR" placeholder:"FILE" help:"The provider's wallet file: signs the delegation here."`
	Payout     ionet.Key `env:"IONET_PAYOUT" placeholder:"KEY" help:"Wallet that is paid; the provider's own by default."`
	Days       int       `default:"365" range:"1..400" placeholder:"N" help:"How many days the delegation runs."`
	Delegation string    `placeholder:"FILE" help:"A delegation that was signed elsewhere."`
}

// take gets provider and delegation from the flags and keeps them. Without flags, and
// where the delegation that is there still serves, it is left alone.
func (c consent) take(m *membership) error {
	if c.Keypair != "" && c.Delegation != "" {
		return errors.New("take delegation: give --keypair or --delegation, not both")
	}
	switch {
	case c.Delegation != "":
		return c.takeFile(m)
	case c.Keypair != "":
		return c.takeSigned(m)
	}
	return c.name(m)
}

// name keeps --provider as the wallet whose delegations this host takes.
func (c consent) name(m *membership) error {
	if c.Provider.IsZero() {
		return nil
	}
	return m.folder.SetProvider(c.Provider)
}

// agree refuses a wallet that signs, or signed, where --provider names another one.
func (c consent) agree(flag string, by ionet.Key) error {
	if c.Provider.IsZero() || c.Provider == by {
		return nil
	}
	return fmt.Errorf("take delegation: %s is of wallet %s, --provider (or IONET_PROVIDER) names %s: leave --provider out to work for the first, or give that wallet's own file", flag, by, c.Provider)
}

// takeFile takes the delegation of --delegation.
func (c consent) takeFile(m *membership) error {
	b, err := os.ReadFile(c.Delegation)
	if err != nil {
		return fmt.Errorf("--delegation: %w", err)
	}
	e, err := worker.Envelope(b)
	if err != nil {
		return fmt.Errorf("--delegation %s: %w", c.Delegation, err)
	}
	if err := errors.Join(c.agree("--delegation "+c.Delegation, e.Signer), worker.CheckDelegation(m.network.ID(), m.worker(), e)); err != nil {
		return err
	}
	if err := c.name(m); err != nil {
		return err
	}
	return m.accept(e)
}

// takeSigned has the wallet of --keypair sign, where the delegation that is there does not serve.
func (c consent) takeSigned(m *membership) error {
	wallet, err := chain.ReadKeypair(c.Keypair)
	if err != nil {
		return fmt.Errorf("--keypair: %w", err)
	}
	if err := c.agree("--keypair "+c.Keypair, chain.PublicOf(wallet)); err != nil {
		return err
	}
	if err := c.name(m); err != nil {
		return err
	}
	want := worker.Delegation(chain.PublicOf(wallet), c.Payout, m.worker(), time.Now(), c.Days)
	if m.serves(want) {
		return nil
	}
	e, err := worker.SignDelegation(m.network.ID(), wallet, want)
	if err != nil {
		return err
	}
	return m.accept(e)
}

// renewal returns what signs the next delegation, nil where the wallet is elsewhere. The
// wallet's file is read when it is needed: its key is not kept in memory for months.
func (c consent) renewal(m *membership) func(time.Time) (proofs.Envelope, error) {
	if c.Keypair == "" {
		return nil
	}
	return func(now time.Time) (proofs.Envelope, error) {
		wallet, err := chain.ReadKeypair(c.Keypair)
		if err != nil {
			return proofs.Envelope{}, fmt.Errorf("--keypair: %w", err)
		}
		return worker.SignDelegation(m.network.ID(), wallet, worker.Delegation(chain.PublicOf(wallet), c.Payout, m.worker(), now, c.Days))
	}
}

// serves reports whether the delegation that is there is as wanted, for a while.
func (m *membership) serves(want proofs.Delegation) bool {
	e, err := m.folder.Delegation()
	if err != nil || worker.CheckDelegation(m.network.ID(), m.worker(), e) != nil {
		return false
	}
	had, err := proofs.ParseDelegation(m.network.ID(), e.Signer, e.Body)
	return err == nil && had.Provider == want.Provider && had.Payout == want.Payout && time.Now().Before(worker.RenewAt(had))
}

// accept keeps a delegation that somebody brought here. A folder that works for one
// provider takes none of another unless it is told to by name.
func (m *membership) accept(e proofs.Envelope) error {
	if err := worker.CheckDelegation(m.network.ID(), m.worker(), e); err != nil {
		return err
	}
	provider, err := m.folder.Provider()
	if err != nil {
		return err
	}
	if !provider.IsZero() && provider != e.Signer {
		return fmt.Errorf("take delegation: it is by wallet %s, this folder works for provider %s: give --provider %s as well to change that", e.Signer, provider, e.Signer)
	}
	return errors.Join(m.folder.SetProvider(e.Signer), m.folder.SetDelegation(e))
}
