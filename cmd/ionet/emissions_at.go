package main

import (
	"bufio"
	"encoding/csv"
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

// moments reads all of --at before anything is printed.
func (c *emissionsCmd) moments(v *view) (all []moment, err error) {
	for _, text := range c.At {
		t, err := parseTime("--at", text)
		if err != nil {
			return nil, err
		}
		m, err := v.at(t)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}

// printMoments prints the supply at each time.
func (v *view) printMoments(out io.Writer, moments []moment, format string) error {
	w := bufio.NewWriter(out)
	show := v.printMomentTables
	switch format {
	case formatCSV:
		show = v.printMomentsCSV
	case formatJSON:
		show = v.printMomentsJSON
	}
	if err := show(w, moments); err != nil {
		return err
	}
	return w.Flush()
}

func (v *view) printMomentsJSON(w *bufio.Writer, moments []moment) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(struct {
		Header header   `json:"header"`
		At     []moment `json:"at"`
	}{v.header(), moments})
}

// printMomentsCSV writes a row for each time, with two columns for each category.
func (v *view) printMomentsCSV(w *bufio.Writer, moments []moment) error {
	c := csv.NewWriter(w)
	names := []string{"time", "epoch", "emitted", "remaining", "unlocked", "locked", "circulating"}
	for _, s := range v.shares {
		names = append(names, s.Category+"_unlocked", s.Category+"_locked")
	}
	if err := c.Write(names); err != nil {
		return err
	}
	for _, m := range moments {
		record := []string{m.Time.Format(time.RFC3339), decimal(m.Epoch)}
		for _, a := range []ionet.Amount{m.Emitted, m.Remaining, m.Unlocked, m.Locked, m.Circulating} {
			record = append(record, v.tokens(a))
		}
		for _, s := range m.Categories {
			record = append(record, v.tokens(s.Unlocked), v.tokens(s.Locked))
		}
		if err := c.Write(record); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

func (v *view) printMomentTables(w *bufio.Writer, moments []moment) error {
	fmt.Fprintf(w, "%s, in %s\n", v.caption(), v.symbol)
	for i, m := range moments {
		if i > 0 {
			w.WriteByte('\n')
		}
		verb := "have"
		if m.Epoch == 1 {
			verb = "has"
		}
		fmt.Fprintf(w, "%s: %s %s ended\n\n", m.Time.Format(time.RFC3339), count(m.Epoch, "epoch"), verb)
		if err := v.printTotals(w, m); err != nil {
			return err
		}
		if err := v.printCategories(w, m.Categories); err != nil {
			return err
		}
	}
	return nil
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
