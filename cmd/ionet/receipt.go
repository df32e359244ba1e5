package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

type receiptCmd struct {
	Job     string   `arg:"" placeholder:"ID" help:"Id of a job, 32 hex digits as the header Ionet-Job has it, or of a statement, 64 digits."`
	Server  string   `env:"IONET_SERVER" placeholder:"URL" help:"URL of the service; not needed with a --seal file that was saved."`
	Session string   `placeholder:"FILE" help:"The session's key: what its purse keeps of the job is held against the receipt."`
	State   string   `placeholder:"FOLDER" help:"Where that purse is; FILE.purse by default."`
	Verify  bool     `help:"Check everything, and tell what was checked."`
	Seal    string   `placeholder:"FILE" help:"Check inclusion against this: what --save wrote (then nobody is asked), a seal's memo, or a signed checkpoint."`
	Save    string   `placeholder:"FILE" help:"Write all that proves the receipt here; an existing file is never overwritten."`
	RPC     []string `name:"rpc" env:"IONET_RPC" placeholder:"URL" help:"Also find the seal on chain, by this RPC. Repeat for more endpoints."`
	JSON    bool     `name:"json" help:"Print as JSON; amounts are base units."`
}

// Help shows examples below the flags.
func (c *receiptCmd) Help() string {
	return `A receipt is a leaf of the network's receipt log: the worker's signed job statement, with the voucher that pays for it,
and how the fee is split. With --verify nothing is taken on the service's word: the leaf's hash and its way into the
signed checkpoint or the seal, the signatures of worker, session key and wallet, fee and split are computed here.
That the seal is on chain is the service's word without --rpc, and what it ends with then says so. A job that is not
charged (Ionet-Fee is 0), such as one that was refused, has no receipt.

Examples:
  ionet receipt 0123456789abcdef0123456789abcdef --server https://ionetd.example
  ionet receipt 0123456789abcdef0123456789abcdef --server https://ionetd.example --verify --rpc https://rpc.example
  ionet receipt 0123456789abcdef0123456789abcdef --server https://ionetd.example --session session.json --save receipt.proof

Later, without anybody:
  ionet receipt 0123456789abcdef0123456789abcdef --verify --seal receipt.proof`
}

// proven is all that proves a receipt: what --save writes.
type proven struct {
	Network []byte              `json:"network"` // the network file
	Receipt client.Receipt      `json:"receipt"`
	Session []byte              `json:"session"`            // envelope of the session that paid
	Channel []byte              `json:"channel"`            // envelope of the channel's opening
	Kept    *client.KeptReceipt `json:"kept,omitempty"`     // what the renter's purse keeps of the job
	InBatch *client.WorkerJob   `json:"in_batch,omitempty"` // the job's way into its batch, by its worker
}

// Run shows a receipt, checks it, saves it.
func (c *receiptCmd) Run(s *stage) error {
	if b, err := hex.DecodeString(c.Job); err != nil || len(b) != 16 && len(b) != 32 {
		return fmt.Errorf("%s is no id: want the 32 hex digits of a job, or the 64 of a statement", c.Job)
	}
	p, saved, err := c.saved()
	if err != nil {
		return err
	}
	var api *client.Client
	if c.Server != "" {
		if api, err = (server{c.Server}).client(); err != nil {
			return err
		}
	}
	if !saved {
		if api == nil {
			return errors.New("--server is missing: whose receipt log? (a --seal file that was saved needs none)")
		}
		if p, err = c.fetch(s, api); err != nil {
			return err
		}
	}
	x, err := c.examine(p)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := s.json(p.Receipt); err != nil {
			return err
		}
	} else {
		x.show(s)
	}
	if c.Verify {
		if err := c.verify(s, api, x, saved); err != nil {
			return err
		}
	}
	if c.Save == "" {
		return nil
	}
	b, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	if err := writeNew(c.Save, append(b, '\n')); err != nil {
		return fmt.Errorf("--save: %w", err)
	}
	switch {
	case x.Receipt.Sealed == nil:
		s.print("saved in %s, without a seal: %s; save it again then, under another name", c.Save, noSeal)
	default:
		s.print("saved in %s", c.Save)
	}
	return nil
}

