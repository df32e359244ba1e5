package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/ionet-settlement/ionet/chain"
)

// stay leaves the network running, with its lines in the log, until it is
// interrupted or a part of it ends.
func (s *stage) stay(ctx context.Context, out io.Writer) error {
	s.show.turn(s.log)
	s.tell(out)
	ended := make(chan *child, 3+len(s.workers))
	for _, c := range append([]*child{s.chain, s.service, s.backend}, s.workers...) {
		go func() {
			<-c.done
			ended <- c
		}()
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case c := <-ended:
			if ctx.Err() == nil {
				fmt.Fprintf(out, "%s ended (%v); see %s\n", c.name, c.err, s.log.Name())
			}
		}
	}
}

// tell prints how to reach what runs, and commands to try on it.
func (s *stage) tell(out io.Writer) {
	bin := func(name string) string { return quote(filepath.Join(s.bin, name)) }
	device, wallet := "", ""
	for _, l := range s.workers[0].said() {
		if rest, ok := strings.CutPrefix(l, "device "); ok && device == "" {
			device, _, _ = strings.Cut(rest, " ")
		}
	}
	service := fmt.Sprintf("--dir %s --rpc %s --store %s --database '%s'", quote(s.place()), s.rpc, quote(s.published()), s.db.URL())
	for _, c := range s.signers {
		service += " --signer " + quote(s.socket(c.name))
	}
	if key, err := chain.ReadKeypair(s.wallet(1)); err == nil {
		wallet = chain.PublicOf(key).String()
	}
	fmt.Fprintf(out, `
It goes on until Ctrl-C. Its lines are now in %s.

  service and status page  %s
  chain (JSON-RPC)         %s
  token                    %s

Try, in another terminal:

  %s epochs --server %s
  %s balance --server %s --wallet %s
  %s why --server %s --epoch 2 --device %s
  %s claim --server %s --keypair %s
  %s status %s
  %s run --server %s --dir %s --keypair %s --simulate 1 --seed 9
  %s --rpc %s --mint %s --store %s

As a renter, with any program that speaks to OpenAI at the URL that the last one prints:

  %s offers --server %s
  %s deposit --server %s --keypair %s --amount 20 --rpc %s
  %s session open --server %s --keypair %s --key-out %s --reserve 10
  %s proxy --server %s --session %s

`, s.log.Name(), s.server, s.rpc, s.network.Mint,
		bin("ionet"), s.server,
		bin("ionet"), s.server, wallet,
		bin("ionet"), s.server, device,
		bin("ionet"), s.server, quote(s.wallet(1)),
		bin("ionetd"), service,
		bin("ionet-worker"), s.server, quote(filepath.Join(s.dir, "host-4")), quote(s.wallet(1)),
		bin("ionet-audit"), s.rpc, s.network.Mint, quote(s.published()),
		bin("ionet"), s.server,
		bin("ionet"), s.server, quote(s.renterFile()), s.rpc,
		bin("ionet"), s.server, quote(s.renterFile()), quote(s.another()),
		bin("ionet"), s.server, quote(s.another()))
}

// quote makes a path one word of a shell.
func quote(path string) string {
	if !strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/._-+:@"
