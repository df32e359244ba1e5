package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"
	"image"
	"image/color"
	"image/png"
	"math"
	"math/rand/v2"
)

// dimensions of an embedding.
const dimensions = 256

// embed counts a text's tokens and pairs of tokens, each in the place and with the sign
// that its hash says, and makes the vector one of length 1.
func embed(text string) []float32 {
	v := make([]float64, dimensions)
	last := ""
	add := func(feature string) {
		h := fnv.New64a()
		h.Write([]byte(feature))
		n := h.Sum64()
		v[n%dimensions] += 1 - 2*float64(n>>63)
	}
	for _, t := range tokens(text) {
		add(fold(t))
		add(last + " " + fold(t))
		last = fold(t)
	}
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	out := make([]float32, dimensions)
	for i, x := range v {
		out[i] = float32(x / math.Max(math.Sqrt(sum), 1e-12))
	}
	return out
}

// inBase64 is the form in which OpenAI's clients ask for vectors.
func inBase64(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// paint draws waves whose directions and colours come from the prompt.
func paint(prompt string, seed uint64, width, height int) ([]byte, error) {
	sum := sha256.Sum256([]byte(prompt))
	dice := rand.New(rand.NewPCG(binary.LittleEndian.Uint64(sum[:]), seed))
	type wave struct{ x, y, phase, tint float64 }
	waves := make([]wave, 6)
	for i := range waves {
		waves[i] = wave{dice.Float64() * 9, dice.Float64() * 9, dice.Float64() * 2 * math.Pi, dice.Float64() * 3}
	}
	img := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			var rgb [3]float64
			for _, w := range waves {
				h := math.Sin(w.x*float64(x)/float64(width) + w.y*float64(y)/float64(height) + w.phase)
				for c := range rgb {
					rgb[c] += h * math.Cos(w.tint+2*math.Pi*float64(c)/3)
				}
			}
			img.Set(x, y, color.RGBA{shade(rgb[0]), shade(rgb[1]), shade(rgb[2]), 255})
		}
	}
	var out bytes.Buffer
	err := png.Encode(&out, img)
	return out.Bytes(), err
}

func shade(v float64) uint8 { return uint8(127.5 + 127.5*math.Tanh(v/2)) }
