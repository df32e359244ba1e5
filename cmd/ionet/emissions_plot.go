package main

import (
	"cmp"
	"fmt"
	"image/color"
	"io"
	"slices"
	"strings"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/emissions"
)

// The plot's measures, in pixels.
const (
	plotWidth  = 1200
	plotMargin = 60
	plotFooter = 1060 // the footer's first baseline; its lines decide how high a plot is
	plotScale  = 2    // pixels of the PNG for each of ours
)

// palette is the plot's colours. What lies side by side differs in lightness and
// not in hue alone, so that no kind of colour vision confuses it.
type palette struct {
	ink, soft, grid           color.NRGBA
	unlocked, emitted, locked color.NRGBA
	limit, background         color.NRGBA
	categories                []color.NRGBA
}

func newPalette() palette {
	p := palette{
		ink: rgb(0x1f2933), soft: rgb(0x5b6773), grid: rgb(0xe3e7eb), background: rgb(0xffffff),
		unlocked: rgb(0x3a86bd), emitted: rgb(0xf0b23e), locked: rgb(0xd5dbe1), limit: rgb(0xa5310a),
	}
	for _, hex := range []uint32{0x4e9a5b, 0xe5d37a, 0xd9727f, 0x4477aa, 0x99ddff, 0x8f6bb0, 0xaaaa44, 0xb0b8c0, 0xa0522d} {
		p.categories = append(p.categories, rgb(hex))
	}
	return p
}

// plot draws the schedule in a file, as its name's ending says.
func (v *view) plot(name string) error {
	f, err := v.figure()
	if err != nil {
		return err
	}
	if strings.HasSuffix(name, ".svg") {
		return replaceFile(name, f.writeSVG)
	}
	return replaceFile(name, func(w io.Writer) error { return f.writePNG(w, plotScale) })
}

// plotter draws one view on one figure.
type plotter struct {
	*view
	palette
	faces
	f *figure
}

func (v *view) figure() (*figure, error) {
	fonts, err := newFaces()
	if err != nil {
		return nil, err
	}
	p := v.schedule.Params()
	title := fmt.Sprintf("%s supply: %s at genesis, %s at the cap", v.symbol, v.words(p.Genesis), v.words(p.Cap))
	pl := plotter{view: v, palette: newPalette(), faces: fonts, f: &figure{width: plotWidth, title: title, desc: v.caption()}}
	footer := pl.footer()
	pl.f.height = plotFooter + float64(len(footer))*footerLine + 10
	pl.f.rect(pl.background, 0, 0, pl.f.width, pl.f.height)
	pl.f.text(pl.ink, label{text: title, size: 28, bold: true, at: point{plotMargin, 62}})
	pl.f.text(pl.soft, label{text: pl.subtitle(), size: 15, at: point{plotMargin, 90}})
	for _, draw := range []func() error{pl.supply, pl.yearly, pl.unlocks} {
		if err := draw(); err != nil {
			return nil, err
		}
	}
	pl.f.line(pl.grid, 1, nil, point{plotMargin, plotFooter - 24}, point{plotWidth - 50, plotFooter - 24})
	for i, l := range footer {
		pl.f.text(pl.soft, label{text: l, size: footerSize, at: point{plotMargin, plotFooter + float64(i)*footerLine}})
	}
	return pl.f, nil
}

func (pl *plotter) subtitle() string {
	n := pl.schedule.Epochs()
	return fmt.Sprintf("%s, %s from %s to %s", capital(pl.name()), count(n, "epoch"),
		pl.begins(1).Format("2 January 2006"), pl.begins(n+1).Format("2 January 2006"))
}

