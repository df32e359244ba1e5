package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type withdrawCmd struct {
	server
	Keypair string        `placeholder:"FILE" help:"The renter's wallet; it signs the statement, and pays nothing."`
	Amount  string        `placeholder:"TOKENS" help:"Tokens of the unspent balance, such as 12.5."`
	Status  string        `placeholder:"ID" help:"Tell where the withdrawal of that id stands, and end. The id in the signed text does too, with --wallet or --keypair."`
	Wallet  ionet.Key     `placeholder:"KEY" help:"With --status: the renter's wallet."`
	To      ionet.Key     `placeholder:"KEY" help:"Wallet that is paid; the renter's own by default. It needs a token account."`
	Expires time.Duration `default:"24h" help:"After this time it is not paid any more, and the balance has it again (default: ${default})."`
	Wait    time.Duration `default:"5m" help:"How long to wait until it is paid (default: ${default})."`
}

// Help shows examples below the flags.
func (c *withdrawCmd) Help() string {
	return `The wallet signs a statement that names amount, recipient and an id of its own: it is carried out once. The
amount is reserved at once, and paid by the network's next transactions.

Examples:
  ionet withdraw --server https://ionetd.example --keypair wallet.json --amount 12.5
  ionet withdraw --server https://ionetd.example --keypair wallet.json --amount 3 --to 9aB...
  ionet withdraw --server https://ionetd.example --status 0123456789abcdef0123456789abcdef
  ionet withdraw --server https://ionetd.example --status 0123456789abcdef0123456789abcdef --wallet 9aB...`
}

// Run signs a withdrawal, hands it in and waits until it is paid.
func (c *withdrawCmd) Run(s *stage) error {
	if c.Status != "" {
		return c.tell(s)
	}
	if err := c.check(); err != nil {
		return err
	}
	key, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	w := proofs.Withdrawal{Renter: chain.PublicOf(key), To: c.To, Expires: time.Now().Add(c.Expires).Unix()}
	if w.To.IsZero() {
		w.To = w.Renter
	}
	if w.Amount, err = tokens("--amount", c.Amount, network.Decimals); err != nil {
		return err
	}
	rand.Read(w.ID[:]) // never fails: crypto/rand ends the program instead
	text, err := w.Text(network.ID())
	if err != nil {
		return err
	}
	state, err := c.submit(s, api, proofs.Sign(network.ID(), proofs.KindWithdrawal, key, []byte(text)))
	if err != nil {
		return inTokens(err, network.Decimals)
	}
	s.print("%s\n\nwithdrawal %s %s", text, state.ID, state.State)
	return c.wait(s, api, network, state)
}

// check refuses flags that are missing or make no withdrawal.
func (c *withdrawCmd) check() error {
	switch {
	case c.Keypair == "":
		return errors.New("--keypair is missing: the wallet whose balance it is")
	case c.Amount == "":
		return errors.New("--amount is missing: how many tokens are to be paid back?")
	case c.Wait < 0:
		return fmt.Errorf("--wait %s is negative: give a time such as 5m, or 0 to look once", c.Wait)
	case c.Expires < time.Second:
		return fmt.Errorf("--expires %s: want 1s or more, such as 24h", c.Expires)
	}
	return nil
}

// tell prints where a withdrawal stands.
func (c *withdrawCmd) tell(s *stage) error {
	var id client.ID
	if err := id.UnmarshalText([]byte(c.Status)); err != nil {
		return fmt.Errorf("--status %s: want the 32 hex digits that ionet withdraw printed: %w", c.Status, err)
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	w, err := c.find(s, api, id)
	if err != nil {
		return err
	}
	s.print("withdrawal %s of %s, %s IO to %s: %s", w.ID, w.Renter, w.Amount.Tokens(network.Decimals), w.To, w.State)
	switch {
	case w.Signature != "":
		s.print("transaction %s, slot %d", w.Signature, w.Slot)
	case w.Signed:
		s.print("a signed transaction carries it")
	case w.Reason != "":
		s.print("because: %s", w.Reason)
		c.advise(s, network, w)
	}
	if w.State == client.WithdrawalIsAccepted {
		s.print("it expires at %s", time.Unix(w.Expires, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// find looks for a withdrawal by its own id, or by the one that its signed text has, which
// other wallets may have too.
func (c *withdrawCmd) find(s *stage, api *client.Client, id client.ID) (client.Withdrawal, error) {
	w, err := api.Withdrawal(s.ctx, id)
	if !client.IsProblem(err, client.UnknownWithdrawal) {
		return w, err
	}
	if c.Wallet.IsZero() && c.Keypair != "" {
		key, err := readKeypair(c.Keypair)
		if err != nil {
			return w, err
		}
		c.Wallet = chain.PublicOf(key)
	}
	if c.Wallet.IsZero() {
		return w, fmt.Errorf("%w; if it is the id in the signed text, give --wallet too", err)
	}
	r, readErr := api.Renter(s.ctx, c.Wallet)
	if readErr != nil {
		return w, readErr
	}
	if i := slices.IndexFunc(r.Withdrawals, func(w client.Withdrawal) bool { return w.Request == id }); i >= 0 {
		return r.Withdrawals[i], nil
	}
	return w, fmt.Errorf("%w, nor has one of the newest of wallet %s it in its text", err, c.Wallet)
}

// advise tells how to open the token account that a withdrawal waits for.
func (c *withdrawCmd) advise(s *stage, n *ionet.Network, w client.Withdrawal) {
	if !strings.HasPrefix(w.Reason, "token account: ") || !strings.Contains(w.Reason, "has none yet") {
		return
	}
	file := "<file>"
	if c.Keypair != "" && w.To == w.Renter {
		file = c.Keypair
	}
	s.print("open it with the key of wallet %s: ionet account open --keypair %s --rpc <url> --mint %s", w.To, file, n.Mint)
}

// submit hands the statement in, again while another instance takes over.
func (c *withdrawCmd) submit(s *stage, api *client.Client, e proofs.Envelope) (w client.Withdrawal, err error) {
	for range busyTries {
		w, err = api.SubmitWithdrawal(s.ctx, e)
		if !client.IsProblem(err, client.NotLeader) {
			return w, err
		}
		if err := s.pause(time.Second); err != nil {
			return w, err
		}
	}
	return w, err
}

func (c *withdrawCmd) wait(s *stage, api *client.Client, n *ionet.Network, w client.Withdrawal) error {
	deadline := time.Now().Add(c.Wait)
	said := ""
	for {
		var err error
		if w, err = api.Withdrawal(s.ctx, w.ID); err != nil {
			return err
		}
		switch w.State {
		case client.WithdrawalIsPaid:
			s.print("paid: final in slot %d, transaction %s", w.Slot, w.Signature)
			return nil
		case client.WithdrawalIsExpired:
			return errors.New("it expired before it could be paid: the balance has it again")
		}
		if w.Reason != said {
			said = w.Reason
			s.print("waits: %s", w.Reason)
			c.advise(s, n, w)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("withdrawal %s is not paid yet; it stays reserved until it is, or expires; look again: ionet withdraw --server %s --status %s", w.ID, c.Server, w.ID)
		}
		if err := s.pause(300 * time.Millisecond); err != nil {
			return err
		}
	}
}
