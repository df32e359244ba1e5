package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func blank(width, height int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	draw.Draw(m, m.Bounds(), image.White, image.Point{}, draw.Src)
	return m
}

// drawing is what a reader finds in an SVG file.
type drawing struct {
	title  string
	labels []string
	fills  map[string]int
}

// readSVG reads a file that must be well-formed XML, refer to nothing but what it
// defines, and ask for no font.
func readSVG(t *testing.T, file []byte) drawing {
	t.Helper()
	d := drawing{fills: map[string]int{}}
	ids, uses := map[string]bool{}, map[string]bool{}
	dec := xml.NewDecoder(bytes.NewReader(file))
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("SVG: %v", err)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch e.Name.Local {
		case "text", "style", "script", "image", "foreignObject":
			t.Errorf("SVG has an element %s", e.Name.Local)
		case "title":
			if err := dec.DecodeElement(&d.title, &e); err != nil {
				t.Fatal(err)
			}
		}
		for _, a := range e.Attr {
			switch a.Name.Local {
			case "id":
				ids[a.Value] = true
			case "href":
				uses[strings.TrimPrefix(a.Value, "#")] = true
			case "aria-label":
				d.labels = append(d.labels, a.Value)
			case "fill":
				d.fills[a.Value]++
			}
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("SVG: %s of %s is %s", a.Name.Local, e.Name.Local, a.Value)
			}
		}
	}
	for id := range uses {
		if !ids[id] {
			t.Errorf("SVG uses %q, which it does not define", id)
		}
	}
	return d
}

// plots are schedules of all kinds and sizes.
var plots = map[string][]string{
	"hourly":      nil,
	"monthly":     {"--profile", "monthly", "--allocation", "of_genesis", "--decimals", "0"},
	"slow":        {"--unlock", "core=linear:3..1400", "--unlock", "community=cliff:60", "--unlock", "research=tranches:1..1", "--unlock", "seed=tranches:100..1000"},
	"immediate":   {"--unlock", "seed=immediate", "--unlock", "series_a=immediate", "--unlock", "core=immediate"},
	"two epochs":  {"--schedule", "two.toml"},
	"parts":       {"--schedule", "parts.toml", "--symbol", "MINE", "--allocation", "of_genesis"},
	"short half":  {"--schedule", "half.toml", "--symbol", "WWWWWWWWWW"},
	"some months": {"--schedule", "months.toml"},
	"a century":   {"--schedule", "century.toml", "--start", "1999-12-31T23:00:00Z"},
	"no emission": {"--schedule", "none.toml"},
}

var plotFiles = map[string]string{
	"parts.toml":   schedule(4, 10000, 2_281_000_000, 730, "20000000", 8760, "0.01"),
	"half.toml":    schedule(8, 100_000_000_000_000_000, 110_000_000_000_000_000, 87_600, "0.5", 8760, "0.0003"),
	"two.toml":     schedule(2, 1000, 1700, 2, "1", 2, "0.5"),
	"months.toml":  schedule(8, 123456789, 130000000, 5000, "0.9", 8760, "0.00001"),
	"century.toml": schedule(0, 1_000_000_000_000_000_000, 1_010_000_000_000_000_000, 1048576, "0.01", 8760, "0.000001"),
	"none.toml":    schedule(1, 10, 10, 50, "1", 12, "0.5"),
}

func schedule(decimals int, genesis, limit, epochs uint64, rate string, perYear uint64, decay string) string {
	return fmt.Sprintf("decimals = %d\ngenesis = \"%d\"\ncap = \"%d\"\nepochs = %d\nfirst_year_rate = %q\nsteps_per_year = %d\ndecay = %q\n",
		decimals, genesis, limit, epochs, rate, perYear, decay)
}

