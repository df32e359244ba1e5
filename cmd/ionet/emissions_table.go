package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// unit is what a row is: a number of epochs.
type unit struct {
	name   string
	epochs uint64
}

// unitOf returns the unit of --by.
func unitOf(name string) (unit, error) {
	switch name {
	case "epoch":
		return unit{name, 1}, nil
	case "month":
		return unit{name, emissions.EpochsPerMonth}, nil
	case "", "year":
		return unit{"year", emissions.EpochsPerYear}, nil
	}
	return unit{}, fmt.Errorf("--by %s: want epoch, month or year", name)
}

// rows returns how many rows a schedule has; the last one may be shorter.
func (u unit) rows(epochs uint64) uint64 { return (epochs + u.epochs - 1) / u.epochs }

// span is a part of the rows, both ends included.
type span struct {
	unit     unit
	from, to uint64
}

// row is what a number of epochs emit, and the supply by the end of the last.
type row struct {
	number      uint64
	first, last uint64 // epochs
	begins      time.Time
	emission    ionet.Amount
	supply      emissions.Supply
}

// rows yields the rows of a span until one fails.
func (v *view) rows(s span) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		for n := s.from; n <= s.to; n++ {
			r, err := v.row(s.unit, n)
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

func (v *view) row(u unit, n uint64) (row, error) {
	r := row{number: n, first: (n-1)*u.epochs + 1, last: min(n*u.epochs, v.schedule.Epochs())}
	r.begins = v.begins(r.first)
	before, err := v.schedule.Cumulative(r.first - 1)
	if err != nil {
		return row{}, err
	}
	if r.supply, err = emissions.SupplyAt(v.schedule, v.shares, r.last); err != nil {
		return row{}, err
	}
	r.emission, err = r.supply.Emitted.Sub(before)
	return r, err
}

// amounts returns a row's amounts in the order of amountColumns.
func (r row) amounts() [5]ionet.Amount {
	return [5]ionet.Amount{r.emission, r.supply.Emitted, r.supply.Unlocked, r.supply.Circulating, r.supply.Remaining}
}

// amountColumns are named alike in CSV and JSON.
var amountColumns = [5]string{"emission", "emitted", "unlocked", "circulating", "remaining"}

// columnsNote stands above a table.
const columnsNote = "emission is what a row's epochs emit; the columns after it are the supply by the row's end"

// print writes rows in a format: table, csv or json.
func (v *view) print(out io.Writer, s span, format string) error {
	w := bufio.NewWriterSize(out, 1<<16)
	show := v.printTable
	switch format {
	case formatCSV:
		show = v.printCSV
	case formatJSON:
		show = v.printJSON
	}
	if err := show(w, s); err != nil {
		return err
	}
	return w.Flush()
}

func (v *view) printCSV(w *bufio.Writer, s span) error {
	c := csv.NewWriter(w)
	if err := c.Write(append([]string{s.unit.name, "first_epoch", "last_epoch", "begins"}, amountColumns[:]...)); err != nil {
		return err
	}
	record := make([]string, 0, 4+len(amountColumns))
	for r, err := range v.rows(s) {
		if err != nil {
			return err
		}
		record = append(record[:0], decimal(r.number), decimal(r.first), decimal(r.last), r.begins.Format(time.RFC3339))
		for _, a := range r.amounts() {
			record = append(record, v.tokens(a))
		}
		if err := c.Write(record); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// printTable goes over the rows twice: columns are as wide as what is in them.
func (v *view) printTable(w *bufio.Writer, s span) error {
	widths := make([]int, len(v.cells(s.unit, nil)))
	fit := func(cells []string) {
		for i, c := range cells {
			widths[i] = max(widths[i], len(c))
		}
	}
	fit(v.cells(s.unit, nil))
	for r, err := range v.rows(s) {
		if err != nil {
			return err
		}
		fit(v.cells(s.unit, &r))
	}
	if _, err := fmt.Fprintf(w, "%s, in %s\n%s\n\n", v.caption(), v.symbol, columnsNote); err != nil {
		return err
	}
	if err := printCells(w, widths, v.cells(s.unit, nil)); err != nil {
		return err
	}
	for r, err := range v.rows(s) {
		if err != nil {
			return err
		}
		if err := printCells(w, widths, v.cells(s.unit, &r)); err != nil {
			return err
		}
	}
	return nil
}

// cells are a row's columns as people read them, or the heads of the columns. A row
// that is one epoch names it once.
func (v *view) cells(u unit, r *row) []string {
	if r == nil {
		cells := []string{u.name}
		if u.epochs > 1 {
			cells = append(cells, "epochs")
		}
		return append(append(cells, "begins"), amountColumns[:]...)
	}
	cells := []string{decimal(r.number)}
	if u.epochs > 1 {
		cells = append(cells, fmt.Sprintf("%d..%d", r.first, r.last))
	}
	cells = append(cells, r.begins.Format(time.RFC3339))
	for _, a := range r.amounts() {
		cells = append(cells, v.grouped(a))
	}
	return cells
}

func printCells(w *bufio.Writer, widths []int, cells []string) error {
	for i, c := range cells {
		if i > 0 {
			w.WriteString("  ")
		}
		for range widths[i] - len(c) {
			w.WriteByte(' ')
		}
		w.WriteString(c)
	}
	return w.WriteByte('\n') // a Writer that failed once fails from then on
}

// caption says in one line what is shown.
func (v *view) caption() string {
	p := v.schedule.Params()
	return fmt.Sprintf("%s: genesis %s, cap %s, %s from %s", v.name(), v.round(p.Genesis), v.round(p.Cap),
		count(p.Epochs, "epoch"), v.begins(1).Format(time.RFC3339))
}

// name is what a reader calls the schedule.
func (v *view) name() string {
	if v.network != "" {
		return "network " + v.network
	}
	return v.profile + " schedule"
}

// header begins each JSON document. Amounts are base units, 10^-decimals tokens.
type header struct {
	Profile      string       `json:"profile"`
	Network      string       `json:"network,omitempty"`
	Symbol       string       `json:"symbol"`
	Decimals     int          `json:"decimals"`
	Start        time.Time    `json:"start"`
	EpochSeconds uint32       `json:"epoch_seconds"`
	Genesis      ionet.Amount `json:"genesis"`
	Cap          ionet.Amount `json:"cap"`
	Epochs       uint64       `json:"epochs"`
	Hash         ionet.Hash   `json:"hash"`
	Allocation   []allocated  `json:"allocation"`
}

// allocated is a part of the genesis supply and when it unlocks.
type allocated struct {
	Category string       `json:"category"`
	Amount   ionet.Amount `json:"amount"`
	Unlock   string       `json:"unlock"`
}

func (v *view) header() header {
	p := v.schedule.Params()
	h := header{
		Profile: v.profile, Network: v.network, Symbol: v.symbol, Decimals: v.decimals, Start: v.begins(1), EpochSeconds: v.clock.Length,
		Genesis: p.Genesis, Cap: p.Cap, Epochs: p.Epochs, Hash: v.hash(), Allocation: []allocated{},
	}
	for _, s := range v.shares {
		h.Allocation = append(h.Allocation, allocated{s.Category, s.Amount, s.Unlock.String()})
	}
	return h
}

// jsonRow is a row in JSON.
type jsonRow struct {
	Number      uint64       `json:"number"`
	FirstEpoch  uint64       `json:"first_epoch"`
	LastEpoch   uint64       `json:"last_epoch"`
	Begins      time.Time    `json:"begins"`
	Emission    ionet.Amount `json:"emission"`
	Emitted     ionet.Amount `json:"emitted"`
	Unlocked    ionet.Amount `json:"unlocked"`
	Circulating ionet.Amount `json:"circulating"`
	Remaining   ionet.Amount `json:"remaining"`
}

// printJSON writes one document, a row on each line.
func (v *view) printJSON(w *bufio.Writer, s span) error {
	head, err := json.Marshal(v.header())
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "{\"header\":%s,\n\"by\":%q,\n\"rows\":[", head, s.unit.name)
	separator := "\n"
	for r, err := range v.rows(s) {
		if err != nil {
			return err
		}
		line, err := json.Marshal(jsonRow{
			Number: r.number, FirstEpoch: r.first, LastEpoch: r.last, Begins: r.begins, Emission: r.emission,
			Emitted: r.supply.Emitted, Unlocked: r.supply.Unlocked, Circulating: r.supply.Circulating, Remaining: r.supply.Remaining,
		})
		if err != nil {
			return err
		}
		w.WriteString(separator)
		if _, err := w.Write(line); err != nil {
			return err
		}
		separator = ",\n"
	}
	_, err = w.WriteString("\n]}\n")
	return err
}

// writeVector writes the emissions of all epochs, 8 bytes each, little-endian.
func (v *view) writeVector(w io.Writer) error {
	_, err := w.Write(v.schedule.Vector())
	return err
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }
