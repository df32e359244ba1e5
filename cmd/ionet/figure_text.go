package main

import (
	"fmt"

	"golang.org/x/image/font"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
)

// faces are the two fonts of a figure, part of the program.
type faces struct{ regular, bold *face }

// face is a font whose glyphs are taken in its own units.
type face struct {
	font *sfnt.Font
	em   fixed.Int26_6 // units of an em
	buf  sfnt.Buffer
}

func newFaces() (faces, error) {
	regular, err := newFace(goregular.TTF)
	if err != nil {
		return faces{}, err
	}
	bold, err := newFace(gobold.TTF)
	if err != nil {
		return faces{}, err
	}
	return faces{regular: regular, bold: bold}, nil
}

func newFace(ttf []byte) (*face, error) {
	f, err := sfnt.Parse(ttf)
	if err != nil {
		return nil, fmt.Errorf("read font: %w", err)
	}
	return &face{font: f, em: fixed.I(int(f.UnitsPerEm()))}, nil
}

func (f faces) of(l *label) *face {
	if l.bold {
		return f.bold
	}
	return f.regular
}

// glyph is a character's number in its font and where it stands, in font units
// from the beginning of its text.
type glyph struct {
	index sfnt.GlyphIndex
	x     float64
}

// set places a text's glyphs and returns its width, all in font units. A
// character that the font lacks is shown as its empty box.
func (f *face) set(text string) (glyphs []glyph, width float64, err error) {
	var x fixed.Int26_6
	for _, r := range text {
		i, err := f.font.GlyphIndex(&f.buf, r)
		if err != nil {
			return nil, 0, fmt.Errorf("find character %q: %w", r, err)
		}
		advance, err := f.font.GlyphAdvance(&f.buf, i, f.em, font.HintingNone)
		if err != nil {
			return nil, 0, fmt.Errorf("measure character %q: %w", r, err)
		}
		glyphs = append(glyphs, glyph{index: i, x: units(x)})
		x += advance
	}
	return glyphs, units(x), nil
}

// outline returns a glyph's contours in font units, y downwards from its
// baseline; they last until the next call.
func (f *face) outline(i sfnt.GlyphIndex) (sfnt.Segments, error) {
	s, err := f.font.LoadGlyph(&f.buf, i, f.em, nil)
	if err != nil {
		return nil, fmt.Errorf("read glyph %d: %w", i, err)
	}
	return s, nil
}

// scale is the size of a font unit in a text.
func (f *face) scale(l *label) float64 { return l.size / units(f.em) }

// place sets a label's text and returns the point where its baseline begins.
func (f faces) place(l *label) ([]glyph, point, error) {
	face := f.of(l)
	glyphs, width, err := face.set(l.text)
	at := l.at
	at.x -= width * face.scale(l) * float64(l.anchor) / 2
	return glyphs, at, err
}

func units(n fixed.Int26_6) float64 { return float64(n) / 64 }
