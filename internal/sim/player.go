package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/ionet-settlement/ionet"
)

// player plays seeds, each from the same beginning.
type player struct {
	options
	admin   string // address of the database server
	dir     string
	verbose func(string)
	world   *world
	total   tally
}

// play plays one seed and returns the hash of its trace.
func (p *player) play(ctx context.Context, seed uint64, steps int) (ionet.Hash, error) {
	if p.world == nil {
		w, err := newWorld(ctx, p.admin, filepath.Join(p.dir, "world"), p.providers)
		if err != nil {
			return ionet.Hash{}, err
		}
		p.world = w
	}
	r, err := p.world.playSeed(ctx, seed, steps, p.dir, p.verbose)
	if r != nil {
		p.total.merge(r.tally)
	}
	if err != nil {
		return ionet.Hash{}, err
	}
	return r.Trace(), nil
}

// shrink looks for the fewest steps after which a seed fails, halving: with fewer
// steps a seed makes the same ones, and comes to rest earlier.
func (p *player) shrink(ctx context.Context, seed uint64, failing int, out io.Writer) int {
	low := 0 // holds, as far as is known
	for low+1 < failing && ctx.Err() == nil {
		middle := (low + failing) / 2
		_, err := p.play(ctx, seed, middle)
		if broken := (*Broken)(nil); errors.As(err, &broken) {
			failing = min(middle, max(broken.Step, 1))
			fmt.Fprintf(out, "fails after %d steps: %v\n", middle, broken.Cause)
		} else {
			low = middle
		}
	}
	return failing
}

// close ends the world.
func (p *player) close(ctx context.Context) error {
	if p.world == nil {
		return nil
	}
	w := p.world
	p.world = nil
	return w.close(ctx)
}
