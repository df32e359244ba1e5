package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/internal/openaiclient"
	"github.com/ionet-settlement/ionet/proofs"
)

// What the renter buys, pays in and lets his session key spend, in tokens.
const (
	bought   = "40"
	paidIn   = "30"
	reserved = "20"
)

// seller is the provider who sells tokens to the renter: the first, who has claimed.
const seller = 1

func (s *stage) renterFile() string { return filepath.Join(s.dir, "wallets", "renter.json") }
func (s *stage) session() string    { return filepath.Join(s.dir, "renter", "session.json") }

// another is a session that a person may open after the demo.
func (s *stage) another() string { return filepath.Join(s.dir, "renter", "another.json") }

// rent is the renter's story: he pays in, lets a key spend a part of it, asks a worker
// through the proxy with the official OpenAI client, checks a receipt against the chain,
// and has the rest back.
func (s *stage) rent(ctx context.Context) error {
	for _, step := range []func(context.Context) error{s.payIn, s.openSession, s.infer, s.checkReceipt, s.leaveSession} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// payIn makes the renter's wallet, buys tokens from a provider and deposits most of them.
func (s *stage) payIn(ctx context.Context) error {
	if err := s.do(ctx, "renter", "ionet", "keygen", "--out", s.renterFile()); err != nil {
		return err
	}
	if err := s.openAccount(ctx, s.renterFile()); err != nil {
		return err
	}
	if err := s.sell(ctx); err != nil {
		return err
	}
	return s.do(ctx, "renter", "ionet", "deposit", "--server", s.server, "--keypair", s.renterFile(), "--amount", paidIn, "--rpc", s.rpc)
}

// sell has a provider send tokens to the renter, as on any market.
func (s *stage) sell(ctx context.Context) error {
	cluster, err := rpc.New(rpc.Config{Endpoints: []string{s.rpc}})
	if err != nil {
		return err
	}
	key, err := s.keyOf(seller)
	if err != nil {
		return err
	}
	renter, err := chain.ReadKeypair(s.renterFile())
	if err != nil {
		return fmt.Errorf("read the renter's wallet: %w", err)
	}
	amount, err := ionet.ParseTokens(bought, s.network.Decimals)
	if err != nil {
		return err
	}
	hash, err := cluster.LatestBlockhash(ctx)
	if err != nil {
		return err
	}
	message, err := chain.Deposit{
		Wallet: chain.PublicOf(key), Mint: s.network.Mint, Decimals: uint8(s.network.Decimals), To: chain.TokenAccount(chain.PublicOf(renter), s.network.Mint),
		Amount: amount, Blockhash: hash.Hash, Budget: walletBudget,
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
	if err := cluster.Send(ctx, tx, rpc.SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
		return fmt.Errorf("sell tokens to the renter: %w", err)
	}
	s.sold = amount
	s.say("renter", "bought %s IO from provider %d by %s", bought, seller, raw.Signature())
	return s.until(ctx, "the sale to be final", func() (bool, error) {
		_, err := cluster.Transaction(ctx, raw.Signature())
		if errors.Is(err, rpc.ErrNotFound) {
			return false, nil
		}
		return err == nil, err
	})
}

// openSession lets a key of the renter's machine spend a part of the balance.
func (s *stage) openSession(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.session()), 0o700); err != nil {
		return fmt.Errorf("make the renter's folder: %w", err)
	}
	return s.openSessionOf(ctx, s.session(), reserved)
}

func (s *stage) openSessionOf(ctx context.Context, file, reserve string) error {
	return s.do(ctx, "renter", "ionet", "session", "open", "--server", s.server, "--keypair", s.renterFile(), "--key-out", file, "--reserve", reserve)
}

// startProxy starts the renter's proxy and returns the URL of its API.
func (s *stage) startProxy(ctx context.Context, session string) (url string, err error) {
	listen, err := freeAddress()
	if err != nil {
		return "", err
	}
	if s.proxy, err = s.start("proxy", "ionet", "proxy", "--server", s.server, "--session", session, "--listen", listen); err != nil {
		return "", err
	}
	return s.proxy.line(ctx, "serving OpenAI's API at ")
}

// infer asks through `ionet proxy` with the official OpenAI client.
func (s *stage) infer(ctx context.Context) error {
	at, err := s.startProxy(ctx, s.session())
	if err != nil {
		return err
	}
	c, err := openaiclient.Start(ctx, at)
	if err != nil {
		return err
	}
	ask := func(about string) []map[string]string { return []map[string]string{{"role": "user", "content": about}} }
	for _, call := range []openaiclient.Call{
		{Name: "models"},
		{Name: "chat", Params: map[string]any{"model": "demo-writer", "max_tokens": 40, "messages": ask("What does the lighthouse keep?")}},
		{Name: "chat", Params: map[string]any{"model": "demo-writer", "max_tokens": 40, "stream": true, "messages": ask("Tell of the miller and the farmer.")}},
		{Name: "embedding", Params: map[string]any{"model": "demo-words", "input": "a log keeps its order"}},
		{Name: "image", Params: map[string]any{"model": "demo-painter", "prompt": "a lighthouse at night", "size": "128x128"}},
	} {
		a, err := c.Do(call)
		if err != nil {
			return err
		}
		if !a.OK {
			return fmt.Errorf("%s through the proxy: status %d, %s", call.Name, a.Status, a.Message)
		}
		s.say("renter", "%s", toldOf(call, a))
		if job := a.Headers["ionet-job"]; job != "" {
			s.jobs = append(s.jobs, job)
		}
	}
	head, err := s.api.Head(ctx)
	s.served = head.Epoch
	return errors.Join(err, c.Close())
}

