package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type disputeCmd struct {
	server
	Job     string     `arg:"" optional:"" placeholder:"ID" help:"Id of the job, 32 hex digits."`
	Keypair string     `placeholder:"FILE" help:"The renter's wallet; it signs the dispute, and pays nothing."`
	Session string     `placeholder:"FILE" help:"The session's key: its purse keeps the statement that the worker gave you."`
	State   string     `placeholder:"FOLDER" help:"Where that purse is; FILE.purse by default."`
	Receipt string     `placeholder:"ID" help:"The statement in the receipt, where that is not of this job: a batch, or another job for the same part of the channel."`
	Status  ionet.Hash `placeholder:"ID" help:"Tell where the dispute of that id stands, and end; no key is read."`
	JSON    bool       `name:"json" help:"Print as JSON."`
}

// Help shows examples below the flags.
func (c *disputeCmd) Help() string {
	return `A worker gives you a signed statement with each answer, and hands one in to be paid. Where these differ, both become
public evidence, which every auditor finds. It moves no money.

Examples:
  ionet dispute 0123456789abcdef0123456789abcdef --server https://ionetd.example --keypair wallet.json --session session.json
  ionet dispute --server https://ionetd.example --status 3f2a...`
}

// Run signs a dispute and hands it in, or tells where one stands.
func (c *disputeCmd) Run(s *stage) error {
	api, err := c.client()
	if err != nil {
		return err
	}
	if !c.Status.IsZero() {
		d, err := api.Dispute(s.ctx, c.Status)
		if err != nil {
			return err
		}
		return c.show(s, d)
	}
	switch {
	case c.Job == "":
		return errors.New("the job's id is missing: which one is wrong?")
	case c.Keypair == "":
		return errors.New("--keypair is missing: the wallet whose money paid for the job")
	case c.Session == "" && c.State == "":
		return errors.New("--session is missing: its purse keeps the statement that the worker gave you")
	}
	wallet, err := readKeypair(c.Keypair)
	if err != nil {
		return err
	}
	network, _, err := api.NetworkFile(s.ctx)
	if err != nil {
		return err
	}
	kept, err := (&receiptCmd{Job: c.Job, Session: c.Session, State: c.State}).kept()
	if err != nil {
		return err
	}
	if kept == nil {
		return fmt.Errorf("the purse keeps nothing of job %s: there is no statement to hold against its receipt", c.Job)
	}
	response, err := oneEnvelope(kept.Statement)
	if err != nil {
		return fmt.Errorf("read what the purse keeps of job %s: %w", c.Job, err)
	}
	statement, err := c.receipt(s, api, kept)
	if err != nil {
		return err
	}
	text, err := proofs.Dispute{Renter: chain.PublicOf(wallet), Job: statement, Response: response.ID(), Issued: time.Now().Unix()}.Text(network.ID())
	if err != nil {
		return err
	}
	d, err := api.SubmitDispute(s.ctx, proofs.Sign(network.ID(), proofs.KindDispute, wallet, []byte(text)), response)
	if err != nil {
		return err
	}
	s.print("%s\n", text)
	return c.show(s, d)
}

// receipt returns the id of the statement that the worker handed in, which differs from
// the one that it gave.
func (c *disputeCmd) receipt(s *stage, api *client.Client, kept *client.KeptReceipt) (id ionet.Hash, err error) {
	ask := c.Job
	if c.Receipt != "" {
		ask = c.Receipt
	}
	r, err := api.Receipt(s.ctx, ask)
	if err != nil {
		return id, fmt.Errorf("the receipt of %s: %w", ask, err)
	}
	record, err := proofs.ParseRecord(r.Record)
	if err != nil {
		return id, err
	}
	e, ok := record.Statement()
	if !ok {
		return id, fmt.Errorf("record %d is no receipt", record.Index)
	}
	if e.ID() == kept.ID {
		return id, fmt.Errorf("job %s has no contradiction: receipt %d is the very statement that came with the answer", c.Job, record.Index)
	}
	return e.ID(), nil
}

func (c *disputeCmd) show(s *stage, d client.Dispute) error {
	if c.JSON {
		return s.json(d)
	}
	s.print("dispute %s of %s: %s", d.ID, clockText(d.Time), d.State)
	s.print("  worker %s handed in %s, and gave %s", d.Worker, d.Job, d.Response)
	switch d.State {
	case client.DisputeContradiction:
		s.print("  it signed both: the evidence is public as /files/%s", d.File)
	case client.DisputeOpen:
		s.print("  the receipt is of a batch, whose worker may show that it holds the job; what is known is public as /files/%s", d.File)
	case client.DisputeAnswered:
		s.print("  the batch holds the job as you have it: public as /files/%s", d.Answer)
	}
	return nil
}