// saved reads what --save wrote, where --seal names that.
func (c *receiptCmd) saved() (p proven, ok bool, err error) {
	if c.Seal == "" {
		return p, false, nil
	}
	b, err := os.ReadFile(c.Seal)
	if err != nil {
		return p, false, fmt.Errorf("--seal: %w", err)
	}
	if !strings.HasPrefix(strings.TrimSpace(string(b)), "{") {
		return p, false, nil // a memo or a note: verify reads it
	}
	if err := json.Unmarshal(b, &p); err != nil || len(p.Network) == 0 {
		return p, false, fmt.Errorf("--seal: %s is neither what --save wrote, nor a seal's memo, nor a signed checkpoint", c.Seal)
	}
	return p, true, nil
}

// state is the purse's folder, "" for none.
func (c *receiptCmd) state() string {
	if c.State == "" && c.Session != "" {
		return c.Session + ".purse"
	}
	return c.State
}

// fetch asks the service for the receipt and what belongs to it.
func (c *receiptCmd) fetch(s *stage, api *client.Client) (p proven, err error) {
	network, file, err := api.NetworkFile(s.ctx)
	if err != nil {
		return p, err
	}
	p.Network = file
	if p.Kept, err = c.kept(); err != nil {
		return p, err
	}
	if p.Kept != nil && p.Kept.Fee.IsZero() {
		return p, c.missing(p.Kept)
	}
	p.Receipt, err = api.Receipt(s.ctx, c.Job)
	if client.IsProblem(err, client.UnknownReceipt) && p.Kept != nil {
		// The worker may have put it into a batch, whose receipt is for many.
		if p.InBatch, err = c.askWorker(s, network.ID(), p.Kept); err == nil {
			p.Receipt, err = receiptOfBatch(s, api, p.InBatch)
		}
	}
	if client.IsProblem(err, client.UnknownReceipt) {
		return p, c.missing(p.Kept)
	}
	if err != nil {
		return p, err
	}
	bill, err := billIn(p.Receipt.Record)
	if err != nil {
		return p, err
	}
	channel, err := api.Channel(s.ctx, bill.Channel)
	if err != nil {
		return p, err
	}
	session, err := api.Session(s.ctx, channel.Session)
	if err != nil {
		return p, err
	}
	p.Channel, p.Session = channel.Statement, session.Statement
	return p, nil
}

// missing says why there is no receipt, as far as that is known here.
func (c *receiptCmd) missing(kept *client.KeptReceipt) error {
	const none = "the log has no receipt of " + "%s (" + client.UnknownReceipt + "): "
	switch {
	case kept != nil && kept.Fee.IsZero():
		return fmt.Errorf(none+"it cost nothing, and what is not charged has none", c.Job)
	case kept != nil:
		return fmt.Errorf(none+"its worker has not handed it in yet, or put it into a batch that it does not tell of now; ask again in some minutes", c.Job)
	case c.state() != "":
		return fmt.Errorf(none+"nor does the purse in %s keep such a job; is it the id in the answer's Ionet-Job, and was it charged (Ionet-Fee is more than 0)?", c.Job, c.state())
	}
	return fmt.Errorf(none+"it has one some minutes after a job that was charged, never where Ionet-Fee is 0; one that went into a batch is found with --session, by its worker", c.Job)
}

// kept finds the job in the purse.
func (c *receiptCmd) kept() (*client.KeptReceipt, error) {
	dir := c.state()
	if dir == "" {
		return nil, nil
	}
	list, err := client.ReadReceipts(dir)
	if err != nil {
		return nil, fmt.Errorf("--session: %w", err)
	}
	for _, k := range list {
		if k.Job.String() == c.Job || k.ID.String() == c.Job {
			return &k, nil
		}
	}
	return nil, nil
}

// askWorker asks a job's worker where it stands in its batch. It tells the session's key
// alone, for a job shows a voucher.
func (c *receiptCmd) askWorker(s *stage, network ionet.Hash, kept *client.KeptReceipt) (*client.WorkerJob, error) {
	if kept.Endpoint == "" {
		return nil, errors.New("the purse does not know where the job's worker is")
	}
	if c.Session == "" {
		return nil, fmt.Errorf("worker %s tells of job %s to the session's key alone: give --session", kept.Worker, kept.Job)
	}
	key, err := (&sessionFile{Session: c.Session}).key()
	if err != nil {
		return nil, err
	}
	path := fmt.Sprintf("/ionet/v1/jobs/%s/%s", kept.Channel, kept.Job)
	req, err := http.NewRequestWithContext(s.ctx, http.MethodGet, strings.TrimSuffix(kept.Endpoint, "/")+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set(proofs.ReadHeader, proofs.SignRead(network, key, time.Now(), http.MethodGet, path))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask worker %s: %w", kept.Worker, err)
	}
	defer resp.Body.Close()
	var job client.WorkerJob
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&job); err != nil || resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("worker %s does not tell of job %s: %s", kept.Worker, kept.Job, resp.Status)
	}
	return &job, nil
}

