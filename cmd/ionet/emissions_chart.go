package main

import (
	"image/color"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
)

// area is where a chart's data is drawn.
type area struct{ x, y, width, height float64 }

// chart maps data to an area of a figure: x from 0 to xmax, y from 0 to ymax tokens.
type chart struct {
	*plotter
	area
	xmax, ymax float64
	step       float64 // between the lines of the grid
	unit       scale
}

// scale is what an axis counts tokens in.
type scale struct {
	name   string
	tokens float64
}

// newChart makes a chart for values up to xmax and ymax.
func newChart(pl *plotter, a area, xmax, ymax float64) *chart {
	c := &chart{plotter: pl, area: a, xmax: xmax, unit: scaleOf(ymax, pl.symbol), step: ticks(ymax, 5)}
	c.ymax = ymax * 1.08
	if ymax == 0 {
		c.ymax = 1
	}
	return c
}

// scaleOf chooses the unit in which the largest value has few digits.
func scaleOf(most float64, symbol string) scale {
	for _, s := range []scale{{"quadrillion", 1e15}, {"trillion", 1e12}, {"billion", 1e9}, {"million", 1e6}, {"thousand", 1e3}} {
		if most >= s.tokens/10 {
			return scale{s.name + "s of " + symbol, s.tokens}
		}
	}
	return scale{symbol, 1}
}

// ticks returns the step, 1, 2 or 5 times a power of ten, that makes at most n
// steps of a length.
func ticks(length float64, n int) float64 {
	if length <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(length/float64(n))))
	for _, m := range []float64{1, 2, 5} {
		if length/(m*power) <= float64(n) {
			return m * power
		}
	}
	return 10 * power
}

// number is an amount in tokens, for the eye.
func (v *view) number(a ionet.Amount) float64 {
	return float64(a.Base()) / math.Pow10(v.decimals)
}

// words is an amount as a headline has it: "5 billion".
func (v *view) words(a ionet.Amount) string {
	n := v.number(a)
	for _, s := range []scale{{" quadrillion", 1e15}, {" trillion", 1e12}, {" billion", 1e9}, {" million", 1e6}} {
		if n >= s.tokens {
			return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(n/s.tokens, 'f', 3, 64), "0"), ".") + s.name
		}
	}
	return v.round(a)
}

func (c *chart) at(x, y float64) point {
	return point{c.x + x/c.xmax*c.width, c.y + c.height - y/c.ymax*c.height}
}

// entry is an entry of a legend: a patch of colour, or a line.
type entry struct {
	name   string
	color  color.NRGBA
	isLine bool
}

// head writes a chart's title and, below it, a note or its legend.
func (c *chart) head(title, note string, legend ...entry) {
	x := c.x - 40
	c.f.text(c.ink, label{text: title, size: 17, bold: true, at: point{x, c.y - 50}})
	c.f.text(c.soft, label{text: note, size: 13, at: point{x, c.y - 25}})
	for _, e := range legend {
		if e.isLine {
			c.f.rect(e.color, x, c.y-31, 13, 2)
		} else {
			c.f.rect(e.color, x, c.y-36, 13, 13)
		}
		l := label{text: e.name, size: 13, at: point{x + 19, c.y - 25}}
		c.f.text(c.ink, l)
		x += 19 + c.widthOf(&l) + 20
	}
}

// widthOf measures a label; a text that can't be set is told when it is drawn.
func (pl *plotter) widthOf(l *label) float64 {
	face := pl.of(l)
	_, width, _ := face.set(l.text)
	return width * face.scale(l)
}

// grid draws the horizontal lines and the numbers beside them.
func (c *chart) grid() {
	for i := 0; float64(i)*c.step <= c.ymax; i++ {
		y := float64(i) * c.step
		left := c.at(0, y)
		c.f.line(c.palette.grid, 1, nil, left, c.at(c.xmax, y))
		c.f.text(c.soft, label{text: c.mark(y), size: 13, anchor: end, at: point{left.x - 9, left.y + 4.5}})
	}
}

// mark is a number of the y axis, with as many decimals as its step needs.
func (c *chart) mark(y float64) string {
	if y == 0 {
		return "0"
	}
	decimals := max(0, -int(math.Floor(math.Log10(c.step/c.unit.tokens)+1e-9)))
	return strconv.FormatFloat(y/c.unit.tokens, 'f', decimals, 64)
}

// short is an amount in the chart's unit, with three digits behind the point or as
// many as show two of its own. One that is far below the unit is told in tokens.
func (c *chart) short(a ionet.Amount) string {
	y := c.number(a) / c.unit.tokens
	if a.IsZero() {
		return "0"
	}
	digits := max(3, 1-int(math.Floor(math.Log10(y))))
	if digits > 5 {
		return c.words(a) + " " + c.symbol
	}
	return strconv.FormatFloat(y, 'f', digits, 64)
}

// axis draws the line below the data.
func (c *chart) axis() { c.f.line(c.soft, 1.25, nil, c.at(0, 0), c.at(c.xmax, 0)) }

// tick marks a value of the x axis.
func (c *chart) tick(x float64, text string) {
	p := c.at(x, 0)
	c.f.line(c.soft, 1, nil, p, point{p.x, p.y + 5})
	c.f.text(c.soft, label{text: text, size: 13, anchor: middle, at: point{p.x, p.y + 21}})
}

// under names the x axis.
func (c *chart) under(text string) {
	c.f.text(c.soft, label{text: text, size: 13, anchor: middle, at: point{c.x + c.width/2, c.y + c.height + 44}})
}

// band fills what lies between two curves.
func (c *chart) band(fill color.NRGBA, xs, low, high []float64) {
	bottom := c.points(xs, low)
	slices.Reverse(bottom)
	c.f.fill(fill, append(c.points(xs, high), bottom...)...)
}

func (c *chart) curve(stroke color.NRGBA, width float64, xs, ys []float64) {
	c.f.line(stroke, width, nil, c.points(xs, ys)...)
}

func (c *chart) points(xs, ys []float64) []point {
	points := make([]point, len(xs))
	for i, x := range xs {
		points[i] = c.at(x, ys[i])
	}
	return simplify(points)
}

// dates marks years where the x axis is epochs of some years, else epochs.
func (c *chart) dates() error {
	from, to := c.begins(1), c.begins(uint64(c.xmax)+1)
	years := to.Year() - from.Year()
	if years < 2 {
		step := max(ticks(c.xmax, 10), 1)
		for k := 0.0; k <= c.xmax; k += step {
			c.tick(k, thousands(decimal(uint64(k))))
		}
		c.under("epochs since genesis")
		return nil
	}
	step := int(max(ticks(float64(years), 12), 1))
	for y := from.Year() + 1; y <= to.Year(); y++ {
		text := ""
		switch {
		case y%step == 0:
			text = strconv.Itoa(y)
		case step > 2:
			continue // too many for a tick each
		}
		seconds := time.Date(y, time.January, 1, 0, 0, 0, 0, time.UTC).Unix() - from.Unix()
		c.tick(float64(seconds)/float64(c.clock.Length), text)
	}
	return nil
}
