package genesis

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

// Plan is all that Prepare and Run would do from here on, with its cost in
// lamports; String tells it in words. Amounts are exact: rent is what the
// cluster asks now, less what lies at the addresses already.
type Plan struct {
	Files        []PlannedFile
	Accounts     []PlannedAccount     // the mint first
	Transactions []PlannedTransaction // in the order of sending; only those to be sent
	Memo         string               // of the genesis transaction

	Rent    uint64 // lamports that stay in the accounts to be made
	Fees    uint64 // lamports of all transactions
	Reserve uint64 // lamports to have beside Rent and Fees before anything is made
	Balance uint64 // lamports of the operator
	Final   bool   // the genesis transaction is final

	draft *Draft
}

// PlannedFile is a file of the folder or of the published store.
type PlannedFile struct {
	Path   string
	Exists bool
	Anew   bool // there, and to be replaced because the start is moved
}

// PlannedAccount is an account of the network.
type PlannedAccount struct {
	Name    string
	Address ionet.Key
	NewKey  string // file of a key that is not made yet and decides the address; "": the address is final
	Exists  bool
	Rent    uint64 // lamports to be put into it
}

// PlannedTransaction is a transaction to be sent.
type PlannedTransaction struct {
	What       string
	Signatures int
	Rent       uint64 // lamports that it puts into accounts
	Fee        uint64 // lamports
}

// Cost returns what the operator's balance loses: Rent + Fees.
func (p *Plan) Cost() uint64 { return p.Rent + p.Fees }

// Lacks returns the lamports that the operator has to be sent before a run.
func (p *Plan) Lacks() uint64 {
	need := p.Cost() + p.Reserve
	return max(need, p.Balance) - p.Balance
}

// Airdrop returns the lamports that a run with Options.Airdrop asks the cluster
// for before it makes anything.
func (p *Plan) Airdrop() uint64 { return airdropFor(p.Lacks()) }

// IsDone reports whether nothing is left to do but, perhaps, to wait until the
// genesis transaction is final.
func (p *Plan) IsDone() bool {
	for _, f := range p.Files {
		if !f.Exists || f.Anew {
			return false
		}
	}
	return len(p.Transactions) == 0
}

// Plan asks the cluster what is there and tells what Prepare and Run would do.
// It changes nothing. store is the published store, nil where there is none yet.
func (d *Draft) Plan(ctx context.Context, c *rpc.Client, store publish.Reader) (*Plan, error) {
	p, err := d.plan(ctx, c, store)
	if err != nil {
		return nil, fmt.Errorf("plan genesis: %w", err)
	}
	return p, nil
}

func (d *Draft) plan(ctx context.Context, c *rpc.Client, store publish.Reader) (*Plan, error) {
	r, err := open(ctx, &d.p, Options{Chain: c})
	if err != nil {
		return nil, err
	}
	s, err := r.survey(ctx)
	if err != nil {
		return nil, err
	}
	hash, err := r.Chain.LatestBlockhash(ctx)
	if err != nil {
		return nil, err
	}
	actions, err := r.decide(s, hash)
	if err != nil {
		return nil, err
	}
	p := &Plan{draft: d, Balance: s.balance, Memo: r.content.Memo}
	if !d.isIDFinal() {
		p.Memo = strings.Replace(p.Memo, ionet.Key(d.p.Network.ID()).String(), "<id of the network file>", 1)
	}
	if s.minted {
		if p.Final, err = r.landed(ctx); err != nil {
			return nil, err
		}
	}
	p.addAccounts(s)
	for _, a := range actions {
		what := "make " + a.what
		if len(a.objects) == 0 {
			n := d.p.Network
			what = fmt.Sprintf("mint the genesis supply of %s tokens to %d allocation accounts", n.Schedule.Genesis.Tokens(n.Decimals), len(n.Allocation))
			if n.Authorities.Mint != n.Keys.Operator {
				what += ", and give the mint to its multisig"
			}
		}
		p.Transactions = append(p.Transactions, PlannedTransaction{What: what, Signatures: len(a.keys), Rent: a.rent(), Fee: a.fee()})
	}
	p.Rent, p.Fees = cost(actions)
	p.Reserve = needOf(s, actions) - p.Cost()
	return p, p.addFiles(ctx, r, store)
}

// isIDFinal reports whether the network file to be written is known to its last
// byte, and with it the network's id.
func (d *Draft) isIDFinal() bool {
	return !d.start.floating && d.newKey(d.keyFiles()) == ""
}

func (d *Draft) keyFiles() []string {
	var names []string
	for _, f := range d.p.Keys.list(d.design.keyed()) {
		names = append(names, f.name)
	}
	return names
}

// newKey returns the path of the first of the key files that is missing, ""
// where none is.
func (d *Draft) newKey(names []string) string {
	for _, name := range names {
		if d.missing[name] {
			return filepath.Join(d.p.Dir, name)
		}
	}
	return ""
}

func (p *Plan) addAccounts(s survey) {
	for _, o := range s.objects {
		p.Accounts = append(p.Accounts, PlannedAccount{
			Name: o.name, Address: o.address, NewKey: p.draft.newKey(o.keys), Exists: o.exists, Rent: o.lacks,
		})
	}
}

// addFiles lists the files of the folder, then those of the published store.
func (p *Plan) addFiles(ctx context.Context, r *run, store publish.Reader) error {
	d := p.draft
	for _, name := range append(d.keyFiles(), secretFile, PolicyFile, NetworkFile) {
		p.Files = append(p.Files, PlannedFile{Path: filepath.Join(d.p.Dir, name), Exists: !d.missing[name], Anew: name == NetworkFile && d.start.moved})
	}
	for _, f := range []struct{ title, name string }{
		{"network file", publish.NetworkName(d.p.Network.ID())},
		{"content of the genesis transaction", publish.ContentName(r.content.Hash())},
	} {
		published := PlannedFile{Path: "published " + f.title}
		if store != nil && !d.missing[NetworkFile] {
			_, err := store.Get(ctx, f.name)
			if err != nil && !errors.Is(err, publish.ErrNotFound) {
				return err
			}
			published.Exists = err == nil
		}
		p.Files = append(p.Files, published)
	}
	return nil
}
