package main

import (
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type historyCmd struct {
	server
	Wallet  ionet.Key `placeholder:"KEY" help:"The renter's wallet; that of --keypair, or of --session, by default."`
	Keypair string    `placeholder:"FILE" help:"The wallet: it signs the request for its receipts, which are for its eyes."`
	Session string    `placeholder:"FILE" help:"The key of one of its sessions, in place of the wallet's."`
	JSON    bool      `name:"json" help:"Print as JSON; amounts are base units."`
}

// Help shows examples below the flags.
func (c *historyCmd) Help() string {
	return `Deposits, sessions, receipts and withdrawals, the oldest first. Receipts are listed for the wallet itself or a key of
one of its sessions; without one of these, all else is. The newest deposits, sessions and withdrawals are shown.
+ came into the balance, - went out of it, (-) is a part of what went into its session before. A withdrawal that
expired took nothing. Times are when the network took it, or the block's.

Examples:
  ionet history --server https://ionetd.example --keypair wallet.json
  ionet history --server https://ionetd.example --session session.json --json
  ionet history --server https://ionetd.example --wallet 9aB...`
}

// Flows of a happening.
const (
	flowIn      = "in"         // to the balance
	flowOut     = "out"        // of the balance
	flowSession = "of-session" // of a reserve that went out of the balance before
	flowNone    = "none"       // it did not happen in the end
)

// happening is a line of a history.
type happening struct {
	Time   int64        `json:"time"` // when it was taken, or the block's; Unix seconds
	Flow   string       `json:"flow"`
	What   string       `json:"what"`
	Amount ionet.Amount `json:"amount"`
	ID     string       `json:"id"`
	State  string       `json:"state"`
	Note   string       `json:"note,omitempty"`
}

// Run prints a renter's history.
func (c *historyCmd) Run(s *stage) error {
	if c.Keypair != "" && c.Session != "" {
		return errors.New("--keypair and --session can't be used together: one key signs the request")
	}
	api, network, err := c.network(s)
	if err != nil {
		return err
	}
	reader, err := c.reader(network)
	if err != nil {
		return err
	}
	if c.Wallet.IsZero() {
		return errors.New("--wallet is missing: whose history?")
	}
	r, err := api.Renter(s.ctx, c.Wallet)
	if err != nil {
		return err
	}
	list := happenings(r)
	if reader != nil {
		receipts, err := receiptsOf(s, api.ForNetwork(network.ID()), c.Wallet, reader)
		if err != nil {
			return err
		}
		list = append(list, receipts...)
	}
	slices.SortStableFunc(list, func(a, b happening) int { return cmp.Compare(a.Time, b.Time) })
	if c.JSON {
		return s.json(list)
	}
	t := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "time\twhat\t\tIO\tstate\tid\tnote")
	for _, h := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", clockText(h.Time), h.What, h.sign(), h.Amount.Tokens(network.Decimals), h.State, h.ID, h.Note)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if reader == nil {
		s.print("receipts are for the wallet's eyes: give --keypair, or --session")
	}
	return nil
}

// reader returns the key that signs the request, nil for none, and sets the wallet.
func (c *historyCmd) reader(n *ionet.Network) (ed25519.PrivateKey, error) {
	wallet := ionet.Key{}
	var key ed25519.PrivateKey
	var err error
	switch {
	case c.Keypair != "":
		if key, err = readKeypair(c.Keypair); err != nil {
			return nil, err
		}
		wallet = chain.PublicOf(key)
	case c.Session != "":
		f := sessionFile{Session: c.Session}
		if key, err = f.key(); err != nil {
			return nil, err
		}
		_, session, err := readSession(c.Session, n)
		if err != nil {
			return nil, fmt.Errorf("--session: %w", err)
		}
		wallet = session.Renter
	}
	if c.Wallet.IsZero() {
		c.Wallet = wallet
	}
	return key, nil
}

// sign is the flow in the table.
func (h happening) sign() string {
	return map[string]string{flowIn: "+", flowOut: "-", flowSession: "(-)"}[h.Flow]
}

// happenings lists what is public of a renter, the oldest of each kind first.
func happenings(r client.Renter) (list []happening) {
	for _, d := range slices.Backward(r.Deposits) { // the service lists the latest first
		amount, err := ionet.NewAmount(d.Amount)
		if err != nil || d.Mint.IsZero() {
			continue
		}
		list = append(list, happening{Time: d.Time, Flow: flowIn, What: "deposit", Amount: amount, ID: d.Signature, State: d.State, Note: d.Reason})
	}
	for _, one := range slices.Backward(r.Sessions) {
		list = append(list, happening{
			Time: one.Accepted, Flow: flowOut, What: "session", Amount: one.Reserve, ID: one.ID.String(), State: one.State,
			Note: spentOf(one, r.Decimals),
		})
	}
	for _, w := range slices.Backward(r.Withdrawals) {
		flow := flowOut
		if w.State == client.WithdrawalIsExpired {
			flow = flowNone
		}
		list = append(list, happening{Time: w.Asked, Flow: flow, What: "withdrawal", Amount: w.Amount, ID: w.ID.String(), State: w.State, Note: w.Reason})
	}
	return list
}

// spentOf says what became of a session's reserve.
func spentOf(one client.Session, decimals int) string {
	note := one.Spent.Tokens(decimals) + " IO spent of it"
	if one.State == "over" {
		note += ", the rest came back"
	}
	return note
}

// counted is a number of things, such as "1 image" or "2 jobs".
func counted(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

// receiptsOf lists a renter's receipts, which the service gives to those who may read them.
func receiptsOf(s *stage, api *client.Client, wallet ionet.Key, reader ed25519.PrivateKey) (list []happening, err error) {
	for page, err := range api.Receipts(s.ctx, client.ReceiptsAsk{Renter: wallet, Reader: reader}) {
		if err != nil {
			return nil, err
		}
		for _, r := range page.Receipts {
			record, err := proofs.ParseRecord(r.Record)
			if err != nil {
				return nil, fmt.Errorf("read receipt %d: %w", r.Index, err)
			}
			bill, err := billIn(r.Record)
			if err != nil {
				return nil, fmt.Errorf("read receipt %d: %w", r.Index, err)
			}
			note := fmt.Sprintf("%s of %s", counted(bill.Units, bill.Unit.String()), bill.Model)
			if bill.IsBatch() {
				note = "a batch of " + counted(uint64(bill.Count), "job")
			}
			list = append(list, happening{Time: record.Accepted, Flow: flowSession, What: "receipt", Amount: bill.Fee, ID: fmt.Sprintf("%x", bill.ID), State: fmt.Sprintf("leaf %d", r.Index), Note: note})
		}
	}
	return list, nil
}
