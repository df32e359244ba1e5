package main

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type sessionCmds struct {
	Open  sessionOpenCmd  `cmd:"" help:"Let a key of its own spend a part of a wallet's balance."`
	Show  sessionShowCmd  `cmd:"" help:"Show sessions, what they have spent and through which channels."`
	Close sessionCloseCmd `cmd:"" help:"Close a session and its channels: what is left goes back to the balance."`
}

type sessionOpenCmd struct {
	server
	Keypair   string        `placeholder:"FILE" help:"The renter's wallet; it signs the text, and is not needed again."`
	KeyOut    string        `required:"" name:"key-out" placeholder:"FILE" help:"Where to write the session's key; the signed text goes to FILE.session beside it. Once more with the same file hands in the same session."`
	Reserve   string        `placeholder:"TOKENS" help:"What the session may spend in all, such as 25."`
	Cap       []string      `placeholder:"MODEL=TOKENS/UNITS" help:"The most that so many units of a model may cost, such as llama-3.3-70b=0.9/1000000; repeat. With caps, models without one are not used at all."`
	Expires   time.Duration `default:"168h" help:"How long the session runs (default: ${default})."`
	Renter    ionet.Key     `placeholder:"KEY" help:"The renter's wallet where it is no file: make the session's key, print the exact text for the wallet to sign, and end."`
	Signature string        `placeholder:"BASE58" help:"That wallet's signature of the text in --text-file: hand both in."`
	TextFile  string        `name:"text-file" placeholder:"FILE" help:"The text that was signed, as it was printed."`

	made bool // this run made the key in KeyOut
}

// Help shows examples below the flags.
func (c *sessionOpenCmd) Help() string {
	return `The wallet signs a text that names a new key, a total, price caps and an end: from then on that key alone spends,
up to the total, and the wallet can stay where it is. What is not spent goes back to the balance.

Examples:
  ionet session open --server https://ionetd.example --keypair wallet.json --key-out session.json --reserve 25
  ionet session open --server https://ionetd.example --keypair wallet.json --key-out session.json --reserve 25 \
    --cap llama-3.3-70b=0.9/1000000 --cap flux-1=0.04/1 --expires 24h

A wallet that is no file signs the text as a message, in the wallet's own app:
  ionet session open --server https://ionetd.example --renter 9aB... --key-out session.json --reserve 25 >session.txt
  ionet session open --server https://ionetd.example --renter 9aB... --key-out session.json --text-file session.txt --signature 4vJ...`
}

// check refuses flags that are missing or don't go together.
func (c *sessionOpenCmd) check() error {
	if err := (&signing{Keypair: c.Keypair, Provider: c.Renter, Signature: c.Signature, TextFile: c.TextFile}).check(); err != nil {
		return errors.New(strings.NewReplacer("--provider", "--renter", "the provider's wallet", "the renter's wallet").Replace(err.Error()))
	}
	switch {
	case c.Signature == "" && c.Reserve == "":
		return errors.New("--reserve is missing: how many tokens may the session spend in all?")
	case c.Signature != "" && (c.Reserve != "" || len(c.Cap) > 0):
		return errors.New("--text-file says what was signed: leave --reserve and --cap out")
	case c.Expires < time.Second:
		return fmt.Errorf("--expires %s: want 1s or more, such as 24h", c.Expires)
	}
	return nil
}

// statementOf is where the signed text of a session key's file lies.
func statementOf(keyFile string) string { return keyFile + ".session" }

