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
	total   tally  // of all seeds
	name    uint64 // that its databases begin with
}

// open makes the world, once.
func (p *player) open(ctx context.Context) (err error) {
	if p.world == nil {
		p.world, err = newWorld(ctx, p.admin, fmt.Sprintf("sim_%d_", p.name), filepath.Join(p.dir, "world"), p.providers)
	}
	return err
}

// play plays one seed and returns the hash of its trace.
func (p *player) play(ctx context.Context, seed uint64, steps int) (trace ionet.Hash, err error) {
	if err := p.open(ctx); err != nil {
		return ionet.Hash{}, err
	}
	r, err := p.world.begin(ctx, seed, p.dir)
	if err != nil {
		return ionet.Hash{}, err
	}
	r.verbose = p.verbose
	defer func() { err = errors.Join(err, r.end(context.WithoutCancel(ctx))) }()
	err = r.play(ctx, steps)
	p.total.merge(r.tally)
	return r.Trace(), err
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

// explain prints how a seed failed and how to see it again.
func (p *player) explain(ctx context.Context, b *Broken, out io.Writer) {
	for _, line := range b.Tail {
		fmt.Fprintln(out, line)
	}
	steps := p.steps
	if p.shrinks {
		steps = p.shrink(ctx, b.Seed, min(b.Step, p.steps), out)
	}
	fmt.Fprintf(out, "%v\nagain: make sim SEED=%d STEPS=%d\n", b, b.Seed, steps)
}
