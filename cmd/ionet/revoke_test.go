package main

import (
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
)

// TestRevokeAndRelease: a provider lets a device go and ends his delegations, with a key
// file and with a wallet that signs elsewhere, and is told from when that counts.
func TestRevokeAndRelease(t *testing.T) {
	w := openTown(t)
	wallet, file := filepath.Join(w.dir, "wallet.json"), filepath.Join(w.dir, "delegation")
	with := func(command string, args ...string) []string {
		return append([]string{command, "--server", w.server}, args...)
	}
	w.says([]string{"keygen", "--out", wallet}, `^wallet `)
	secret, err := chain.ReadKeypair(wallet)
	w.check(err)
	provider, worker, other := chain.PublicOf(secret).String(), public("worker").String(), public("other host").String()
	device := gpu.String()
	keyed := func(command string, args ...string) []string {
		return with(command, append([]string{"--keypair", wallet}, args...)...)
	}
	elsewhere := func(command string, args ...string) []string {
		return with(command, append([]string{"--provider", provider}, args...)...)
	}

	w.refuses(keyed("revoke", "--worker", worker), "no unexpired delegation of "+provider+" names worker "+worker)
	w.says(keyed("delegate", "--worker", worker, "--worker", other, "--out", file), `accepted$`)
	both := w.envelopeIn(file)
	w.refuses(keyed("release", "--device", device), "no epoch is sealed that could tell")
	w.settle()
	w.prove(both, 0, 1, 2)
	w.waitSealed(1)

	// The wallet's app signs what was printed, and nothing else.
	clock := w.network.Clock()
	epoch, _, _ := clock.At(w.clock())
	from := fmt.Sprintf("from epoch %d on, which begins %s$", epoch+1, epochTime(w.network, epoch+1))
	text, err := w.do(elsewhere("release", "--device", device)...)
	w.check(err)
	release := filepath.Join(w.dir, "release.txt")
	w.check(os.WriteFile(release, []byte(text+"\n"), 0o644)) // as an editor leaves it
	var signature chain.Signature
	copy(signature[:], ed25519.Sign(secret, []byte(text)))
	w.refuses(elsewhere("release", "--text-file", release, "--signature", chain.Signature{1}.String()), "is it "+provider+"'s, of exactly the text in "+release)
	w.refuses(elsewhere("revoke", "--text-file", release, "--signature", signature.String()), "--text-file: parse revocation: line 1")
	w.says(elsewhere("release", "--text-file", release, "--signature", signature.String()), `^device `+device+` is released from worker `+worker+`: another worker may use it `+from)
	w.says(keyed("release", "--device", device), `is released from worker `+worker)
	w.refuses(keyed("release", "--device", device, "--worker", other), client.ForeignDelegation)

	// One worker of two is not ended silently with the other.
	w.refuses(keyed("revoke", "--worker", worker), both.ID().String()+" also names workers who would earn no more: "+other)
	w.says(keyed("revoke", "--delegation", both.ID().String()), `^delegation `+both.ID().String()+` is revoked: it counts no more `+from)
	w.refuses(keyed("revoke", "--worker", worker), fmt.Sprintf("are revoked already: none counts from epoch %d on", epoch+1))
	w.refuses(keyed("revoke", "--delegation", strings.Repeat("0a", 32)), client.UnknownDelegation)

	// All that name one worker alone end together; a text ends one.
	w.says(keyed("delegate", "--worker", other, "--days", "10"), `accepted$`)
	text, err = w.do(elsewhere("revoke", "--worker", other)...)
	w.check(err)
	w.says(keyed("delegate", "--worker", other, "--days", "20"), `accepted$`)
	w.refuses(elsewhere("revoke", "--worker", other), "2 delegations name worker "+other)
	revocation := filepath.Join(w.dir, "revocation.txt")
	w.check(os.WriteFile(revocation, []byte(text), 0o644))
	copy(signature[:], ed25519.Sign(secret, []byte(text)))
	w.says(elsewhere("revoke", "--text-file", revocation, "--signature", signature.String()), `is revoked: it counts no more `+from)
	w.says(keyed("delegate", "--worker", other, "--days", "30"), `accepted$`)
	w.says(keyed("revoke", "--worker", other), `(?s)is revoked.*is revoked`)
	w.refuses(keyed("revoke", "--worker", other), "are revoked already")
}
