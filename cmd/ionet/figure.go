package main

import (
	"image/color"
	"math"
	"slices"
)

// figure is a drawing that can be written as SVG and as PNG: filled polygons,
// polylines and texts, painted in their order. Its unit is a CSS pixel, y grows
// downwards. Texts are drawn as outlines of the fonts that the program carries,
// so a figure looks the same on a machine without any font. (Chart libraries leave
// the fonts of an SVG to its reader, who may have others of other widths.)
//
// What is drawn here are pictures of amounts: floating point is for where a line
// goes, never for an amount that anybody counts with.
type figure struct {
	width, height float64
	title, desc   string // for readers who hear it
	shapes        []shape
}

type point struct{ x, y float64 }

// shape is one of three: a text where label is set, a polyline where stroke is
// positive, a filled polygon otherwise.
type shape struct {
	points []point
	color  color.NRGBA
	stroke float64   // width of the line
	dash   []float64 // lengths of line and gap, in turns; none: a whole line
	label  *label
}

// label is a line of text whose baseline begins, has its middle or ends at at.
type label struct {
	text   string
	size   float64 // of an em
	bold   bool
	anchor anchor
	at     point
}

type anchor int

const (
	start anchor = iota
	middle
	end
)

func (f *figure) fill(c color.NRGBA, points ...point) {
	f.shapes = append(f.shapes, shape{points: points, color: c})
}

func (f *figure) rect(c color.NRGBA, x, y, width, height float64) {
	f.fill(c, point{x, y}, point{x + width, y}, point{x + width, y + height}, point{x, y + height})
}

func (f *figure) line(c color.NRGBA, width float64, dash []float64, points ...point) {
	f.shapes = append(f.shapes, shape{points: points, color: c, stroke: width, dash: dash})
}

func (f *figure) text(c color.NRGBA, l label) {
	if l.text == "" {
		return
	}
	f.shapes = append(f.shapes, shape{color: c, label: &l})
}

// rgb is an opaque colour such as 0x0072b2.
func rgb(hex uint32) color.NRGBA {
	return color.NRGBA{R: uint8(hex >> 16), G: uint8(hex >> 8), B: uint8(hex), A: 255}
}

// dashes cuts a polyline into the pieces that a dash pattern leaves of it.
func dashes(points []point, pattern []float64) (pieces [][]point) {
	if len(pattern) == 0 {
		return [][]point{points}
	}
	at, left := 0, pattern[0]
	piece := []point{points[0]}
	for i := 1; i < len(points); i++ {
		from, to := points[i-1], points[i]
		for length := distance(from, to); length > left; length = distance(from, to) {
			from = between(from, to, left/length)
			if at%2 == 0 {
				pieces = append(pieces, append(piece, from))
			}
			at++
			left, piece = pattern[at%len(pattern)], []point{from}
		}
		left -= distance(from, to)
		piece = append(piece, to)
	}
	if at%2 == 0 && len(piece) > 1 {
		pieces = append(pieces, piece)
	}
	return pieces
}

func distance(a, b point) float64 { return math.Hypot(b.x-a.x, b.y-a.y) }

func between(a, b point, t float64) point { return point{a.x + t*(b.x-a.x), a.y + t*(b.y-a.y)} }

// strips returns the rectangles that a line of the given width covers. Where it
// turns sharply, both sides go on for half the width, so that no notch is left.
func strips(points []point, width float64) (all [][]point) {
	points = slices.Compact(slices.Clone(points))
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		x, y := direction(a, b)
		x, y = x*width/2, y*width/2
		if i > 1 && turns(points[i-2], a, b) {
			a = point{a.x - x, a.y - y}
		}
		if i+1 < len(points) && turns(points[i-1], b, points[i+1]) {
			b = point{b.x + x, b.y + y}
		}
		all = append(all, []point{{a.x + y, a.y - x}, {b.x + y, b.y - x}, {b.x - y, b.y + x}, {a.x - y, a.y + x}})
	}
	return all
}

func direction(a, b point) (x, y float64) {
	d := distance(a, b)
	return (b.x - a.x) / d, (b.y - a.y) / d
}

// turns reports whether a line from a by b to c turns by more than 25 degrees.
func turns(a, b, c point) bool {
	x, y := direction(a, b)
	u, v := direction(b, c)
	return x*u+y*v < 0.9
}

// tolerance is how far a simplified line may be from the true one: nobody sees a
// twentieth of a pixel.
const tolerance = 0.05

// simplify leaves out points of a line that it can do without (Douglas and Peucker).
func simplify(points []point) []point {
	if len(points) < 3 {
		return points
	}
	first, last := points[0], points[len(points)-1]
	far, at := 0.0, 0
	for i, p := range points[1 : len(points)-1] {
		if d := offside(first, last, p); d > far {
			far, at = d, i+1
		}
	}
	if far <= tolerance {
		return []point{first, last}
	}
	left := simplify(points[:at+1])
	return append(left[:len(left)-1:len(left)-1], simplify(points[at:])...)
}

// offside is the distance of p from the line from a to b.
func offside(a, b, p point) float64 {
	length := distance(a, b)
	if length == 0 {
		return distance(a, p)
	}
	return math.Abs((b.x-a.x)*(p.y-a.y)-(b.y-a.y)*(p.x-a.x)) / length
}
