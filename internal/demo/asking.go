package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// What the renter pays in for the time when things go wrong, and lets a session spend.
const (
	siegePaidIn   = "20"
	siegeReserved = "15"
)

func (g *siege) siegeSession() string { return filepath.Join(g.dir, "renter", "siege.json") }

// letRent opens another session for the renter and starts his proxy, while all is well.
func (g *siege) letRent(ctx context.Context) error {
	if err := g.do(ctx, "renter", "ionet", "deposit", "--server", g.server, "--keypair", g.renterFile(), "--amount", siegePaidIn, "--rpc", g.rpc); err != nil {
		return err
	}
	if err := g.openSessionOf(ctx, g.siegeSession(), siegeReserved); err != nil {
		return err
	}
	var err error
	g.asks, err = g.startProxy(ctx, g.siegeSession())
	return err
}

// ask has the renter ask for some words, or a picture.
func (g *siege) ask(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path, body := "/chat/completions", fmt.Sprintf(`{"model":"demo-writer","max_tokens":%d,"stream":%t,"messages":[{"role":"user","content":"Tell of the river."}]}`,
		5+g.dice.IntN(40), g.dice.IntN(2) == 0)
	if g.dice.IntN(4) == 0 {
		path, body = "/images/generations", `{"model":"demo-painter","prompt":"a river","size":"32x32"}`
	}
	req, err := http.NewRequestWithContext(wait, http.MethodPost, g.asks+path, strings.NewReader(body))
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("read what was asked for: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask: status %d: %.200s", answer.StatusCode, text)
	}
	return nil
}

func (g *siege) killProxy(ctx context.Context) error {
	list := []*child{g.proxy}
	err := g.killOne(ctx, list)
	g.proxy = list[0]
	return err
}

// endRent asks once more, which must succeed now, waits until the service has all jobs of
// which the worker has a statement, and closes the session.
func (g *siege) endRent(ctx context.Context) error {
	last := error(nil)
	for end := time.Now().Add(time.Minute); ; {
		if last = g.ask(ctx); last == nil {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the renter gets no answer in peace: %w", last)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
	if err := g.proxy.stop(); err != nil {
		return err
	}
	key, err := chain.ReadKeypair(g.siegeSession())
	if err != nil {
		return fmt.Errorf("read the session's key: %w", err)
	}
	err = g.until(ctx, "the worker's jobs to be in the log", func() (bool, error) {
		list, err := g.api.SessionsOf(ctx, chain.PublicOf(key))
		if err != nil {
			return false, err
		}
		if len(list) != 1 {
			return false, fmt.Errorf("the session's key has %d sessions", len(list))
		}
		session, err := g.api.Session(ctx, list[0].ID)
		if err != nil {
			return false, err
		}
		for _, c := range session.Channels {
			if theirs, err := g.workersOwn(ctx, c); err != nil || theirs.Spent != c.Spent {
				return false, err
			}
		}
		return true, nil
	})
	if err != nil {
		return err
	}
	_, err = g.closeSession(ctx, g.siegeSession())
	return err
}

// workersOwn returns a channel as its worker has it.
func (g *siege) workersOwn(ctx context.Context, c client.Channel) (out client.WorkerChannel, err error) {
	offers, err := g.api.Offers(ctx, "demo-writer", 1)
	if err != nil || len(offers) == 0 {
		return out, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, offers[0].Endpoint+"/ionet/v1/channels/"+c.Channel.String(), nil)
	if err != nil {
		return out, fmt.Errorf("ask the worker: %w", err)
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return out, fmt.Errorf("ask the worker: %w", err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return out, fmt.Errorf("ask the worker for channel %s: status %d", c.Channel, answer.StatusCode)
	}
	if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
		return out, fmt.Errorf("ask the worker for channel %s: %w", c.Channel, err)
	}
	return out, nil
}

// checkRenter holds, when no session is open any more:
//
//	wallet + balance + withdrawing + fees of his receipts = bought
func (g *siege) checkRenter(ctx context.Context) error {
	key, err := chain.ReadKeypair(g.renterFile())
	if err != nil {
		return fmt.Errorf("read the renter's wallet: %w", err)
	}
	wallet := chain.PublicOf(key)
	r, err := g.api.Renter(ctx, wallet)
	if err != nil {
		return err
	}
	has, err := g.tokensOf(ctx, wallet)
	if err != nil {
		return err
	}
	var fees ionet.Amount
	n := 0
	for page, err := range g.api.Receipts(ctx, client.ReceiptsAsk{Renter: wallet, Reader: key}) {
		if err != nil {
			return err
		}
		for _, logged := range page.Receipts {
			c, err := proofs.CompactOf(g.network.ID(), logged.Record)
			if err != nil {
				return err
			}
			if fees, err = fees.Add(c.Fee); err != nil {
				return err
			}
			n++
		}
	}
	sum, err := ionet.Sum(has, r.Balance, r.Reserved, r.Withdrawing, fees)
	if err != nil {
		return err
	}
	if sum != g.sold || !r.Reserved.IsZero() {
		return fmt.Errorf("has %s, balance %s, reserved %s, withdraws %s, paid fees of %s: %s in sum, bought %s", has, r.Balance, r.Reserved, r.Withdrawing, fees, sum, g.sold)
	}
	g.tellFault("the renter paid fees of %s IO by %d receipts", fees.Tokens(g.network.Decimals), n)
	return nil
}