// supply draws what circulates, what is locked and the cap over all epochs.
func (pl *plotter) supply() error {
	p := pl.schedule.Params()
	limit := pl.number(p.Cap)
	c := newChart(pl, area{x: 100, y: 205, width: 1050, height: 380}, float64(p.Epochs), limit)
	c.head("Supply, "+c.unit.name, "", entry{"genesis, unlocked", pl.unlocked, false}, entry{"emitted", pl.emitted, false},
		entry{"circulating", pl.ink, true}, entry{"genesis, still locked", pl.locked, false})
	c.grid()
	var at, unlocked, circulating, minted []float64
	for _, k := range pl.samples(p.Epochs) {
		s, err := emissions.SupplyAt(pl.schedule, pl.shares, k)
		if err != nil {
			return err
		}
		at = append(at, float64(k))
		unlocked = append(unlocked, pl.number(s.Unlocked))
		circulating = append(circulating, pl.number(s.Circulating))
		minted = append(minted, pl.number(p.Genesis)+pl.number(s.Emitted))
	}
	zero := make([]float64, len(at))
	c.band(pl.locked, at, circulating, minted)
	c.band(pl.emitted, at, unlocked, circulating)
	c.band(pl.unlocked, at, zero, unlocked)
	c.curve(pl.ink, 2, at, circulating)
	left, right := c.at(0, limit), c.at(c.xmax, limit)
	pl.f.line(pl.limit, 1.75, []float64{8, 5}, left, right)
	pl.f.text(pl.limit, label{text: "cap " + pl.round(p.Cap) + " " + pl.symbol, size: 13, bold: true, at: point{left.x + 8, left.y - 8}})
	c.axis()
	return c.dates()
}

// samples returns epochs between which a straight line is true to the eye, and
// both sides of each month's end while there are unlocks.
func (pl *plotter) samples(epochs uint64) []uint64 {
	const steps = 500
	var all []uint64
	for i := uint64(0); i <= steps; i++ {
		all = append(all, epochs*i/steps)
	}
	for k := uint64(emissions.EpochsPerMonth); k <= min(pl.lastUnlock(), epochs); k += emissions.EpochsPerMonth {
		all = append(all, k-1, k)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lastUnlock is the epoch by whose end the genesis supply is unlocked.
func (pl *plotter) lastUnlock() (last uint64) {
	for _, s := range pl.shares {
		last = max(last, s.Unlock.Last())
	}
	return last
}

// bars returns what a bar is: a year, or less where the epochs are few.
func bars(epochs uint64) unit {
	switch {
	case epochs >= 3*emissions.EpochsPerYear:
		return unit{"year", emissions.EpochsPerYear}
	case epochs >= 3*emissions.EpochsPerMonth:
		return unit{"month", emissions.EpochsPerMonth}
	}
	if epochs < 40 {
		return unit{"epoch", 1}
	}
	return unit{"part", epochs / 20}
}

// yearly draws emissions as bars.
func (pl *plotter) yearly() error {
	epochs := pl.schedule.Epochs()
	u := bars(epochs)
	n := u.rows(epochs)
	var emitted []ionet.Amount
	var most float64
	for i := uint64(1); i <= n; i++ {
		r, err := pl.row(u, i)
		if err != nil {
			return err
		}
		emitted = append(emitted, r.emission)
		most = max(most, pl.number(r.emission))
	}
	c := newChart(pl, area{x: 100, y: 730, width: 470, height: 240}, float64(n), most)
	full := max(epochs/u.epochs, 1)
	per, bar, under := u.name, u.name, fmt.Sprintf("%ss of %s", u.name, count(u.epochs, "epoch"))
	switch u.name {
	case "part":
		per, bar, under = count(u.epochs, "epoch"), "bar", "bars of "+count(u.epochs, "epoch")
	case "epoch":
		under = "epochs"
	}
	c.head(fmt.Sprintf("Emission per %s, %s", per, c.unit.name), fmt.Sprintf("from %s in %s 1 to %s in %s %d",
		c.short(emitted[0]), bar, c.short(emitted[full-1]), bar, full))
	c.grid()
	for i, e := range emitted {
		from, to := c.at(float64(i)+0.12, pl.number(e)), c.at(float64(i)+0.88, 0)
		pl.f.rect(pl.emitted, from.x, from.y, to.x-from.x, to.y-from.y)
	}
	c.axis()
	step := max(ticks(float64(n), 8), 1)
	for i := 1.0; i <= float64(n); i = step * float64(int(i/step)+1) {
		c.tick(i-0.5, decimal(uint64(i)))
	}
	c.under(under)
	return nil
}

// unlocks draws the genesis supply by category as it unlocks, month by month.
func (pl *plotter) unlocks() error {
	months := max(pl.lastUnlock()/emissions.EpochsPerMonth, 12)
	months += months / 8
	p := pl.schedule.Params()
	c := newChart(pl, area{x: 690, y: 730, width: 460, height: 240}, float64(months), pl.number(p.Genesis))
	order := pl.byUnlock()
	var at []float64
	var epochs []uint64
	for m := uint64(0); m <= months; m++ {
		k := m * emissions.EpochsPerMonth
		if m > 0 {
			at, epochs = append(at, float64(m)), append(epochs, k-1)
		}
		at, epochs = append(at, float64(m)), append(epochs, k)
	}
	low := make([]float64, len(at))
	var legend []entry
	var edges []func()
	c.grid()
	for _, i := range order {
		s, color := pl.shares[i], pl.categories[i%len(pl.categories)]
		legend = append(legend, entry{readable(s.Category), color, false})
		high := make([]float64, len(at))
		for j, k := range epochs {
			high[j] = low[j] + pl.number(s.Unlock.By(s.Amount, k))
		}
		c.band(color, at, low, high)
		edge := low
		edges = append(edges, func() { c.curve(pl.background, 1, at, edge) })
		low = high
	}
	for _, edge := range edges[1:] {
		edge()
	}
	c.head("Genesis supply unlocked, "+c.unit.name, "", legend...)
	c.axis()
	step := max(12*ticks(float64(months)/12, 6), 12)
	for m := 0.0; m <= float64(months); m += step {
		c.tick(m, decimal(uint64(m)))
	}
	c.under("months of 730 epochs since genesis")
	return nil
}

// Of the footer's text and of a line of it.
const (
	footerSize = 11.5
	footerLine = 18
)

// byUnlock orders the shares: what is unlocked last lies on top.
func (pl *plotter) byUnlock() []int {
	order := make([]int, len(pl.shares))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Compare(pl.shares[a].Unlock.Last(), pl.shares[b].Unlock.Last())
	})
	return order
}