// Run opens a session, or hands in the one that the files have.
func (c *sessionOpenCmd) Run(s *stage) error {
	if err := c.check(); err != nil {
		return err
	}
	var wallet ed25519.PrivateKey
	var err error
	if c.Keypair != "" {
		if wallet, err = readKeypair(c.Keypair); err != nil {
			return err
		}
		c.Renter = chain.PublicOf(wallet)
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	e, session, err := c.statement(wallet, network)
	if err != nil {
		return err
	}
	if e.Signature == [64]byte{} { // the wallet has yet to sign
		_, err := s.out.Write(e.Body)
		return err
	}
	// Key and text are durable. If we stop here, the same command hands the same text in.
	if _, err := handIn(s, api, network, e); err != nil {
		return c.refused(e, inTokens(err, network.Decimals))
	}
	s.print("%s\n\nsession %s is open: %s IO until %s", e.Body, e.ID(), session.Reserve.Tokens(network.Decimals), clockText(session.Expires))
	s.print("key in %s, signed text in %s", c.KeyOut, statementOf(c.KeyOut))
	s.print("next: ionet proxy --server %s --session %s", c.Server, c.KeyOut)
	return nil
}

// refused removes the text of a session that the service does not take, so that the next
// try may ask for less; one whose outcome is not known stays.
func (c *sessionOpenCmd) refused(e proofs.Envelope, err error) error {
	err = fmt.Errorf("open session %s: %w", e.ID(), err)
	var problem *client.Problem
	if !errors.As(err, &problem) || problem.Status >= 500 || problem.Status == http.StatusTooManyRequests || !strings.HasPrefix(problem.Type, client.ProblemPrefix) {
		return err
	}
	if problem.Kind() == client.Insufficient {
		err = fmt.Errorf("%w: pay in with ionet deposit, or reserve less", err)
	}
	err = errors.Join(err, os.Remove(statementOf(c.KeyOut)))
	return errors.Join(err, c.dropKey())
}

// dropKey removes a key that this run made: nothing was accepted that names it.
func (c *sessionOpenCmd) dropKey() error {
	if !c.made {
		return nil
	}
	c.made = false
	return os.Remove(c.KeyOut)
}

// statement returns what the files have, or makes it; without a signature where the wallet
// is elsewhere.
func (c *sessionOpenCmd) statement(wallet ed25519.PrivateKey, n *ionet.Network) (e proofs.Envelope, session proofs.Session, err error) {
	if c.Signature != "" {
		return c.signed(n)
	}
	now := time.Now()
	session = proofs.Session{Renter: c.Renter, Issued: now.Unix() - backdate, Expires: now.Add(c.Expires).Unix()}
	if session.Reserve, err = tokens("--reserve", c.Reserve, n.Decimals); err != nil {
		return e, session, err
	}
	if session.Caps, err = parseCaps(c.Cap, n.Decimals); err != nil {
		return e, session, err
	}
	if session.Key, err = c.sessionKey(); err != nil {
		return e, session, err
	}
	e, former, err := readSession(c.KeyOut, n)
	if err == nil {
		if former.Renter != session.Renter || former.Reserve != session.Reserve || !slices.Equal(former.Caps, session.Caps) {
			return e, former, fmt.Errorf("--key-out: %s holds session %s already, of %s IO by wallet %s: choose another name for a new one", c.KeyOut, e.ID(), former.Reserve.Tokens(n.Decimals), former.Renter)
		}
		return e, former, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return e, session, err
	}
	text, err := session.Text(n.ID())
	if err != nil {
		return e, session, errors.Join(fmt.Errorf("--expires: %w", err), c.dropKey())
	}
	if wallet == nil {
		return proofs.Envelope{Kind: proofs.KindSession, Signer: c.Renter, Body: []byte(text)}, session, nil
	}
	e = proofs.Sign(n.ID(), proofs.KindSession, wallet, []byte(text))
	return e, session, c.keep(e)
}

// sessionKey returns the public half of the key in --key-out, which is made where it is
// not there.
func (c *sessionOpenCmd) sessionKey() (ionet.Key, error) {
	key, err := chain.ReadKeypair(c.KeyOut)
	if errors.Is(err, fs.ErrNotExist) {
		if _, key, err = ed25519.GenerateKey(rand.Reader); err == nil {
			err = chain.WriteKeypair(c.KeyOut, key)
			c.made = err == nil
		}
	}
	if err != nil {
		return ionet.Key{}, fmt.Errorf("--key-out: %w", err)
	}
	if chain.PublicOf(key) == c.Renter {
		return ionet.Key{}, fmt.Errorf("--key-out %s is the wallet itself: a session has a key of its own", c.KeyOut)
	}
	return chain.PublicOf(key), nil
}

// signed is the session of --text-file and --signature, whose key is that of --key-out.
func (c *sessionOpenCmd) signed(n *ionet.Network) (e proofs.Envelope, session proofs.Session, err error) {
	if e, err = (&signing{Provider: c.Renter, Signature: c.Signature, TextFile: c.TextFile}).signed(n.ID(), proofs.KindSession); err != nil {
		return e, session, err
	}
	if session, err = proofs.ParseSession(n.ID(), e.Signer, e.Body); err != nil {
		return e, session, fmt.Errorf("--text-file: %w", err)
	}
	key, err := chain.ReadKeypair(c.KeyOut)
	if err != nil {
		return e, session, fmt.Errorf("--key-out: %w", err)
	}
	if chain.PublicOf(key) != session.Key {
		return e, session, fmt.Errorf("--key-out: the text in %s is of session key %s, %s holds %s", c.TextFile, session.Key, c.KeyOut, chain.PublicOf(key))
	}
	return e, session, c.keep(e)
}

// keep makes the signed text durable.
func (c *sessionOpenCmd) keep(e proofs.Envelope) error {
	if err := writeWhole(statementOf(c.KeyOut), e.Append(nil)); err != nil {
		return fmt.Errorf("--key-out: %w", err)
	}
	return nil
}

// readSession reads the signed text beside a session key's file.
func readSession(keyFile string, n *ionet.Network) (e proofs.Envelope, session proofs.Session, err error) {
	b, err := os.ReadFile(statementOf(keyFile))
	if err != nil {
		return e, session, fmt.Errorf("read session: %w", err)
	}
	e, rest, err := proofs.ParseEnvelope(b)
	if err == nil && (len(rest) > 0 || e.Kind != proofs.KindSession) {
		err = errors.New("it is no signed session")
	}
	if err == nil {
		err = e.Verify(n.ID())
	}
	if err == nil {
		session, err = proofs.ParseSession(n.ID(), e.Signer, e.Body)
	}
	if err != nil {
		return e, session, fmt.Errorf("read session in %s: %w", statementOf(keyFile), err)
	}
	return e, session, nil
}

// writeWhole makes a complete, synced file appear, for its owner alone.
func writeWhole(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".write-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// parseCaps reads --cap flags; in a session's text they ascend by model.
func parseCaps(list []string, decimals int) ([]proofs.PriceCap, error) {
	var caps []proofs.PriceCap
	for _, text := range list {
		model, price, ok := strings.Cut(text, "=")
		amount, per, ok2 := strings.Cut(price, "/")
		if !ok || !ok2 || model == "" {
			return nil, fmt.Errorf("--cap %s: want MODEL=TOKENS/UNITS, such as llama-3.3-70b=0.9/1000000", text)
		}
		most := proofs.PriceCap{Model: model}
		var err error
		if most.Price, err = ionet.ParseTokens(amount, decimals); err == nil {
			most.Per, err = strconv.ParseUint(per, 10, 64)
		}
		if err != nil || most.Per == 0 {
			return nil, fmt.Errorf("--cap %s: %w", text, cmp.Or(err, errors.New("the price is for 0 units")))
		}
		caps = append(caps, most)
	}
	slices.SortFunc(caps, func(a, b proofs.PriceCap) int { return cmp.Compare(a.Model, b.Model) })
	for i := 1; i < len(caps); i++ {
		if caps[i-1].Model == caps[i].Model {
			return nil, fmt.Errorf("--cap %s is given twice", caps[i].Model)
		}
	}
	return caps, nil
}

// clockText is a time in UTC, RFC 3339.
func clockText(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }

// sessionFile is the flag of commands that work with a session's key.
type sessionFile struct {
	Session string `required:"" placeholder:"FILE" help:"The session's key, as session open wrote it; its signed text lies beside it."`
	State   string `placeholder:"FOLDER" help:"Where channels and receipts are kept; FILE.purse by default."`
}

func (f *sessionFile) state() string { return cmp.Or(f.State, f.Session+".purse") }

// key reads the session's key.
func (f *sessionFile) key() (ed25519.PrivateKey, error) {
	key, err := chain.ReadKeypair(f.Session)
	if err != nil {
		return nil, fmt.Errorf("--session: %w", err)
	}
	return key, nil
}

// purse opens the session's purse.
func (f *sessionFile) purse(api *client.Client, n *ionet.Network, cfg client.PurseConfig) (*client.Purse, error) {
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	e, _, err := readSession(f.Session, n)
	if err != nil {
		return nil, fmt.Errorf("--session: %w", err)
	}
	cfg.Service, cfg.Network, cfg.Key, cfg.Session, cfg.Dir = api, n, key, e, f.state()
	p, err := client.OpenPurse(cfg)
	if errors.Is(err, client.ErrPurseInUse) {
		return nil, fmt.Errorf("%w: stop ionet proxy first", err)
	}
	return p, err
}
