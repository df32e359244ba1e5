package main

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"slices"
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
	api, network, err := c.network(s)
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
