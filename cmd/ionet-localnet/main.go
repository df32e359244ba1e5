// Command ionet-localnet runs a local Solana chain for development: see package
// localnet for what it is and how it differs from a validator.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
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
	Verbose         bool          `short:"v" help:"Log each dropped transaction."`
}

const description = `Runs a local Solana chain: the real virtual machine and programs, an RPC that official
clients understand, an endless faucet. State is kept in memory and gone at the end. It prints
its addresses as lines, then runs until SIGINT or SIGTERM.

Examples:
  ionet-localnet
  ionet-localnet --listen 127.0.0.1:0 --slot-time 20ms
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
	n, err := localnet.Start(ctx, localnet.Config{
		Listen: f.Listen, SlotTime: f.SlotTime, FinalityDepth: f.FinalityDepth, LamportsPerByte: f.LamportsPerByte,
		Logger: slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level})),
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "rpc %s\nwebsocket %s\ngenesis %s\n", n.URL(), n.WSURL(), n.GenesisHash())
	<-ctx.Done()
	return n.Close()
}
