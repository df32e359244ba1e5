package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/mdp/qrterminal/v3"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// depositBudget is enough for a transfer, its memo and the checks of a token account.
var depositBudget = chain.Budget{ComputeUnits: 60_000, LoadedBytes: 512 << 10}

type depositCmd struct {
	server
	Wallet  ionet.Key `placeholder:"KEY" help:"Who is credited; the wallet of --keypair by default."`
	Amount  string    `placeholder:"TOKENS" help:"Tokens to pay in, such as 12.5."`
	Keypair string    `placeholder:"FILE" help:"Pay with this wallet now; without it only the payment's URL is shown."`
	RPC     []string  `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"RPC of the cluster; needed with --keypair. Repeat for more endpoints."`
	Airdrop bool      `help:"Ask the cluster's faucet for lamports first (local and test clusters)."`
	NoQR    bool      `name:"no-qr" help:"Print no QR code of the URL."`
}

// Help shows examples below the flags.
func (c *depositCmd) Help() string {
	return `Shows a Solana Pay URL with a reference of the wallet, and its QR code for a wallet on a phone: whoever pays with it, from any wallet and as often as he
likes, pays for this one. With --keypair the payment is sent, and the command ends when the balance has it. It
sends nothing before it has seen that the reference is published as the wallet's, and the network's own vault is paid.

Examples:
  ionet deposit --server https://ionetd.example --wallet 9aB...
  ionet deposit --server https://ionetd.example --wallet 9aB... --amount 12.5 --no-qr
  ionet deposit --server https://ionetd.example --keypair wallet.json --amount 12.5 --rpc https://rpc.example`
}

// tokens reads a flag's amount, which must be more than nothing.
func tokens(flag, text string, decimals int) (ionet.Amount, error) {
	amount, err := ionet.ParseTokens(text, decimals)
	if err == nil && amount.IsZero() {
		err = fmt.Errorf("%s is nothing: want more than 0", text)
	}
	if err != nil {
		return amount, fmt.Errorf("%s: %w", flag, err)
	}
	return amount, nil
}

// Run asks for a reference, shows it, and pays where a key is given.
func (c *depositCmd) Run(s *stage) error {
	var key ed25519.PrivateKey
	var err error
	if c.Keypair != "" {
		if key, err = readKeypair(c.Keypair); err != nil {
			return err
		}
		if c.Wallet.IsZero() {
			c.Wallet = chain.PublicOf(key)
		}
		if c.Amount == "" {
			return errors.New("--amount is missing: how many tokens are to be paid with --keypair?")
		}
		if len(c.RPC) == 0 {
			return errors.New("--rpc is missing: an endpoint of the cluster to send the payment to")
		}
	}
	if c.Airdrop && key == nil {
		return errors.New("--keypair is missing: --airdrop is for the wallet that pays")
	}
	if c.Wallet.IsZero() {
		return errors.New("--wallet is missing: who is credited? (--keypair names its own wallet)")
	}
	api, err := c.client()
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
	if err != nil {
		return err
	}
	var amount ionet.Amount
	if c.Amount != "" {
		if amount, err = tokens("--amount", c.Amount, network.Decimals); err != nil {
			return err
		}
	}
	var cluster *rpc.Client
	if key != nil {
		if cluster, err = openCluster(s, c.RPC, network); err != nil {
			return err
		}
		if c.Airdrop {
			if err := airdrop(s, cluster, chain.PublicOf(key)); err != nil {
				return err
			}
		}
	}
	r, err := c.reference(s, api, network)
	if err != nil {
		return err
	}
	url := r.URL
	if !amount.IsZero() {
		url += "&amount=" + amount.Tokens(network.Decimals)
	}
	s.print("reference %s of wallet %s", r.Reference, r.Wallet)
	s.print("%s", url)
	if key == nil {
		if !c.NoQR {
			printQR(s.out, url)
		}
		return nil
	}
	return c.pay(s, api, cluster, network, key, amount, r)
}

// reference asks for one and checks what the service said against the network file
// and the published file of the reference.
func (c *depositCmd) reference(s *stage, api *client.Client, n *ionet.Network) (client.DepositRequest, error) {
	r, err := api.RequestDeposit(s.ctx, c.Wallet)
	if err != nil {
		return r, err
	}
	d := proofs.FirstDeposit(n.ID(), c.Wallet)
	if d.Reference() != r.Reference { // another one is known by its file alone
		file, err := api.File(s.ctx, "deposits/"+r.Reference.String())
		if err != nil {
			return r, fmt.Errorf("read the reference's published file: %w", err)
		}
		if d, err = proofs.ParseDeposit(n.ID(), r.Reference, file); err != nil {
			return r, err
		}
	}
	if d.Wallet != c.Wallet || chain.TokenAccount(r.Recipient, n.Mint) != n.Vaults.Fee {
		return r, fmt.Errorf("the service's request is not one to pay in for %s: it credits %s and pays %s", c.Wallet, d.Wallet, r.Recipient)
	}
	return r, nil
}