// footer says of what the picture is, so that anyone can draw it again.
func (pl *plotter) footer() []string {
	p := pl.schedule.Params()
	genesis := "Genesis:"
	for i, s := range pl.shares {
		if i > 0 {
			genesis += " ·"
		}
		genesis += " " + readable(s.Category) + " " + pl.round(s.Amount) + " " + s.Unlock.String()
	}
	steps := "each epoch is a step"
	if p.EpochsPerStep > 1 {
		steps = fmt.Sprintf("a step is %s epochs", thousands(decimal(p.EpochsPerStep)))
	}
	schedule := fmt.Sprintf("Schedule: at the first step's pace, %s of genesis in a year of %s; each step emits the fraction %s less than the one before; %s; %s; the last emission ends at the cap, %s.",
		p.FirstYearRate, count(p.StepsPerYear, "step"), p.Decay, steps, count(uint64(pl.decimals), "decimal"), pl.round(p.Cap))
	return slices.Concat(pl.wrap(schedule), pl.wrap(genesis), []string{"SHA-256 of the emission vector: " + pl.hash().String()})
}

// wrap breaks a text of the footer into lines.
func (pl *plotter) wrap(text string) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		longer := strings.TrimSpace(line + " " + word)
		if line != "" && pl.widthOf(&label{text: longer, size: footerSize}) > plotWidth-plotMargin-50 {
			lines = append(lines, line)
			longer = word
		}
		line = longer
	}
	return append(lines, line)
}

// readable is a category as a caption has it: "Series A" for series_a.
func readable(category string) string {
	words := strings.FieldsFunc(category, func(r rune) bool { return r == '_' || r == '-' })
	for i, w := range words {
		words[i] = capital(w)
	}
	return strings.Join(words, " ")
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
