// Command ionet-localnet runs a local Solana chain for development: see package
// localnet for what it is and how it differs from a validator.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/internal/commandline"
)

// flags are the command's options; each can be set in the environment as well.
type flags struct {
	Listen          string        `default:"127.0.0.1:8899" env:"IONET_LOCALNET_LISTEN" help:"Loopback host:port of the JSON-RPC; websockets are there too, and at port+1. Port 0 takes a free pair."`
	SlotTime        time.Duration `default:"200ms" env:"IONET_LOCALNET_SLOT_TIME" help:"Length of a slot, at least 1ms."`
	FinalityDepth   int           `default:"32" range:"1.." env:"IONET_LOCALNET_FINALITY_DEPTH" help:"Blocks between processed and finalized."`
	LamportsPerByte uint64        `default:"5080" env:"IONET_LOCALNET_LAMPORTS_PER_BYTE" help:"Rent of an account's byte (size + 128)."`
	Seed            uint64        `env:"IONET_LOCALNET_SEED" help:"Draws genesis hash, blockhashes and all chance from this number; 0: another chain at every start."`
	Fronts          int           `default:"1" range:"1.." env:"IONET_LOCALNET_FRONTS" help:"RPC front ends over the one chain, each with its own faults; all but the first on free ports."`
	Admin           bool          `env:"IONET_LOCALNET_ADMIN" help:"Serve /admin on the first front: whoever reaches it commands the chain."`
	Faults          string        `placeholder:"FILE|seed:N" env:"IONET_LOCALNET_FAULTS" help:"Faults from a script, or by chance from a seed (seed:7, or seed:7,every=40,longest=60 in slots)."`
	KeepSlots       int           `default:"64" range:"0.." env:"IONET_LOCALNET_KEEP_SLOTS" help:"By how many slots a front may be behind."`
	Verbose         bool          `short:"v" help:"Log each dropped transaction."`
}

const description = `Runs a local Solana chain: the real virtual machine and programs, an RPC that official
clients understand, an endless faucet. State is kept in memory and gone at the end. It prints
its addresses as lines, then runs until SIGINT or SIGTERM.

Examples:
  ionet-localnet
  ionet-localnet --listen 127.0.0.1:0 --slot-time 20ms
  ionet-localnet --fronts 2 --faults seed:7
  ionet-localnet --admin --fronts 3 --faults faults.json
  curl -d '{"do":"fork","fork":{"slots":5,"then":"never"}}' http://127.0.0.1:8899/admin
  solana --url http://127.0.0.1:8899 airdrop 10`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "ionet-localnet:", err)
		os.Exit(1)
	}
}

// run starts the chain, prints where it listens and runs until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var f flags
	program := commandline.Program{Name: "ionet-localnet", Help: description, Stdout: stdout, Stderr: stderr}
	if parsed, err := program.Parse(&f, args); parsed == nil || err != nil {
		return err
	}
	if f.SlotTime < time.Millisecond {
		return fmt.Errorf("--slot-time %s is below 1ms", f.SlotTime)
	}
	level := slog.LevelInfo
	if f.Verbose {
		level = slog.LevelDebug
	}
	faults, err := readFaults(f.Faults)
	if err != nil {
		return err
	}
	keep := f.KeepSlots
	if keep == 0 {
		keep = -1
	}
	n, err := localnet.Start(ctx, localnet.Config{
		Listen: f.Listen, SlotTime: f.SlotTime, FinalityDepth: f.FinalityDepth, LamportsPerByte: f.LamportsPerByte,
		Seed: f.Seed, Now: time.Now, Admin: f.Admin, KeepSlots: keep,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	if err := begin(n, f, faults, stdout); err != nil {
		return errors.Join(err, n.Close())
	}
	<-ctx.Done()
	return n.Close()
}

// begin opens the other fronts, prints every address, then lets the faults loose.
func begin(n *localnet.Node, settings flags, faults []localnet.Command, stdout io.Writer) error {
	fmt.Fprintf(stdout, "rpc %s\nwebsocket %s\ngenesis %s\n", n.URL(), n.WSURL(), n.GenesisHash())
	for i := 1; i < settings.Fronts; i++ {
		f, err := n.Front(localnet.FrontConfig{})
		if err != nil {
			return err
		}
		fmt.Fprintf(stdout, "front %d rpc %s\nfront %d websocket %s\n", i, f.URL(), i, f.WSURL())
	}
	if settings.Admin {
		fmt.Fprintf(stdout, "admin %s/admin\n", n.URL())
	}
	for _, c := range faults {
		if _, err := n.Apply(c); err != nil {
			return err
		}
	}
	return nil
}

// readFaults reads --faults: a script's file, or seed:N with settings behind it.
func readFaults(text string) ([]localnet.Command, error) {
	settings, byChance := strings.CutPrefix(text, "seed:")
	switch {
	case text == "":
		return nil, nil
	case byChance:
		c, err := readChaos(settings)
		return []localnet.Command{{Do: "chaos", Chaos: &c}}, err
	}
	b, err := os.ReadFile(text)
	if err != nil {
		return nil, fmt.Errorf("read --faults: %w (give a script's file, or seed:N)", err)
	}
	steps, err := localnet.ParseScript(b)
	if err != nil {
		return nil, fmt.Errorf("read --faults %s: %w", text, err)
	}
	return []localnet.Command{{Do: "script", Script: steps}}, nil
}

// readChaos reads N[,every=SLOTS][,longest=SLOTS].
func readChaos(text string) (c localnet.Chaos, err error) {
	hint := fmt.Errorf("--faults seed:%s: want seed:N, or seed:N,every=SLOTS,longest=SLOTS, whole numbers from 1 on", text)
	parts := strings.Split(text, ",")
	if c.Seed, err = strconv.ParseUint(parts[0], 10, 64); err != nil || c.Seed == 0 {
		return c, hint
	}
	for _, p := range parts[1:] {
		name, value, _ := strings.Cut(p, "=")
		n, err := strconv.Atoi(value)
		switch {
		case err != nil || n < 1:
			return c, hint
		case name == "every":
			c.Every = n
		case name == "longest":
			c.Longest = n
		default:
			return c, hint
		}
	}
	return c, nil
}