// pay sends the transfer and waits until the balance has it. Only one transaction is
// ever signed: one that can't land any more is an error, not sent anew.
func (c *depositCmd) pay(s *stage, api *client.Client, cluster *rpc.Client, n *ionet.Network, key ed25519.PrivateKey, amount ionet.Amount, r client.DepositRequest) error {
	hash, err := cluster.LatestBlockhash(s.ctx)
	if err != nil {
		return err
	}
	message, err := chain.Deposit{
		Wallet: chain.PublicOf(key), Mint: n.Mint, Decimals: uint8(n.Decimals), To: n.Vaults.Fee, Amount: amount,
		References: []ionet.Key{r.Reference, r.Wallet}, Memo: "deposit to " + n.Name, Blockhash: hash.Hash, Budget: depositBudget,
	}.Message()
	if err != nil {
		return err
	}
	tx, _, err := chain.SignMessage(message, key)
	if err != nil {
		return err
	}
	raw, err := chain.ParseRaw(tx, nil, nil)
	if err != nil {
		return err
	}
	err = c.follow(s, api, cluster, hash, tx, raw.Signature(), n, r.Reference)
	var refused *rpc.PreflightError
	if errors.As(err, &refused) {
		if lack := lacks(s, cluster, n, chain.PublicOf(key), amount); lack != "" {
			return fmt.Errorf("pay in: %s (%w)", lack, refused)
		}
	}
	return err
}

// follow resends the transaction until the service has credited it.
func (c *depositCmd) follow(s *stage, api *client.Client, cluster *rpc.Client, hash rpc.Blockhash, tx []byte, signature chain.Signature, n *ionet.Network, reference ionet.Key) error {
	s.print("signed as %s", signature)
	taken := false
	for {
		r, err := api.Deposit(s.ctx, reference)
		if err != nil && !client.IsProblem(err, client.UnknownReference) { // the service may not know it until it is paid with
			return err
		}
		if i := slices.IndexFunc(r.Deposits, func(d client.Deposit) bool { return d.Signature == signature.String() }); i >= 0 {
			d := r.Deposits[i]
			if d.State != client.DepositCredited {
				return fmt.Errorf("transaction %s is in suspense: %s", signature, d.Reason)
			}
			s.print("credited: %s IO, final in slot %d", ionet.MustAmount(d.Amount).Tokens(n.Decimals), d.Slot)
			return nil
		}
		head, err := cluster.FinalizedHead(s.ctx)
		if err != nil {
			return err
		}
		if head.BlockHeight > hash.LastValidHeight {
			if err := c.isGone(s, cluster, signature); err != nil {
				return err
			}
		} else if took, err := c.send(s, cluster, tx, hash); err != nil {
			return err
		} else if took && !taken {
			taken = true
			s.print("sent: a node took it")
		}
		if err := s.pause(300 * time.Millisecond); err != nil {
			return err
		}
	}
}

// isGone returns an error for a transaction that can't land any more and did not.
func (c *depositCmd) isGone(s *stage, cluster *rpc.Client, signature chain.Signature) error {
	t, err := cluster.Transaction(s.ctx, signature)
	switch {
	case errors.Is(err, rpc.ErrNotFound):
		return fmt.Errorf("transaction %s did not land in time, and can't any more: nothing was paid; try again", signature)
	case err != nil:
		return err
	case t.Err != nil:
		return fmt.Errorf("transaction %s failed: %w", signature, t.Err)
	}
	return nil // landed: the service is about to see it
}

// send hands the bytes to the cluster and reports whether a node took them; only a
// refusal in preflight is an answer.
func (c *depositCmd) send(s *stage, cluster *rpc.Client, tx []byte, hash rpc.Blockhash) (taken bool, err error) {
	err = cluster.Send(s.ctx, tx, rpc.SendOptions{MinContextSlot: hash.ContextSlot})
	var refused *rpc.PreflightError
	if errors.As(err, &refused) {
		return false, fmt.Errorf("pay in: %w; has the wallet the tokens, and lamports for the fee?", err)
	}
	return err == nil, s.ctx.Err()
}

// printQR prints a text for a phone's camera, two rows of squares a line.
func printQR(out io.Writer, text string) {
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.L, Writer: out, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE, BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
}

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
	api, err := c.client()
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
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
	api, err := c.client()
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
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