// eachPlot draws all plots.
func eachPlot(t *testing.T, check func(t *testing.T, v *view, f *figure)) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range plotFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, args := range plots {
		t.Run(name, func(t *testing.T) {
			c := emissionsCmd{Symbol: "IO"}
			for i := 0; i < len(args); i += 2 {
				switch value := args[i+1]; args[i] {
				case "--schedule":
					c.Schedule = filepath.Join(dir, value)
				case "--symbol":
					c.Symbol = value
				case "--unlock":
					c.Unlock = append(c.Unlock, value)
				case "--start":
					c.Start = value
				case "--profile":
					c.Profile = value
				case "--allocation":
					c.Allocation = value
				case "--decimals":
					c.Decimals = value
				}
			}
			v, err := c.view(nil)
			if err != nil {
				t.Fatal(err)
			}
			f, err := v.figure()
			if err != nil {
				t.Fatal(err)
			}
			check(t, v, f)
		})
	}
}

// box is what a label covers.
type box struct{ left, top, right, bottom float64 }

func boxOf(t *testing.T, fonts faces, l *label) box {
	t.Helper()
	_, at, err := fonts.place(l)
	if err != nil {
		t.Fatal(err)
	}
	_, width, err := fonts.of(l).set(l.text)
	if err != nil {
		t.Fatal(err)
	}
	return box{at.x, at.y - 0.75*l.size, at.x + width*fonts.of(l).scale(l), at.y + 0.2*l.size}
}

// Nothing is clipped, and no label lies on another.
func TestPlotLabelsHaveRoom(t *testing.T) {
	fonts, err := newFaces()
	if err != nil {
		t.Fatal(err)
	}
	eachPlot(t, func(t *testing.T, _ *view, f *figure) {
		var seen []*label
		var boxes []box
		for _, s := range f.shapes {
			for _, p := range s.points {
				if !(p.x >= 0 && p.x <= f.width && p.y >= 0 && p.y <= f.height) {
					t.Fatalf("a shape reaches %v of a figure of %v x %v", p, f.width, f.height)
				}
			}
			if s.label == nil {
				continue
			}
			b := boxOf(t, fonts, s.label)
			if b.left < 0 || b.top < 0 || b.right > f.width || b.bottom > f.height {
				t.Errorf("%q is clipped: %v", s.label.text, b)
			}
			for i, o := range boxes {
				if b.left < o.right && o.left < b.right && b.top < o.bottom && o.top < b.bottom {
					t.Errorf("%q lies on %q", s.label.text, seen[i].text)
				}
			}
			seen, boxes = append(seen, s.label), append(boxes, b)
		}
	})
}

// Both formats are well formed, and the SVG says all that the figure does.
func TestPlotFormats(t *testing.T) {
	eachPlot(t, func(t *testing.T, v *view, f *figure) {
		var b bytes.Buffer
		if err := f.writeSVG(&b); err != nil {
			t.Fatal(err)
		}
		d := readSVG(t, b.Bytes())
		if d.title != f.title || !strings.HasPrefix(d.title, v.symbol+" supply: ") {
			t.Errorf("title %q", d.title)
		}
		for _, want := range []string{f.title, "emitted", "circulating", "SHA-256 of the emission vector: " + v.hash().String()} {
			if !slices.Contains(d.labels, want) {
				t.Errorf("no %q among %q", want, d.labels)
			}
		}
		if b.Len() > 150_000 {
			t.Errorf("SVG has %d bytes", b.Len())
		}
		b.Reset()
		if err := f.writePNG(&b, 0.5); err != nil {
			t.Fatal(err)
		}
		if _, err := png.Decode(&b); err != nil {
			t.Error(err)
		}
	})
}

