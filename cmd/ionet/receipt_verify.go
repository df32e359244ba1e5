package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// noSeal is why the chain can't be asked yet.
const noSeal = "the receipt is under no seal yet; the next one comes by the service's schedule, so ask again later"

// verify checks a receipt, and prints each check that held. saved: nobody is asked.
func (c *receiptCmd) verify(s *stage, api *client.Client, x *examined, saved bool) error {
	for _, check := range []struct {
		name string
		run  func() (string, error)
	}{
		{"record", x.checkRecord},
		{"statement", x.checkStatement},
		{"voucher", x.checkVoucher},
		{"split", x.checkSplit},
		{"own copy", x.checkKept},
		{"checkpoint", x.checkPublished},
		{"seal", x.checkSealed},
	} {
		said, err := check.run()
		if err != nil {
			return fmt.Errorf("%s: %w", check.name, err)
		}
		if said != "" {
			s.print("ok %-10s %s", check.name, said)
		}
	}
	proofs := 0
	if x.Receipt.Published != nil {
		proofs++
	}
	if x.Receipt.Sealed != nil {
		proofs++
	}
	if c.Seal != "" && !saved {
		said, err := c.checkFile(s, api, x)
		if err != nil {
			return fmt.Errorf("--seal: %w", err)
		}
		s.print("ok %-10s %s", "--seal", said)
		proofs++
	}
	onChain := false
	switch {
	case x.Receipt.Sealed == nil && len(c.RPC) > 0: // who asks for the chain is not told that all is well
		return errors.New("chain: " + noSeal)
	case x.Receipt.Sealed == nil:
		s.print("-- %-10s %s", "chain", noSeal)
	case len(c.RPC) > 0:
		said, err := c.checkChain(s, x)
		if err != nil {
			return fmt.Errorf("chain: %w", err)
		}
		s.print("ok %-10s %s", "chain", said)
		onChain = true
	default:
		s.print("-- %-10s not asked: that the seal is on chain is what the service says; give --rpc", "chain")
	}
	if proofs == 0 {
		return errors.New("the receipt is logged, and under no checkpoint yet: ask again in a few seconds")
	}
	switch {
	case onChain:
		s.print("verified")
	case x.Receipt.Sealed == nil:
		s.print("verified, but for the chain: %s", noSeal)
	default:
		s.print("verified, but for the chain: give --rpc")
	}
	return nil
}

func (x *examined) checkRecord() (string, error) {
	again, err := x.record.Encode()
	if err != nil || !bytes.Equal(again, x.Receipt.Record) {
		return "", errors.New("it does not encode to its own bytes")
	}
	return fmt.Sprintf("leaf %d is %s", x.record.Index, proofs.LeafHash(x.Receipt.Record)), nil
}

// checkStatement: the worker signed it, and what it asks for is what its units cost.
func (x *examined) checkStatement() (string, error) {
	if err := x.receipt.Statement.Verify(x.network.ID()); err != nil {
		return "", err
	}
	if !x.bill.IsBatch() {
		return fmt.Sprintf("worker %s signed it; the fee is what %s cost", x.receipt.Statement.Signer, counted(x.bill.Units, x.bill.Unit.String())), nil
	}
	if x.InBatch == nil || x.Kept == nil {
		return fmt.Sprintf("worker %s signed the batch", x.receipt.Statement.Signer), nil
	}
	return x.checkInBatch()
}

// checkInBatch: the job that the renter holds is one of those that the batch is for.
func (x *examined) checkInBatch() (string, error) {
	batch, err := proofs.ParseJobBatch(x.receipt.Statement.Body)
	if err != nil {
		return "", err
	}
	e, err := oneEnvelope(x.Kept.Statement)
	if err != nil {
		return "", err
	}
	job, err := proofs.ParseJob(e.Body)
	if err != nil {
		return "", err
	}
	if _, err := proofs.CheckInBatch(batch, proofs.BatchLeaf(job), x.InBatch.Index, x.InBatch.Path); err != nil {
		return "", err
	}
	return fmt.Sprintf("worker %s signed the batch; the job is number %d of its %d", x.receipt.Statement.Signer, x.InBatch.Index+1, batch.Count), nil
}

