package main

import (
	"context"
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/worker"
)

// link is where the awaited wallet signs. What init was told stands where payout is zero.
func (m *membership) link(server string, provider, payout ionet.Key, days int) (string, error) {
	if text, err := m.folder.Draft(); err == nil {
		if d, err := proofs.ParseDelegation(m.network.ID(), provider, []byte(text)); err == nil {
			days = int((d.Expires - d.Issued) / (24 * 3600))
			if d.Payout != provider && payout.IsZero() {
				payout = d.Payout
			}
		}
	}
	return worker.DelegateLink(server, m.worker(), provider, payout, days)
}

// usualDays is how long a delegation runs where nobody said otherwise: --days's default.
const usualDays = 365

// awaitedLink is link for commands that have no flags of the delegation; empty without a
// service.
func (m *membership) awaitedLink(server string, provider ionet.Key) (string, error) {
	if server == "" || provider.IsZero() {
		return "", nil
	}
	return m.link(server, provider, ionet.Key{}, usualDays)
}

// showAwaited prints which wallet has to sign, and where.
func (m *membership) showAwaited(s *stage, server string, provider ionet.Key) error {
	link, err := m.awaitedLink(server, provider)
	if err != nil {
		return err
	}
	if link == "" {
		link = "(--server <URL> shows the link for that)"
	}
	s.print("no delegation: this folder waits for wallet %s to sign:\n  %s", provider, link)
	return nil
}

// awaited returns the wallet that this folder waits for: it is named, and its delegation
// is not here or has ended.
func (m *membership) awaited() (provider ionet.Key, waits bool, err error) {
	provider, err = m.folder.Provider()
	if err != nil || provider.IsZero() {
		return provider, false, err
	}
	_, d, ok := m.delegationBy(provider)
	return provider, !ok || time.Now().Unix() >= d.Expires, nil
}

// mostStrangers is how many wallets that delegated unasked are told of: anybody can
// delegate any worker.
const mostStrangers = 3

// strangersAt lists wallets other than the awaited one whose delegation of this worker the
// service has, the newest first. Their signatures are checked.
func (m *membership) strangersAt(ctx context.Context, api *client.Client, provider ionet.Key) ([]ionet.Key, error) {
	list, err := api.Delegations(ctx, m.worker())
	if err != nil {
		return nil, fmt.Errorf("look for other wallets: %w", err)
	}
	var found []ionet.Key
	seen := map[ionet.Key]bool{provider: true}
	for _, l := range list {
		e, err := worker.Envelope(l.Envelope)
		if err != nil || l.Revoked != 0 || seen[e.Signer] || worker.CheckDelegation(m.network.ID(), m.worker(), e) != nil {
			continue
		}
		seen[e.Signer] = true
		if found = append(found, e.Signer); len(found) == mostStrangers {
			break
		}
	}
	return found, nil
}

// strangerLine says that another wallet signed than the awaited one.
func strangerLine(stranger, provider ionet.Key) string {
	return fmt.Sprintf("wallet %s delegated this worker, this folder waits for %s", stranger, provider)
}

// strangerFix is what to do then.
func strangerFix(stranger, provider ionet.Key) string {
	return fmt.Sprintf("sign with wallet %s; or, if the other one is yours and right, start the worker with --provider %s (under systemd IONET_PROVIDER in /etc/ionet-worker.env)", provider, stranger)
}

// strangers are the wallets that were told of, each once.
type strangers map[ionet.Key]bool

// tell prints those that are new; when enough were told, no more.
func (told strangers) tell(s *stage, m *membership, api *client.Client, provider ionet.Key) error {
	if len(told) >= mostStrangers {
		return nil
	}
	found, err := m.strangersAt(s.ctx, api, provider)
	for _, stranger := range found {
		if !told[stranger] {
			told[stranger] = true
			s.print("trouble: %s: %s", strangerLine(stranger, provider), strangerFix(stranger, provider))
		}
	}
	return err
}

// showStrangers prints them where the folder waits for a wallet.
func (m *membership) showStrangers(s *stage, api *client.Client) error {
	provider, waits, err := m.awaited()
	if err != nil || !waits {
		return err
	}
	return strangers{}.tell(s, m, api, provider)
}
