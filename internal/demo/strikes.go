package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet/internal/devdb"
)

// fronts is how many RPC front ends the chain has where it is hostile. The service reads
// all of them; wallets and the auditor use the first.
const fronts = 3

// command gives the chain's admin interface a command.
func (s *stage) command(ctx context.Context, json string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.rpc+"/admin", bytes.NewReader([]byte(json)))
	if err != nil {
		return fmt.Errorf("command the chain: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("command the chain: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("command the chain: %s answers %s", json, resp.Status)
	}
	return nil
}

// rpcFlags names the chain's front ends to a command.
func (s *stage) rpcFlags() []string {
	var flags []string
	for _, url := range append([]string{s.rpc}, s.otherRPC...) {
		flags = append(flags, "--rpc", url)
	}
	return flags
}

// readFronts reads the addresses of the chain's other front ends.
func (s *stage) readFronts(ctx context.Context, count int) error {
	for i := 1; i < count; i++ {
		url, err := s.chain.line(ctx, fmt.Sprintf("front %d rpc ", i))
		if err != nil {
			return err
		}
		s.otherRPC = append(s.otherRPC, strings.TrimSpace(url))
	}
	return nil
}

// serveAgain starts the service until it stays: while the chain is hostile a start may
// fail, as its first questions go unanswered.
func (g *siege) serveAgain(ctx context.Context) error {
	for try := range 30 {
		if g.service.running() {
			return nil
		}
		wait, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := g.serve(wait)
		cancel()
		if err == nil {
			return nil
		}
		g.service.kill()
		if err := pause(ctx, time.Duration(try+1)*200*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the service does not start any more; see %s", g.log.Name())
}

func (g *siege) killService(ctx context.Context) error {
	g.service.kill()
	if err := pause(ctx, time.Duration(g.dice.IntN(3000))*time.Millisecond); err != nil {
		return err
	}
	return g.serveAgain(ctx)
}

// secondService starts another instance, or kills the one that is there.
func (g *siege) secondService(context.Context) error {
	if g.second != nil {
		g.leave()
		return nil
	}
	var err error
	g.second, err = g.start("second", "ionetd", g.serveArgs("127.0.0.1:0")...)
	return err
}

// restartDatabase is a crash of the server: it writes no checkpoint.
func (g *siege) restartDatabase(ctx context.Context) error {
	at, err := url.Parse(g.db.URL())
	if err != nil {
		return err
	}
	port, err := strconv.Atoi(at.Port())
	if err != nil {
		return err
	}
	now, cancel := context.WithCancel(ctx)
	cancel()
	if err := g.db.Stop(now); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	db, err := devdb.Start(ctx, devdb.Config{Dir: filepath.Join(g.dir, "postgres"), Port: port})
	if err == nil {
		g.db = db
	}
	return err
}

const (
	liveName = "ionet"
	copyName = "ionet_copy"
)

func (g *siege) copyDatabase(ctx context.Context) error {
	err := g.db.Snapshot(ctx, liveName, copyName)
	g.copied = g.copied || err == nil
	return err
}

// restoreDatabase forgets all that happened since the copy, under the running service.
func (g *siege) restoreDatabase(ctx context.Context) error {
	if !g.copied {
		return g.copyDatabase(ctx)
	}
	return g.db.Snapshot(ctx, copyName, liveName)
}

func (g *siege) killWorker(ctx context.Context) error {
	return g.killOne(ctx, g.workers)
}

func (g *siege) killSigner(ctx context.Context) error {
	return g.killOne(ctx, g.signers)
}

// killOne kills one of the children and starts it again as it was.
func (g *siege) killOne(ctx context.Context, list []*child) error {
	c := &list[g.dice.IntN(len(list))]
	(*c).kill()
	if err := pause(ctx, time.Duration(g.dice.IntN(2000))*time.Millisecond); err != nil {
		return err
	}
	again, err := g.start((*c).name, filepath.Base((*c).cmd.Path), (*c).cmd.Args[1:]...)
	if err == nil {
		*c = again
	}
	return err
}