// checkVoucher: the renter's wallet signed the session, its key the channel to this
// worker and the voucher that covers the fee.
func (x *examined) checkVoucher() (string, error) {
	id := x.network.ID()
	se, err := oneEnvelope(x.Session)
	if err != nil {
		return "", fmt.Errorf("session: %w", err)
	}
	session, err := proofs.ParseSession(id, se.Signer, se.Body)
	if err == nil {
		err = se.Verify(id)
	}
	if err != nil || se.Kind != proofs.KindSession || session.Renter != x.receipt.Renter {
		return "", because(err, "session %s is not one that wallet %s signed", se.ID(), x.receipt.Renter)
	}
	oe, err := oneEnvelope(x.Channel)
	if err != nil {
		return "", fmt.Errorf("channel: %w", err)
	}
	open, err := proofs.ParseChannelOpen(oe.Body)
	if err == nil {
		err = oe.Verify(id)
	}
	if err != nil || oe.Kind != proofs.KindChannelOpen || oe.Signer != session.Key || open.Session != se.ID() {
		return "", because(err, "the opening %s is not one that the key of session %s signed", oe.ID(), se.ID())
	}
	address, err := proofs.ChannelAddress(session.Renter, x.receipt.Statement.Signer, x.network.Mint, session.Key, open.Salt, open.OpenSlot)
	if err != nil || address != x.bill.Channel || open.Channel != address || open.Worker != x.receipt.Statement.Signer {
		return "", fmt.Errorf("channel %s is not one of this renter, session key and worker", x.bill.Channel)
	}
	if err := proofs.VerifyVoucher(session.Key, x.bill.Channel, x.bill.Cumulative, x.bill.Voucher); err != nil {
		return "", err
	}
	if x.bill.After.Cmp(open.Limit) > 0 {
		return "", fmt.Errorf("%s is spent after it, the channel's limit is %s", x.bill.After, open.Limit)
	}
	return fmt.Sprintf("wallet %s signed session %s, whose key signed for %s of %s IO", session.Renter, se.ID(),
		x.bill.Cumulative.Tokens(x.network.Decimals), open.Limit.Tokens(x.network.Decimals)), nil
}

func (x *examined) checkSplit() (string, error) {
	provider, network, err := proofs.Split(x.bill.Fee, x.receipt.BasisPoints)
	if err != nil {
		return "", err
	}
	if provider != x.receipt.ProviderPart || network != x.receipt.NetworkPart {
		return "", fmt.Errorf("%s and %s are not the parts of %s at %d basis points", x.receipt.ProviderPart, x.receipt.NetworkPart, x.bill.Fee, x.receipt.BasisPoints)
	}
	d := x.network.Decimals
	return fmt.Sprintf("%s IO to the payee and %s IO to the network are the fee of %s IO", provider.Tokens(d), network.Tokens(d), x.bill.Fee.Tokens(d)), nil
}

// checkKept: the worker gave the renter the statement that it handed in.
func (x *examined) checkKept() (string, error) {
	switch {
	case x.Kept == nil:
		return "", nil
	case !x.bill.IsBatch() && x.Kept.ID != x.receipt.Statement.ID():
		return "", fmt.Errorf("the worker gave you statement %s and handed in %s: ionet dispute makes both public", x.Kept.ID, x.receipt.Statement.ID())
	}
	return fmt.Sprintf("statement %s is the one that came with the answer", x.Kept.ID), nil
}

func (x *examined) checkPublished() (string, error) {
	p := x.Receipt.Published
	if p == nil {
		return "", nil
	}
	note, err := proofs.OpenCheckpoint(x.network.ID(), x.network.Keys.Service, []byte(p.Note))
	if err != nil {
		return "", err
	}
	if err := proofs.CheckInclusion(p.Proof, note.Root, note.Size, x.record.Index, proofs.LeafHash(x.Receipt.Record)); err != nil {
		return "", err
	}
	return fmt.Sprintf("it is in the log of %d leaves, root %s, that the service signed", note.Size, note.Root), nil
}

func (x *examined) checkSealed() (string, error) {
	p := x.Receipt.Sealed
	if p == nil {
		return "", nil
	}
	seal, err := sealIn(p.Memo)
	if err != nil {
		return "", err
	}
	if err := proofs.CheckInclusion(p.Proof, seal.Root, seal.Size, x.record.Index, proofs.LeafHash(x.Receipt.Record)); err != nil {
		return "", err
	}
	return fmt.Sprintf("it is in the log of %d leaves, root %s, sealed by transaction %s", seal.Size, seal.Root, p.Signature), nil
}

