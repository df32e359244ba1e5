package worker

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// backdate lets a delegation count for the sample in which it is signed, and for a
// wallet whose clock is ahead.
const backdate = 10 * time.Minute

// Delegation returns what a provider has to sign for a worker: from just before now,
// for that many days. A zero payout wallet is the provider's own.
func Delegation(provider, payout, worker ionet.Key, now time.Time, days int) proofs.Delegation {
	if payout.IsZero() {
		payout = provider
	}
	from := now.Add(-backdate)
	return proofs.Delegation{
		Provider: provider, Payout: payout, Workers: []ionet.Key{worker},
		Issued: from.Unix(), Expires: from.Add(time.Duration(days) * 24 * time.Hour).Unix(),
	}
}

// DelegateLink is where a provider's wallet signs in a browser that a worker proves GPU
// time for it: a page of the service, which warns another wallet than that
// provider's. A zero payout wallet is the provider's own.
func DelegateLink(server string, worker, provider, payout ionet.Key, days int) (string, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", errors.New("make a link: the service's URL is none")
	}
	u.User = nil // may be a secret
	link := strings.TrimSuffix(u.String(), "/") + "/delegate#worker=" + worker.String() + "&provider=" + provider.String()
	if !payout.IsZero() {
		link += "&payout=" + payout.String()
	}
	return link + "&days=" + strconv.Itoa(days), nil
}

// SignDelegation signs d with the provider's wallet.
func SignDelegation(network ionet.Hash, wallet ed25519.PrivateKey, d proofs.Delegation) (proofs.Envelope, error) {
	text, err := d.Text(network)
	if err != nil {
		return proofs.Envelope{}, err
	}
	return proofs.Sign(network, proofs.KindDelegation, wallet, []byte(text)), nil
}

// JoinSignature makes the delegation's envelope from the text that a wallet was shown
// and the signature that it gave.
func JoinSignature(network ionet.Hash, text string, signature [64]byte) (proofs.Envelope, error) {
	e := proofs.Envelope{Kind: proofs.KindDelegation, Signature: signature, Body: []byte(text)}
	for line := range strings.Lines(text) {
		if key, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "Provider: "); ok {
			var err error
			if e.Signer, err = ionet.ParseKey(key); err != nil {
				return proofs.Envelope{}, fmt.Errorf("join signature: %w", err)
			}
		}
	}
	if e.Signer.IsZero() {
		return proofs.Envelope{}, errors.New("join signature: the text names no provider")
	}
	if _, err := proofs.ParseDelegation(network, e.Signer, e.Body); err != nil {
		return proofs.Envelope{}, fmt.Errorf("join signature: %w", err)
	}
	if err := e.Verify(network); err != nil {
		return proofs.Envelope{}, fmt.Errorf("join signature: %w: it is not by %s over exactly this text", err, e.Signer)
	}
	return e, nil
}

// Envelope parses the bytes of exactly one envelope, such as a delegation's file.
func Envelope(b []byte) (proofs.Envelope, error) { return oneEnvelope(b) }
