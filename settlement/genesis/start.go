package genesis

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
)

// The start of epoch 1 is written into the network file, and with it the
// network's id. It can be moved until somebody may have seen the id: until the
// network file is published, just before the first attempt at the genesis
// transaction is signed. Mint, accounts and lanes do not depend on it.
//
// Two runs in one folder, one of which moves the start while the other signs,
// exclude each other by the folder's lock: under it the mover looks for what
// fixes the start and replaces the file, and the signer reads the file again,
// publishes it and stores its attempt.

// DefaultStartIn is how long after a network file is written epoch 1 begins
// where the configuration does not say.
const DefaultStartIn = time.Minute

// beginning is how the start of epoch 1 was decided.
type beginning struct {
	floating bool          // counted from the moment of the decision
	in       time.Duration // what was counted, where floating
	moved    bool          // the network file has another one
	fixed    string        // why it can't be moved; "" where that was not asked, or it can
}

// begin decides the start and puts it into c.
func (c *Config) begin(ctx context.Context, f files) (b beginning, err error) {
	if f.network != nil {
		if b, err = c.keep(ctx, f); err != nil || !b.moved {
			return b, err
		}
	}
	if c.Start.IsZero() {
		b.floating, b.in = true, c.StartIn
		if b.in == 0 {
			b.in = DefaultStartIn
		}
		c.Start = c.Now().Add(b.in)
	}
	b.moved = f.network != nil && c.Start.Unix() != f.network.Start
	if c.Chain != nil && c.isPast(c.Start) {
		return b, fmt.Errorf("--start %s is past: the epochs before genesis could never earn; name a time that is to come, or --start-in", date(c.Start.Unix()))
	}
	return b, nil
}

// keep takes the network file's start, or reports that it is to be moved.
func (c *Config) keep(ctx context.Context, f files) (b beginning, err error) {
	was := time.Unix(f.network.Start, 0)
	other := !c.Start.IsZero() && c.Start.Unix() != was.Unix()
	past := c.isPast(was)
	if c.Chain == nil || c.Cluster != f.network.Cluster || !other && c.StartIn == 0 && !past {
		c.Start = was
		return b, nil // of another cluster: compare refuses that
	}
	minted, err := c.isMinted(ctx, f.network)
	if err != nil {
		return b, err
	}
	if b.fixed, err = c.fixed(ctx, f.network, minted); err != nil {
		return b, err
	}
	file := filepath.Join(c.Dir, NetworkFile)
	switch {
	case b.fixed == "":
		b.moved = true
		return b, nil
	case other:
		return b, fmt.Errorf("start: %s says %s, --start gives %s; it can't be moved any more, because %s: leave --start out, or use a new folder",
			file, date(was.Unix()), date(c.Start.Unix()), b.fixed)
	case !minted && c.isPast(time.Unix(f.network.Clock().EpochEnd(1), 0)):
		return b, fmt.Errorf("start: %s says %s, the first epoch is over, and the start can't be moved any more, because %s: epochs before genesis could never earn; begin again with a new --dir and --store, which makes another token",
			file, date(was.Unix()), b.fixed)
	}
	c.Start = was
	return b, nil
}

func (c *Config) isPast(t time.Time) bool { return t.Before(c.Now().Truncate(time.Second)) }

// fixed tells why the start of n can't be moved, "" where it can.
func (c *Config) fixed(ctx context.Context, n *ionet.Network, minted bool) (string, error) {
	if minted {
		return "the genesis transaction is on the chain", nil
	}
	return fixedBy(ctx, c.Dir, c.Store, n.ID())
}

// fixedBy tells by which file the network with that id can't be another, ""
// where none does. store may be nil.
func fixedBy(ctx context.Context, dir string, store publish.Reader, id ionet.Hash) (string, error) {
	attempt := filepath.Join(dir, attemptsDir, attemptName(0))
	switch _, err := os.Stat(attempt); {
	case err == nil:
		return "the genesis transaction is signed in " + attempt, nil
	case !errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("look for attempts: %w", err)
	}
	if store == nil {
		return "", nil
	}
	switch _, err := store.Get(ctx, publish.NetworkName(id)); {
	case err == nil:
		return "the network file is published", nil
	case !errors.Is(err, publish.ErrNotFound):
		return "", err
	}
	return "", nil
}

