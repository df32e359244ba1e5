package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image/color"
	"io"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/image/font/sfnt"
)

// writeSVG writes a figure as one SVG 1.1 document that needs no font and no
// other file. Each text is a group that carries it as aria-label.
func (f *figure) writeSVG(w io.Writer) error {
	fonts, err := newFaces()
	if err != nil {
		return err
	}
	s := svg{faces: fonts, used: map[string]string{}}
	for _, sh := range f.shapes {
		if err := s.shape(sh); err != nil {
			return err
		}
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="%[1]s" height="%[2]s" viewBox="0 0 %[1]s %[2]s" role="img" aria-labelledby="title desc">`+"\n",
		coord(f.width), coord(f.height))
	fmt.Fprintf(&out, "<title id=\"title\">%s</title>\n<desc id=\"desc\">%s</desc>\n<defs>\n", escape(f.title), escape(f.desc))
	for _, id := range s.ids {
		fmt.Fprintf(&out, "<path id=\"%s\" d=\"%s\"/>\n", id, s.used[id])
	}
	out.WriteString("</defs>\n")
	s.body.WriteTo(&out)
	out.WriteString("</svg>\n")
	_, err = out.WriteTo(w)
	return err
}

// svg gathers the body of a document and the glyphs that it uses.
type svg struct {
	faces
	body bytes.Buffer
	ids  []string          // of glyphs, in the order of their first use
	used map[string]string // their paths
}

func (s *svg) shape(sh shape) error {
	switch {
	case sh.label != nil:
		return s.text(sh)
	case sh.stroke > 0:
		fmt.Fprintf(&s.body, `<path d="%s" fill="none" stroke="%s" stroke-width="%s"`, polyline(sh.points), hexOf(sh.color), coord(sh.stroke))
		if len(sh.dash) > 0 {
			var lengths []string
			for _, l := range sh.dash {
				lengths = append(lengths, coord(l))
			}
			fmt.Fprintf(&s.body, ` stroke-dasharray="%s"`, strings.Join(lengths, " "))
		}
		s.body.WriteString("/>\n")
	default:
		fmt.Fprintf(&s.body, "<path d=\"%sz\" fill=\"%s\"/>\n", polyline(sh.points), hexOf(sh.color))
	}
	return nil
}

func (s *svg) text(sh shape) error {
	glyphs, at, err := s.place(sh.label)
	if err != nil {
		return err
	}
	face := s.of(sh.label)
	fmt.Fprintf(&s.body, `<g role="img" aria-label="%s" fill="%s" transform="translate(%s %s) scale(%s)">`,
		escape(sh.label.text), hexOf(sh.color), coord(at.x), coord(at.y), strconv.FormatFloat(face.scale(sh.label), 'g', 4, 64))
	for _, g := range glyphs {
		id, err := s.glyph(face, g.index, sh.label.bold)
		if err != nil {
			return err
		}
		if s.used[id] != "" { // a space has no outline
			fmt.Fprintf(&s.body, `<use xlink:href="#%s" x="%s"/>`, id, coord(g.x))
		}
	}
	s.body.WriteString("</g>\n")
	return nil
}

// glyph defines a glyph the first time that it is used and returns its id.
func (s *svg) glyph(f *face, i sfnt.GlyphIndex, bold bool) (string, error) {
	id := fmt.Sprintf("r%d", i)
	if bold {
		id = fmt.Sprintf("b%d", i)
	}
	if _, known := s.used[id]; known {
		return id, nil
	}
	outline, err := f.outline(i)
	if err != nil {
		return "", err
	}
	s.used[id] = contours(outline)
	if s.used[id] != "" {
		s.ids = append(s.ids, id)
	}
	return id, nil
}

// contours writes a glyph's outline as path data.
func contours(outline sfnt.Segments) string {
	letters := map[sfnt.SegmentOp]struct {
		letter string
		points int
	}{
		sfnt.SegmentOpMoveTo: {"M", 1}, sfnt.SegmentOpLineTo: {"L", 1}, sfnt.SegmentOpQuadTo: {"Q", 2}, sfnt.SegmentOpCubeTo: {"C", 3},
	}
	var d strings.Builder
	for _, seg := range outline {
		op := letters[seg.Op]
		d.WriteString(op.letter)
		for i, p := range seg.Args[:op.points] {
			if i > 0 {
				d.WriteByte(' ')
			}
			d.WriteString(coord(units(p.X)) + " " + coord(units(p.Y)))
		}
	}
	return d.String()
}

// polyline writes points as path data, leaving out those that repeat.
func polyline(points []point) string {
	var words []string
	for _, p := range points {
		words = append(words, coord(p.x)+" "+coord(p.y))
	}
	return "M" + strings.Join(slices.Compact(words), "L")
}

// coord writes a coordinate with at most two decimals.
func coord(x float64) string {
	s := strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(x, 'f', 2, 64), "0"), ".")
	if s == "-0" {
		return "0"
	}
	return s
}

func hexOf(c color.NRGBA) string { return fmt.Sprintf("#%02x%02x%02x", c.R, c.G, c.B) }

func escape(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder refuses nothing
	return b.String()
}
