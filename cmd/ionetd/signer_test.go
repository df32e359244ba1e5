package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// The keys are in one folder, read by ionetd signer; the service has another one with
// network file, policy and service key, and fences its lanes.
func TestServeWithSigner(t *testing.T) {
	node, err := localnet.Start(t.Context(), localnet.Config{SlotTime: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer node.Close()
	dir, err := os.MkdirTemp("", "s") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	at := func(name string) string { return filepath.Join(dir, name) }
	flags := []string{"--store", at("published"), "--rpc", node.URL()}
	if out, err := runGenesis(t, append(flags, "--dir", at("keys"), "--name", "apart", "--epoch-seconds", "600", "--pay-lanes", "1", "--claim-lanes", "1", "--airdrop")...); err != nil {
		t.Fatalf("genesis: %v\n%s", err, out)
	}
	moveToService(t, at("keys"), at("public"))
	unsigned := append([]string{"status", "--dir", at("public"), "--database", "postgres://nobody@127.0.0.1:1/none"}, flags...)
	if err := run(t.Context(), unsigned, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "operator.json") || !strings.Contains(err.Error(), "put its file back; where ionetd signer holds the keys, give --signer") {
		t.Errorf("status without keys or a signer: %v", err)
	}

	signing := []string{"signer", "--dir", at("keys"), "--journal", at("journal"), "--listen", "unix:" + at("sock"), "--limit-payout", "1000.5"}
	var said lines
	ctx, stop := context.WithCancel(t.Context())
	signed := make(chan error, 1)
	go func() { signed <- run(ctx, signing, &said, io.Discard) }()
	said.wait(t, "listening ", signed)
	for _, want := range []string{"the lane secret", "is new", "payout     1000.50000000 IO in 1h0m0s", "claim      none is signed", "operator.json"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the signer does not say %q:\n%s", want, &said)
		}
	}
	if strings.Contains(said.String(), "service.json") {
		t.Errorf("the signer reads the service's key:\n%s", &said)
	}

	var out lines
	ended := make(chan error, 1)
	serveCtx, stopServe := context.WithCancel(t.Context())
	serve := append([]string{"serve", "--listen", "127.0.0.1:0", "--dir", at("public"), "--database", pgtest.NewURL(t), "--signer", "unix:" + at("sock")}, flags...)
	go func() { ended <- run(serveCtx, serve, &out, io.Discard) }()
	out.wait(t, "fence: ", ended)
	status := func() string {
		var told bytes.Buffer
		if err := run(t.Context(), append([]string{"status"}, serve[3:]...), &told, io.Discard); err != nil {
			t.Errorf("status: %v", err)
		}
		return told.String()
	}
	if told := status(); !strings.Contains(told, "signer    unix:"+at("sock")+" holds ") || !strings.Contains(told, " and steps the lanes") {
		t.Errorf("status with a signer:\n%s", told)
	}
	stopServe()
	if err := <-ended; err != nil {
		t.Errorf("serve: %v", err)
	}
	var recovered bytes.Buffer
	if err := run(t.Context(), append([]string{"recover"}, serve[3:]...), &recovered, io.Discard); err != nil || !strings.Contains(recovered.String(), "--reopen epoch=1") {
		t.Errorf("recover with a signer: %v\n%s", err, &recovered)
	}
	stop()
	if err := <-signed; err != nil {
		t.Errorf("signer: %v", err)
	}
	if told := status(); !strings.Contains(told, "DOES NOT ANSWER") {
		t.Errorf("status without its signer:\n%s", told)
	}

	var checked bytes.Buffer
	if err := run(t.Context(), append(signing, "--check"), &checked, io.Discard); err != nil || !strings.Contains(checked.String(), "lane      pay-0     position 1, 1 content signed") ||
		!strings.Contains(checked.String(), "from operator.json") || !strings.Contains(checked.String(), "the lane secret") {
		t.Errorf("signer --check: %v\n%s", err, &checked)
	}
}

// moveToService makes the service's folder: what it needs beside a signer, and of
// the service's key the only file.
func moveToService(t *testing.T, keys, public string) {
	t.Helper()
	if err := os.Mkdir(public, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{genesis.NetworkFile, genesis.PolicyFile} {
		b, err := os.ReadFile(filepath.Join(keys, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(public, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(keys, "service.json"), filepath.Join(public, "service.json")); err != nil {
		t.Fatal(err)
	}
}

func TestSignerMistakes(t *testing.T) {
	schedule, err := emissions.Hourly(8)
	if err == nil {
		schedule, err = schedule.Shorten(10)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir, keyless := t.TempDir(), t.TempDir()
	prepared, err := genesis.Prepare(t.Context(), genesis.Config{Dir: dir, Name: "mistakes", Cluster: ionet.Key{1}, Start: time.Unix(1_800_000_000, 0), Schedule: schedule})
	if err == nil {
		err = os.WriteFile(filepath.Join(keyless, genesis.NetworkFile), prepared.NetworkFile, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	strange := t.TempDir()
	if err := errors.Join(os.WriteFile(filepath.Join(strange, genesis.NetworkFile), prepared.NetworkFile, 0o644),
		chain.WriteKeypair(filepath.Join(strange, "stranger.json"), ed25519.NewKeyFromSeed(make([]byte, 32)))); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no network file":       {[]string{"--dir", t.TempDir()}, "name it with --network"},
		"no key":                {[]string{"--dir", keyless}, "holds no key to sign with"},
		"a window of nothing":   {[]string{"--window", "0s"}, "--window 0s: want more than 0"},
		"a limit of words":      {[]string{"--limit-payout", "many"}, "--limit-payout: "},
		"more decimals":         {[]string{"--limit-claim", "0.123456789"}, "--limit-claim: "},
		"certificates unasked":  {[]string{"--tls-cert", "x"}, "are for --listen https://HOST:PORT"},
		"a peer over https":     {[]string{"--listen", "https://127.0.0.1:0", "--peer", "7"}, "--peer is for --listen unix:PATH"},
		"half of the files":     {[]string{"--listen", "https://127.0.0.1:0", "--tls-cert", "x"}, "--tls-key is missing"},
		"a position of words":   {[]string{"--reopen", "pay-0=here"}, `"here" is no position, such as pay-0=41`},
		"nothing to reopen":     {[]string{"--reopen", "pay-0=41"}, "the journal knows nothing of it"},
		"an address of none":    {[]string{"--listen", "tcp:1"}, "want unix:PATH or https://HOST:PORT"},
		"https without files":   {[]string{"--listen", "https://127.0.0.1:0"}, "--tls-cert is missing"},
		"a stranger's key":      {[]string{"--dir", strange}, "is none that the network file names"},
		"a lane of no name":     {[]string{"--reopen", "pay-99"}, "is no lane of network"},
		"a priority fee in SOL": {[]string{"--max-priority-fee", "99999999999"}, "0..10000000000"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"signer", "--dir", dir, "--journal", filepath.Join(t.TempDir(), "journal"), "--listen", "unix:" + filepath.Join(t.TempDir(), "s")}, c.args...)
			for _, args := range [][]string{args, append(args, "--check")} {
				err := run(t.Context(), args, io.Discard, io.Discard)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v, want %q", args[len(args)-1], err, c.want)
				}
			}
		})
	}
}

// Mistakes in naming signers are found before anything is opened.
func TestSignerFlags(t *testing.T) {
	for name, c := range map[string]struct {
		flags signerFlags
		want  string
	}{
		"no address":           {signerFlags{Signer: []string{"signer.sock"}}, "neither unix:<path> nor https://host:port"},
		"twice":                {signerFlags{Signer: []string{"unix:a", "unix:a"}}, "is there twice"},
		"https without files":  {signerFlags{Signer: []string{"https://a:1"}}, "--signer-cert is missing"},
		"files without signer": {signerFlags{SignerCert: "a"}, "are for --signer https://HOST:PORT"},
		"files that are none":  {signerFlags{Signer: []string{"https://a:1"}, SignerCert: "a", SignerKey: "b", SignerCA: "c"}, "--signer-cert, --signer-key or --signer-ca"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			if len(c.flags.Signer) == 0 {
				_, _, _, err = c.flags.load(t.Context(), t.TempDir())
			} else {
				_, err = c.flags.clients(ionet.Hash{})
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
