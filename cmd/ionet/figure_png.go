package main

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"

	"golang.org/x/image/font/sfnt"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// writePNG writes a figure as PNG with scale pixels for each of its units.
func (f *figure) writePNG(w io.Writer, scale float64) error {
	fonts, err := newFaces()
	if err != nil {
		return err
	}
	r := raster{
		faces: fonts, scale: scale,
		image: image.NewRGBA(image.Rect(0, 0, int(math.Ceil(f.width*scale)), int(math.Ceil(f.height*scale)))),
	}
	draw.Draw(r.image, r.image.Bounds(), image.White, image.Point{}, draw.Src)
	for _, sh := range f.shapes {
		if err := r.shape(sh); err != nil {
			return err
		}
	}
	return (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(w, r.image)
}

// raster paints shapes on an image.
type raster struct {
	faces
	scale float64
	image *image.RGBA
}

// contour is a closed path in pixels of the image.
type contour []segment

// segment leads from the point before it to its last one: a line, or a curve
// where there are control points. The first segment of a contour is its beginning.
type segment []point

func (r *raster) shape(sh shape) error {
	var contours []contour
	switch {
	case sh.label != nil:
		var err error
		if contours, err = r.text(sh.label); err != nil {
			return err
		}
	case sh.stroke > 0:
		for _, piece := range dashes(sh.points, sh.dash) {
			for _, s := range strips(piece, sh.stroke) {
				contours = append(contours, r.polygon(s))
			}
		}
	default:
		contours = append(contours, r.polygon(sh.points))
	}
	r.paint(contours, sh.color)
	return nil
}

func (r *raster) polygon(points []point) contour {
	var c contour
	for _, p := range points {
		c = append(c, segment{{p.x * r.scale, p.y * r.scale}})
	}
	return c
}

func (r *raster) text(l *label) (contours []contour, err error) {
	glyphs, at, err := r.place(l)
	if err != nil {
		return nil, err
	}
	face := r.of(l)
	for _, g := range glyphs {
		outline, err := face.outline(g.index)
		if err != nil {
			return nil, err
		}
		unit := face.scale(l) * r.scale
		pixel := func(p fixed.Point26_6) point {
			return point{at.x*r.scale + (g.x+units(p.X))*unit, at.y*r.scale + units(p.Y)*unit}
		}
		for _, s := range outline {
			if s.Op == sfnt.SegmentOpMoveTo {
				contours = append(contours, nil)
			}
			last := &contours[len(contours)-1]
			*last = append(*last, pixels(s, pixel))
		}
	}
	return contours, nil
}

func pixels(s sfnt.Segment, pixel func(fixed.Point26_6) point) segment {
	n := map[sfnt.SegmentOp]int{sfnt.SegmentOpQuadTo: 2, sfnt.SegmentOpCubeTo: 3}[s.Op]
	seg := segment{}
	for _, p := range s.Args[:max(n, 1)] {
		seg = append(seg, pixel(p))
	}
	return seg
}

// paint fills contours with a colour. It works on the part of the image that they
// cover: most are small.
func (r *raster) paint(contours []contour, c color.NRGBA) {
	area := bounds(contours).Intersect(r.image.Bounds())
	if area.Empty() {
		return
	}
	z := vector.NewRasterizer(area.Dx(), area.Dy())
	at := func(p point) (x, y float32) {
		return float32(p.x - float64(area.Min.X)), float32(p.y - float64(area.Min.Y))
	}
	for _, contour := range contours {
		for i, s := range contour {
			x, y := at(s[len(s)-1])
			switch {
			case i == 0:
				z.MoveTo(x, y)
			case len(s) == 1:
				z.LineTo(x, y)
			case len(s) == 2:
				bx, by := at(s[0])
				z.QuadTo(bx, by, x, y)
			default:
				bx, by := at(s[0])
				cx, cy := at(s[1])
				z.CubeTo(bx, by, cx, cy, x, y)
			}
		}
		z.ClosePath()
	}
	z.Draw(r.image, area, image.NewUniform(c), image.Point{})
}

func bounds(contours []contour) image.Rectangle {
	low, high := point{math.Inf(1), math.Inf(1)}, point{math.Inf(-1), math.Inf(-1)}
	for _, c := range contours {
		for _, s := range c {
			for _, p := range s {
				low = point{min(low.x, p.x), min(low.y, p.y)}
				high = point{max(high.x, p.x), max(high.y, p.y)}
			}
		}
	}
	if low.x > high.x {
		return image.Rectangle{}
	}
	return image.Rect(int(math.Floor(low.x)), int(math.Floor(low.y)), int(math.Ceil(high.x)), int(math.Ceil(high.y)))
}