// isMinted reports whether the epoch lane has left position 0. Signed attempts
// may be in another copy of the folder.
func (c *Config) isMinted(ctx context.Context, n *ionet.Network) (bool, error) {
	lane, ok := n.Lane("epoch")
	if !ok {
		return false, errors.New("the network has no epoch lane")
	}
	accounts, _, err := c.Chain.Accounts(ctx, []ionet.Key{lane}, rpc.Confirmed, 0)
	if err != nil {
		return false, err
	}
	state, err := chain.ParseLane(accounts[0].Owner, accounts[0].Data)
	if errors.Is(err, chain.ErrNoAccount) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("lane epoch %s: %w", lane, err)
	}
	secret, err := chain.ReadSecret(filepath.Join(c.Dir, secretFile))
	return err == nil && state != secret.Public(chain.FirstC(lane)), err
}

// move replaces the network file by one with another start. When it returns nil
// that is durable; if we stop before, the old one is whole, and the next run
// decides anew. Another run that was faster is publish.ErrConflict.
func (d *Draft) move(ctx context.Context, folder *publish.Folder) (err error) {
	unlock, err := lock(d.p.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	was, err := folder.Get(ctx, NetworkFile)
	if err != nil {
		return err
	}
	fixed, err := fixedBy(ctx, d.p.Dir, d.design.Store, ionet.HashOf(was))
	if err != nil {
		return err
	}
	if fixed != "" || !bytes.Equal(was, d.was) {
		return fmt.Errorf("move the start: %w", publish.ErrConflict)
	}
	return folder.Overwrite(ctx, NetworkFile, d.p.NetworkFile)
}

// first stores the first attempt. It fixes the start: the network file must be
// the one that the attempt is of, and is published before the attempt is there.
// If we stop in between, the next run finds it published and signs.
func (r *run) first(ctx context.Context, attempts *publish.Folder, data []byte) (err error) {
	unlock, err := lock(r.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	file, err := os.ReadFile(filepath.Join(r.Dir, NetworkFile))
	if err != nil {
		return fmt.Errorf("read network file again: %w", err)
	}
	if !bytes.Equal(file, r.NetworkFile) {
		return fmt.Errorf("%s was replaced by another run, which has moved the start: run this again", filepath.Join(r.Dir, NetworkFile))
	}
	if r.isTooLate(ctx) {
		return fmt.Errorf("the first epoch was over, at %s, before everything was made: run this again, which moves the start", date(r.Network.Clock().EpochEnd(1)))
	}
	if err := r.publish(ctx); err != nil {
		return err
	}
	return attempts.Put(ctx, attemptName(0), data)
}

// isTooLate reports whether the chain is past the first epoch: a genesis then
// would leave it without a chance to earn, and fix that for ever. Where the chain
// does not tell its time the run goes on.
func (r *run) isTooLate(ctx context.Context) bool {
	newest, err := r.Chain.Newest(ctx)
	return err == nil && newest.Time >= r.Network.Clock().EpochEnd(1)
}

// Start tells in words what becomes of the start that the folder's network file
// says, "" where it simply stands.
func (d *Draft) Start() string {
	b := d.start
	switch {
	case b.moved && b.floating:
		return fmt.Sprintf("%s after the run that writes the network file anew: what it says, %s, is moved, because nothing refers to it yet", b.in, date(d.wasStart))
	case b.moved:
		return fmt.Sprintf("%s: the network file is written anew, because nothing refers to what it says, %s, yet", date(d.p.Network.Start), date(d.wasStart))
	case b.fixed != "" && d.design.StartIn != 0:
		return fmt.Sprintf("%s: --start-in moves it no more, because %s", date(d.p.Network.Start), b.fixed)
	}
	return ""
}
