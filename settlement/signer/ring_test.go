package signer

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// Whatever prints a ring, a local signer or a server's configuration, prints no key.
func TestRingDoesNotPrint(t *testing.T) {
	w := newWorld(t)
	ring := w.ring()
	var said strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		fmt.Fprintf(&said, verb+verb, ring, ServerConfig{Ring: ring})
	}
	text, err := json.Marshal(map[string]any{"ring": ring})
	if err != nil {
		t.Fatal(err)
	}
	said.Write(text)
	slog.New(slog.NewTextHandler(&said, nil)).Info("ring", "ring", ring)
	slog.New(slog.NewJSONHandler(&said, nil)).Info("ring", "ring", ring)
	for name, secret := range map[string][]byte{"operator": w.Keys.Operator.Seed(), "lane secret": w.Keys.Secret[:]} {
		for _, form := range []string{fmt.Sprintf("%x", secret), fmt.Sprintf("%d", secret[:8]), fmt.Sprintf("%v", secret[:8]), strings.ReplaceAll(fmt.Sprint(secret[:8]), " ", ","), fmt.Sprintf("%#v", secret)[7:40]} {
			if strings.Contains(said.String(), strings.Trim(form, "[]")) {
				t.Errorf("the %s is printed", name)
			}
		}
	}
	if !strings.Contains(said.String(), "[keys]") {
		t.Errorf("rings print as %s", said.String())
	}
}

// A local signer makes the signatures that its keys owe, and no others.
func TestLocal(t *testing.T) {
	w := newWorld(t)
	pay := w.first("pay-0")
	l := NewLocal(w.ring())
	mustSign(t, l, ask(t, w.payout(pay, 1, 2), pay))
	mustSign(t, l, ask(t, w.claim(pay, payee(1), 2), pay), payee(1))
	mustRefuse(t, l, "form", Request{Message: []byte("hello")})
	keys, err := l.Keys(t.Context())
	if err != nil || !slices.Contains(keys, w.Network.Keys.Operator) || slices.Contains(keys, w.Network.Keys.Service) {
		t.Errorf("keys are %v, %v", keys, err)
	}
	lanes, err := l.LaneKeys(t.Context(), []ionet.Hash{pay.C})
	if err != nil || lanes[0] != w.Keys.Secret.Public(pay.C) {
		t.Errorf("lane keys are %v, %v", lanes, err)
	}
}

func TestServersKeysAreTheNetworks(t *testing.T) {
	w := newWorld(t)
	for name, ring := range map[string]*Ring{
		"the service's key": NewRing(nil, w.Keys.Service),
		"a stranger's key":  NewRing(&w.Keys.Secret, w.Keys.Operator, ed25519.NewKeyFromSeed(hashed("stranger", 1))),
	} {
		if s, err := w.open(journalPath(t), func(c *ServerConfig) { c.Ring = ring }); err == nil {
			s.Close()
			t.Errorf("a signer opens with %s", name)
		}
	}
	for name, change := range map[string]func(*Policy){
		"no network":         func(p *Policy) { p.Network = nil },
		"no window":          func(p *Policy) { p.Window = 0 },
		"a limit for fences": func(p *Policy) { p.Limits = map[chain.Kind]ionet.Amount{chain.KindFence: {}} },
	} {
		if s, err := w.open(journalPath(t), func(c *ServerConfig) { change(&c.Policy) }); err == nil {
			s.Close()
			t.Errorf("a signer opens with %s", name)
		}
	}
}