func sealIn(memo string) (proofs.SealMemo, error) {
	m, err := proofs.ParseMemo(memo)
	seal, ok := m.(proofs.SealMemo)
	if err != nil || !ok {
		return seal, because(err, "%q is no seal of a receipt log", memo)
	}
	return seal, nil
}

// checkFile checks inclusion under a seal's memo or a checkpoint that the user has of his
// own. The proof to its size is the service's, and need not be trusted.
func (c *receiptCmd) checkFile(s *stage, api *client.Client, x *examined) (string, error) {
	b, err := os.ReadFile(c.Seal)
	if err != nil {
		return "", err
	}
	var size uint64
	var root ionet.Hash
	if seal, err := sealIn(strings.TrimSpace(string(b))); err == nil {
		size, root = seal.Size, seal.Root
	} else {
		note, err := proofs.OpenCheckpoint(x.network.ID(), x.network.Keys.Service, b)
		if err != nil {
			return "", fmt.Errorf("%s is neither what --save wrote, nor a seal's memo, nor a signed checkpoint: %w", c.Seal, err)
		}
		size, root = note.Size, note.Root
	}
	if x.record.Index >= size {
		return "", fmt.Errorf("it is of %d leaves, the receipt is leaf %d: it came later", size, x.record.Index)
	}
	proof, err := api.Inclusion(s.ctx, x.record.Index, size)
	if err != nil {
		return "", err
	}
	if err := proofs.CheckInclusion(proof, root, size, x.record.Index, proofs.LeafHash(x.Receipt.Record)); err != nil {
		return "", err
	}
	return fmt.Sprintf("it is in the log of %d leaves, root %s, of %s", size, root, c.Seal), nil
}

// checkChain finds the seal's transaction: final, on a lane of the network, with that memo.
func (c *receiptCmd) checkChain(s *stage, x *examined) (string, error) {
	cluster, err := openCluster(s, c.RPC, x.network)
	if err != nil {
		return "", err
	}
	slot, err := checkMemo(s, cluster, x.network, x.Receipt.Sealed.Signature, chain.KindSeal, x.Receipt.Sealed.Memo)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("transaction %s is final in slot %d, with this seal", x.Receipt.Sealed.Signature, slot), nil
}

// checkMemo returns the slot of the transaction that the service names, after it was
// found to be final, of that kind and with that memo, on a lane of the network.
func checkMemo(s *stage, cluster *rpc.Client, n *ionet.Network, named string, kind chain.Kind, memo string) (slot uint64, err error) {
	signature, err := chain.ParseSignature(named)
	if err != nil {
		return 0, err
	}
	t, err := cluster.Transaction(s.ctx, signature)
	if errors.Is(err, rpc.ErrNotFound) {
		return 0, fmt.Errorf("the chain has no final transaction %s, which the service names", signature)
	}
	if err != nil {
		return 0, err
	}
	if err := t.Raw.VerifySignatures(); err != nil {
		return 0, fmt.Errorf("the RPC invents transaction %s: %w", signature, err)
	}
	if t.Err != nil {
		return 0, fmt.Errorf("transaction %s failed: %w", signature, t.Err)
	}
	decoded, err := chain.Decode(t.Bytes)
	if err != nil {
		return 0, fmt.Errorf("transaction %s is no seal: %w", signature, err)
	}
	p := decoded.Plan
	if _, ours := n.LaneName(p.Steps[0].Lane); !ours || p.Kind != kind || !p.Mint.IsZero() && p.Mint != n.Mint {
		return 0, fmt.Errorf("transaction %s is a %s on lane %s, not a seal of this network", signature, p.Kind, p.Steps[0].Lane)
	}
	if p.Memo != memo {
		return 0, fmt.Errorf("transaction %s has the memo %q, the service shows %q", signature, p.Memo, memo)
	}
	return t.Slot, nil
}

// because is an error with a cause, if there is one.
func because(cause error, format string, args ...any) error {
	if cause == nil {
		return fmt.Errorf(format, args...)
	}
	return fmt.Errorf(format+": %w", append(args, cause)...)
}

// oneEnvelope reads exactly one statement.
func oneEnvelope(b []byte) (proofs.Envelope, error) {
	e, rest, err := proofs.ParseEnvelope(b)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the statement", len(rest))
	}
	return e, err
}