// receiptOfBatch asks the service for the receipt of the batch that a job is in.
func receiptOfBatch(s *stage, api *client.Client, job *client.WorkerJob) (r client.Receipt, err error) {
	if len(job.Batch) == 0 {
		return r, errors.New("the worker has not handed the job in yet: ask again in a minute")
	}
	e, rest, err := proofs.ParseEnvelope(job.Batch)
	if err != nil || len(rest) > 0 {
		return r, because(err, "the worker's batch is no statement")
	}
	return api.Receipt(s.ctx, e.ID().String())
}

// billIn returns the bill of a record that is a receipt.
func billIn(record []byte) (proofs.Bill, error) {
	r, err := proofs.ParseRecord(record)
	if err != nil {
		return proofs.Bill{}, err
	}
	receipt, ok := r.Entry.(proofs.Receipt)
	if !ok {
		return proofs.Bill{}, fmt.Errorf("record %d is no receipt", r.Index)
	}
	return proofs.ParseBill(receipt.Statement.Kind, receipt.Statement.Body)
}

// examined is a receipt that was read.
type examined struct {
	proven
	network *ionet.Network
	record  proofs.Record
	receipt proofs.Receipt
	bill    proofs.Bill
}

// examine reads the receipt; it must be that of the job that was asked for.
func (c *receiptCmd) examine(p proven) (*examined, error) {
	x := &examined{proven: p}
	var err error
	if x.network, err = ionet.ParseNetwork(p.Network); err != nil {
		return nil, err
	}
	if x.record, err = proofs.ParseRecord(p.Receipt.Record); err != nil {
		return nil, err
	}
	var ok bool
	if x.receipt, ok = x.record.Entry.(proofs.Receipt); !ok || x.record.Index != p.Receipt.Index {
		return nil, fmt.Errorf("record %d is no receipt at %d", x.record.Index, p.Receipt.Index)
	}
	if x.bill, err = proofs.ParseBill(x.receipt.Statement.Kind, x.receipt.Statement.Body); err != nil {
		return nil, err
	}
	statement := x.receipt.Statement.ID().String()
	ids := []string{hex.EncodeToString(x.bill.ID[:]), statement}
	if p.InBatch != nil && p.Kept != nil {
		ids = append(ids, p.Kept.Job.String(), p.Kept.ID.String())
	}
	for _, id := range ids {
		if id == c.Job {
			return x, nil
		}
	}
	return nil, fmt.Errorf("the receipt is of job %s, statement %s, not of %s", ids[0], statement, c.Job)
}

// show prints the receipt.
func (x *examined) show(s *stage) {
	b, d := x.bill, x.network.Decimals
	s.print("receipt %d: %s", x.record.Index, x.Receipt.State)
	row := func(name, format string, args ...any) { s.print("  %-12s %s", name, fmt.Sprintf(format, args...)) }
	if b.IsBatch() {
		row("batch", "%x of %s", b.ID, counted(uint64(b.Count), "job"))
	} else {
		row("job", "%x", b.ID)
		row("model", "%s: %s at %s IO per %d", b.Model, counted(b.Units, b.Unit.String()), b.Price.Tokens(d), b.Per)
	}
	row("served", "%s", clockText(b.Served))
	row("worker", "%s", x.receipt.Statement.Signer)
	row("channel", "%s", b.Channel)
	row("fee", "%s IO", b.Fee.Tokens(d))
	row("spent", "%s IO before, %s IO after; the voucher covers %s IO", b.Before.Tokens(d), b.After.Tokens(d), b.Cumulative.Tokens(d))
	row("renter", "%s", x.receipt.Renter)
	row("payee", "%s gets %s IO", x.receipt.Payee, x.receipt.ProviderPart.Tokens(d))
	row("network", "gets %s IO, %d basis points", x.receipt.NetworkPart.Tokens(d), x.receipt.BasisPoints)
	row("statement", "%s", x.receipt.Statement.ID())
	row("log", "%s IO of fees, %s up to here", x.receipt.TotalFees.Tokens(d), counted(x.receipt.TotalJobs, "job"))
	if x.Kept != nil {
		row("kept", "salt %s, %s", x.Kept.Salt, map[bool]string{true: "the answer came", false: "the answer did not come"}[x.Kept.Answered])
	}
}