// The published plot, read back from its files: texts of the SVG, areas of the PNG.
func TestPublishedPlot(t *testing.T) {
	dir := t.TempDir()
	svg, raster := filepath.Join(dir, "supply.svg"), filepath.Join(dir, "supply.png")
	ionetSays(t, "emissions", "--plot", svg)
	ionetSays(t, "emissions", "--plot", raster)
	file, err := os.ReadFile(svg)
	if err != nil {
		t.Fatal(err)
	}
	d := readSVG(t, file)
	for _, want := range []string{
		"IO supply: 5 billion at genesis, 8 billion at the cap",
		"Hourly schedule, 175,319 epochs from 1 July 2024 to 30 June 2044",
		"Supply, billions of IO", "cap 8,000,000,000 IO", "2026", "2044", "8",
		"Emission per year, billions of IO", "from 0.377 in year 1 to 0.037 in year 20", "0.4",
		"Genesis supply unlocked, billions of IO", "Seed", "Series A", "Core", "Research", "Community", "48",
		"SHA-256 of the emission vector: d68fe9daac36df63d8c4033544a9c4db2b48efd510aae00d266a44fbe2b160b3",
	} {
		if !slices.Contains(d.labels, want) {
			t.Errorf("no %q among %q", want, d.labels)
		}
	}
	if text := strings.Join(d.labels, " "); !strings.Contains(text, "Schedule: at the first step's pace, 0.08 of genesis in a year of 8,760 steps;") {
		t.Errorf("no such pace in %s", text)
	}
	if bars := d.fills[hexOf(newPalette().emitted)]; bars != 21+1+1 {
		t.Errorf("%d shapes have the colour of emissions, want 21 bars, an area and its key", bars)
	}
	b, err := os.Open(raster)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	m, err := png.Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	p := newPalette()
	// In tokens and epochs: half of genesis in the end, emissions above it, what is
	// locked on the first day, and nothing above the supply.
	c := chart{area: area{x: 100, y: 205, width: 1050, height: 380}, xmax: 175_319, ymax: 8e9 * 1.08}
	for _, at := range []struct {
		epoch, tokens float64
		want          color.NRGBA
	}{{170_000, 2.5e9, p.unlocked}, {170_000, 6e9, p.emitted}, {3000, 4e9, p.locked}, {3000, 1e9, p.unlocked}, {40_000, 7e9, p.background}} {
		pixel := c.at(at.epoch, at.tokens)
		r, g, b, _ := m.At(int(pixel.x*plotScale), int(pixel.y*plotScale)).RGBA()
		if got := (color.NRGBA{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8), 255}); got != at.want {
			t.Errorf("epoch %g, %g IO: colour %v, want %v", at.epoch, at.tokens, got, at.want)
		}
	}
}

// The README's picture is what the command draws.
func TestReadmePicture(t *testing.T) {
	kept, err := os.ReadFile("../../emissions/supply.svg")
	if err != nil {
		t.Fatal(err)
	}
	drawn := filepath.Join(t.TempDir(), "supply.svg")
	ionetSays(t, "emissions", "--plot", drawn)
	file, err := os.ReadFile(drawn)
	if err != nil {
		t.Fatal(err)
	}
	// Coordinates may differ in their last digit from machine to machine.
	want, got := readSVG(t, file), readSVG(t, kept)
	if !slices.Equal(got.labels, want.labels) || !maps.Equal(got.fills, want.fills) {
		t.Error("emissions/supply.svg is not what the command draws: run `ionet emissions --plot emissions/supply.svg`")
	}
}

// Small amounts beside large ones keep digits that say something.
func TestShortAmounts(t *testing.T) {
	pl := &plotter{view: &view{decimals: 8, symbol: "MINE"}}
	c := chart{plotter: pl, unit: scaleOf(4e8, pl.symbol)}
	for tokens, want := range map[string]string{
		"376629806": "0.377", "36900000": "0.037", "9990000": "0.0100", "179000": "0.00018", "12000": "12,000 MINE", "0.00000001": "0.00000001 MINE", "0": "0",
	} {
		if got := c.short(amount(t, tokens, 8)); c.unit.name != "billions of MINE" || got != want {
			t.Errorf("%s is %q of %s, want %q", tokens, got, c.unit.name, want)
		}
	}
}

func TestReadable(t *testing.T) {
	for category, want := range map[string]string{"series_a": "Series A", "seed": "Seed", "early-backers": "Early Backers", "_": ""} {
		if got := readable(category); got != want {
			t.Errorf("%q is %q, want %q", category, got, want)
		}
	}
}
