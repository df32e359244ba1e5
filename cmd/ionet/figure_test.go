package main

import (
	"bytes"
	"image/color"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func drawPoints(t *rapid.T) []point {
	coordinate := rapid.Float64Range(-1000, 1000)
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) point {
		return point{coordinate.Draw(t, "x"), coordinate.Draw(t, "y")}
	}), 2, 40).Draw(t, "points")
}

// The pieces of a dashed line and its gaps make up the whole line.
func TestDashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		points := drawPoints(t)
		var whole, drawn float64
		for i := 1; i < len(points); i++ {
			whole += distance(points[i-1], points[i])
		}
		on, off := rapid.Float64Range(1, 300).Draw(t, "on"), rapid.Float64Range(1, 300).Draw(t, "off")
		for _, piece := range dashes(points, []float64{on, off}) {
			length := 0.0
			for i := 1; i < len(piece); i++ {
				length += distance(piece[i-1], piece[i])
			}
			if length > on+1e-6 {
				t.Fatalf("a piece of %g, want at most %g", length, on)
			}
			drawn += length
		}
		rounds := math.Floor(whole / (on + off))
		want := rounds*on + min(on, whole-rounds*(on+off))
		if math.Abs(drawn-want) > 1e-6*whole+1e-6 {
			t.Errorf("drawn are %g of %g, want %g", drawn, whole, want)
		}
	})
	whole := []point{{0, 0}, {5, 5}}
	if got := dashes(whole, nil); len(got) != 1 || len(got[0]) != 2 {
		t.Errorf("a whole line has pieces %v", got)
	}
}

// What simplify leaves out lies on what it keeps, to the eye; both ends stay.
func TestSimplify(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var points []point
		for x := range rapid.IntRange(2, 200).Draw(t, "n") {
			y := math.Sqrt(float64(x)) + rapid.SampledFrom([]float64{0, 0, 0, 0.01, 3}).Draw(t, "bump")
			points = append(points, point{float64(x), y})
		}
		kept := simplify(points)
		if kept[0] != points[0] || kept[len(kept)-1] != points[len(points)-1] {
			t.Fatalf("the ends are %v and %v", kept[0], kept[len(kept)-1])
		}
		at := 0
		for _, p := range points {
			if p.x > kept[at+1].x {
				at++
			}
			if off := offside(kept[at], kept[at+1], p); off > tolerance {
				t.Fatalf("%v lies %g beside the line from %v to %v", p, off, kept[at], kept[at+1])
			}
		}
	})
	straight := make([]point, 100)
	for i := range straight {
		straight[i] = point{float64(i), 2}
	}
	if got := simplify(straight); len(got) != 2 {
		t.Errorf("a straight line keeps %d points", len(got))
	}
}

// A line that turns at a right angle has no notch in its corner.
func TestStripsMeet(t *testing.T) {
	black := color.NRGBA{A: 255}
	f := &figure{width: 40, height: 40}
	f.line(black, 10, nil, point{10, 30}, point{10, 10}, point{10, 10}, point{30, 10})
	r := raster{scale: 1, image: blank(40, 40)}
	if err := r.shape(f.shapes[0]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		x, y  int
		black bool
	}{{6, 6, true}, {10, 6, true}, {6, 10, true}, {14, 14, true}, {29, 14, true}, {14, 29, true}, {4, 4, false}, {16, 16, false}, {31, 10, false}, {10, 31, false}} {
		if got := r.image.RGBAAt(c.x, c.y).R == 0; got != c.black {
			t.Errorf("pixel %d,%d: black is %v, want %v", c.x, c.y, got, c.black)
		}
	}
}

// Text becomes outlines whatever is in it, and markup in it stays text.
func TestTextIsEscaped(t *testing.T) {
	f := &figure{width: 100, height: 50, title: `<b>&"`, desc: "d"}
	f.text(color.NRGBA{A: 255}, label{text: `a <i> & "b"` + " \u4e16", size: 10, at: point{1, 20}})
	var b bytes.Buffer
	if err := f.writeSVG(&b); err != nil {
		t.Fatal(err)
	}
	d := readSVG(t, b.Bytes())
	if got := d.labels; len(got) != 1 || got[0] != `a <i> & "b"`+" \u4e16" {
		t.Errorf("labels %q", got)
	}
	if strings.Contains(b.String(), "<b>") || strings.Contains(b.String(), "<i>") {
		t.Error("text became markup")
	}
	if err := f.writePNG(&b, 1); err != nil {
		t.Error(err)
	}
}

func TestCoord(t *testing.T) {
	for x, want := range map[float64]string{0: "0", -0.001: "0", 1.005: "1", 1.5: "1.5", -2.25: "-2.25", 100: "100", 1e6: "1000000"} {
		if got := coord(x); got != want {
			t.Errorf("coord(%g) = %s, want %s", x, got, want)
		}
	}
}
