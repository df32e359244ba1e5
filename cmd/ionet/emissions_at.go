package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// moment is the supply at a time in JSON, amounts in base units. Epoch is the last
// one that has ended: an epoch's tokens are minted when it is over.
type moment struct {
	Time        time.Time    `json:"time"`
	Epoch       uint64       `json:"epoch"`
	Emitted     ionet.Amount `json:"emitted"`
	Remaining   ionet.Amount `json:"remaining"`
	Unlocked    ionet.Amount `json:"unlocked"`
	Locked      ionet.Amount `json:"locked"`
	Circulating ionet.Amount `json:"circulating"`
	Categories  []category   `json:"categories"`
}

// category is a part of the genesis supply.
type category struct {
	Category string       `json:"category"`
	Amount   ionet.Amount `json:"amount"`
	Unlock   string       `json:"unlock"`
	Unlocked ionet.Amount `json:"unlocked"`
	Locked   ionet.Amount `json:"locked"`
}

func (v *view) at(t time.Time) (moment, error) {
	k, err := v.ended(t)
	if err != nil {
		return moment{}, err
	}
	s, err := emissions.SupplyAt(v.schedule, v.shares, k)
	if err != nil {
		return moment{}, err
	}
	m := moment{
		Time: t, Epoch: k, Emitted: s.Emitted, Remaining: s.Remaining,
		Unlocked: s.Unlocked, Locked: s.Locked, Circulating: s.Circulating,
	}
	for _, share := range v.shares {
		c := category{Category: share.Category, Amount: share.Amount, Unlock: share.Unlock.String(), Unlocked: share.Unlock.By(share.Amount, k)}
		if c.Locked, err = c.Amount.Sub(c.Unlocked); err != nil {
			return moment{}, err
		}
		m.Categories = append(m.Categories, c)
	}
	return m, nil
}

// supplyAt prints the supply at a time.
func (v *view) supplyAt(out io.Writer, t time.Time, format string) error {
	m, err := v.at(t)
	if err != nil {
		return err
	}
	if format == formatJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", " ")
		return enc.Encode(struct {
			Header header `json:"header"`
			At     moment `json:"at"`
		}{v.header(), m})
	}
	w := bufio.NewWriter(out)
	fmt.Fprintf(w, "%s, in IO\n%s: %s epochs have ended\n\n", v.caption(), t.Format(time.RFC3339), thousands(decimal(m.Epoch)))
	if err := v.printTotals(w, m); err != nil {
		return err
	}
	if err := v.printCategories(w, m.Categories); err != nil {
		return err
	}
	return w.Flush()
}

func (v *view) printTotals(w *bufio.Writer, m moment) error {
	lines := [][]string{
		{"emitted", v.grouped(m.Emitted)}, {"remaining", v.grouped(m.Remaining)}, {"unlocked", v.grouped(m.Unlocked)},
		{"locked", v.grouped(m.Locked)}, {"circulating", v.grouped(m.Circulating)},
	}
	return printAligned(w, lines)
}

func (v *view) printCategories(w *bufio.Writer, categories []category) error {
	lines := [][]string{{"category", "unlock", "amount", "unlocked", "locked"}}
	for _, c := range categories {
		lines = append(lines, []string{c.Category, c.Unlock, v.grouped(c.Amount), v.grouped(c.Unlocked), v.grouped(c.Locked)})
	}
	w.WriteByte('\n')
	return printAligned(w, lines)
}

// printAligned prints lines of cells, all columns right-aligned.
func printAligned(w *bufio.Writer, lines [][]string) error {
	widths := make([]int, len(lines[0]))
	for _, cells := range lines {
		for i, c := range cells {
			widths[i] = max(widths[i], len(c))
		}
	}
	for _, cells := range lines {
		if err := printCells(w, widths, cells); err != nil {
			return err
		}
	}
	return nil
}
