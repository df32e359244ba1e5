package main

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"ionet": main}) }

// Every command's --help has an example of that command.
func TestHelpHasExamples(t *testing.T) {
	parser, err := kong.New(&commands{}, kong.Name("ionet"))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range parser.Model.Leaves(false) {
		if _, examples, found := strings.Cut(n.Detail, "xamples:\n"); !found || !strings.Contains(examples, "  "+n.FullPath()) {
			t.Errorf("%s --help has no example", n.FullPath())
		}
	}
}

func TestScripts(t *testing.T) { testscript.Run(t, testscript.Params{Dir: "testdata"}) }

// key makes a key from a name.
func key(name string) ed25519.PrivateKey {
	seed := ionet.HashOf([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(name string) ionet.Key { return chain.PublicOf(key(name)) }

// TestCheckClaim: a wallet signs a transfer of the named amount to itself and
// nothing else, whatever the service sends.
func TestCheckClaim(t *testing.T) {
	mint := public("mint")
	n := &ionet.Network{
		Mint: mint, Decimals: 8, Vaults: ionet.Vaults{Reward: public("vault")},
		Lanes: []ionet.Lane{{Name: "claim-0", Address: public("lane")}},
	}
	amount := ionet.MustAmount(700)
	plan := func() chain.Plan {
		return chain.Plan{
			Kind: chain.KindClaim, FeePayer: public("wallet"), Mint: mint, Decimals: 8,
			Steps:                []chain.Step{{Lane: public("lane"), From: public("k0"), To: public("k1")}},
			Movements:            []chain.Movement{{Op: chain.Transfer, Source: public("vault"), Destination: chain.TokenAccount(public("wallet"), mint), Amount: amount}},
			Memo:                 "io1 claim wallet=" + public("wallet").String() + " sum=700",
			Owners:               map[ionet.Key]ionet.Key{public("vault"): public("operator")},
			CreateDestinationFor: public("wallet"),
			Blockhash:            public("blockhash"),
			Budget:               chain.Budget{ComputeUnits: 60_000, LoadedBytes: 1 << 19},
		}
	}
	cases := []struct {
		name  string
		plan  func(*chain.Plan)
		claim func(*client.Claim)
		want  string // "" accepts
	}{
		{name: "as asked"},
		{name: "other amount", claim: func(c *client.Claim) { c.Amount = ionet.MustAmount(701) }, want: "it moves"},
		{name: "other lane", claim: func(c *client.Claim) { c.Lane = "claim-1" }, want: "it steps lane"},
		{name: "other message", claim: func(c *client.Claim) { c.Message[0] ^= 1 }, want: "not the one that was named"},
		{name: "from another vault", plan: func(p *chain.Plan) {
			p.Movements[0].Source, p.Owners = public("mine"), map[ionet.Key]ionet.Key{public("mine"): public("wallet")}
		}, want: "that is the wallet's part"},
		{name: "to another wallet", plan: func(p *chain.Plan) {
			p.CreateDestinationFor, p.Movements[0].Destination = ionet.Key{}, public("thief")
		}, want: "it moves"},
		{name: "another token", plan: func(p *chain.Plan) { p.Mint, p.CreateDestinationFor = public("other"), ionet.Key{} }, want: "its token is"},
		{name: "greedy fee", plan: func(p *chain.Plan) { p.Budget.PriorityLamports = maxPriority + 60_000 }, want: "priority fee"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := plan()
			if c.plan != nil {
				c.plan(&p)
			}
			message, err := p.Message()
			if err != nil {
				t.Fatal(err)
			}
			tx, _, err := chain.SignMessage(message)
			if err != nil {
				t.Fatal(err)
			}
			claim := client.Claim{Transaction: tx, Message: ionet.HashOf(message), Lane: "claim-0", Amount: amount}
			if c.claim != nil {
				c.claim(&claim)
			}
			err = checkClaim(claim, n, public("wallet"))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("checkClaim: %v, want %q", err, c.want)
			}
		})
	}
}