// toldOf is a line about an answer.
func toldOf(call openaiclient.Call, a openaiclient.Answer) string {
	line := call.Name
	switch {
	case len(a.Models) > 0:
		return fmt.Sprintf("models: %v", a.Models)
	case a.Text != "":
		line += fmt.Sprintf(": %.60q", a.Text)
	case a.Dimensions > 0:
		line += fmt.Sprintf(": a vector of %d numbers", a.Dimensions)
	case len(a.Bytes) > 0:
		line += fmt.Sprintf(": a picture of %d bytes", a.Bytes[0])
	}
	if a.Chunks > 0 {
		line += fmt.Sprintf(" in %d chunks", a.Chunks)
	}
	return line + ", job " + a.Headers["ionet-job"]
}

// checkReceipt waits until the last job is sealed and has its receipt verified.
func (s *stage) checkReceipt(ctx context.Context) error {
	last := s.jobs[len(s.jobs)-1]
	err := s.until(ctx, "the receipt to be sealed", func() (bool, error) {
		r, err := s.api.Receipt(ctx, last)
		if client.IsProblem(err, client.UnknownReceipt) {
			return false, nil // the worker hands its statements in by and by
		}
		return err == nil && r.State == client.ReceiptSealed, err
	})
	if err != nil {
		return err
	}
	log, err := s.api.Log(ctx)
	if err != nil {
		return err
	}
	for _, job := range s.jobs {
		if err := s.showReceipt(ctx, job); err != nil {
			return err
		}
	}
	s.say("log", "%d records, %d inferences, fees of %s IO; sealed with %d records by %s",
		log.Size, log.Jobs, log.Fees.Tokens(s.network.Decimals), log.Sealed.Size, log.Sealed.Signature)
	saved := filepath.Join(filepath.Dir(s.session()), last+".proof")
	if err := s.do(ctx, "renter", "ionet", "receipt", last, "--server", s.server, "--session", s.session(), "--verify", "--rpc", s.rpc, "--save", saved); err != nil {
		return err
	}
	// And once more without the service.
	return s.do(ctx, "renter", "ionet", "receipt", last, "--verify", "--seal", saved, "--rpc", s.rpc)
}

// showReceipt tells what the log has of a job.
func (s *stage) showReceipt(ctx context.Context, job string) error {
	r, err := s.api.Receipt(ctx, job)
	if err != nil {
		return err
	}
	record, err := proofs.ParseRecord(r.Record)
	if err != nil {
		return err
	}
	receipt, ok := record.Entry.(proofs.Receipt)
	if !ok {
		return fmt.Errorf("record %d of the log is a %s, not the receipt of job %s", r.Index, record.Entry.Tag(), job)
	}
	b, err := proofs.ParseBill(receipt.Statement.Kind, receipt.Statement.Body)
	if err != nil {
		return err
	}
	io := func(a ionet.Amount) string { return a.Tokens(s.network.Decimals) }
	units := fmt.Sprintf("%d %s", b.Units, b.Unit)
	if b.Units != 1 {
		units += "s"
	}
	s.say("log", "receipt %d: job %s, %s of %s, fee %s IO: %s to the provider, %s to the network",
		r.Index, job, units, b.Model, io(b.Fee), io(receipt.ProviderPart), io(receipt.NetworkPart))
	return nil
}

// leaveSession stops the proxy, closes the session, waits until what it has left is back,
// and withdraws all of the balance.
func (s *stage) leaveSession(ctx context.Context) error {
	if err := s.proxy.stop(); err != nil {
		return err
	}
	rest, err := s.closeSession(ctx, s.session())
	if err != nil {
		return err
	}
	return s.do(ctx, "renter", "ionet", "withdraw", "--server", s.server, "--keypair", s.renterFile(), "--amount", rest.Tokens(s.network.Decimals))
}

// closeSession closes a session and returns the renter's balance when it is over.
func (s *stage) closeSession(ctx context.Context, file string) (rest ionet.Amount, err error) {
	if err := s.do(ctx, "renter", "ionet", "session", "close", "--server", s.server, "--session", file); err != nil {
		return rest, err
	}
	renter, err := chain.ReadKeypair(s.renterFile())
	if err != nil {
		return rest, fmt.Errorf("read the renter's wallet: %w", err)
	}
	err = s.until(ctx, "the session to be over", func() (bool, error) {
		r, err := s.api.Renter(ctx, chain.PublicOf(renter))
		rest = r.Balance
		return err == nil && r.Reserved.IsZero(), err
	})
	return rest, err
}

// say writes a line as if it were a child's.
func (s *stage) say(name, format string, args ...any) {
	fmt.Fprintf(s.show, "%s  %-9s %s\n", time.Now().Format("15:04:05"), name, fmt.Sprintf(format, args...))
}

// until asks again and again until something is so, or the service has ended.
func (s *stage) until(ctx context.Context, what string, so func() (bool, error)) error {
	for {
		ok, err := so()
		if ok || err != nil && ctx.Err() == nil {
			return err
		}
		if !s.service.running() {
			return fmt.Errorf("ionetd ended: %v; see %s", s.service.err, s.log.Name())
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w", what, context.Cause(ctx))
		}
	}
}
