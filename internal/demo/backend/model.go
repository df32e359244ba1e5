package main

import (
	_ "embed"
	"math/rand/v2"
	"regexp"
	"strings"
)

//go:embed corpus.txt
var corpus string

// tokenForm cuts a text into words and punctuation, each with the space before it, so
// that tokens put together are the text again.
var tokenForm = regexp.MustCompile(`\s*(?:[\pL\pN']+|[^\pL\pN\s])`)

func tokens(text string) []string { return tokenForm.FindAllString(text, -1) }

// A writer is a language model of order two: each token is drawn from those that
// followed the two before it in the corpus.
type writer struct {
	after map[[2]string][]string
	heads [][2]string // pairs that begin a sentence
}

func learn(text string) *writer {
	w := &writer{after: map[[2]string][]string{}}
	all := tokens(text)
	for i, t := range all[2:] {
		pair := [2]string{fold(all[i]), fold(all[i+1])}
		w.after[pair] = append(w.after[pair], t)
		if i == 0 || fold(all[i-1]) == "." {
			w.heads = append(w.heads, [2]string{all[i], all[i+1]})
		}
	}
	return w
}

// fold is how tokens are compared.
func fold(token string) string { return strings.ToLower(strings.TrimSpace(token)) }

// write returns n tokens at most. It begins with a sentence of the corpus whose first
// words the prompt has, where there is one.
func (w *writer) write(prompt string, n int, dice *rand.Rand) (out []string, ended bool) {
	asked := map[string]bool{}
	for _, t := range tokens(prompt) {
		asked[fold(t)] = true
	}
	heads := w.heads
	for _, h := range w.heads {
		if asked[fold(h[1])] && len(fold(h[1])) > 3 {
			heads = [][2]string{h}
			break
		}
	}
	head := heads[dice.IntN(len(heads))]
	out = []string{strings.TrimSpace(head[0]), head[1]}
	for len(out) < n {
		next := w.after[[2]string{fold(out[len(out)-2]), fold(out[len(out)-1])}]
		if len(next) == 0 {
			return out, true
		}
		t := next[dice.IntN(len(next))]
		out = append(out, t)
		// A stop after a few sentences is where a person would stop too.
		if fold(t) == "." && len(out) >= 24 {
			return out, true
		}
	}
	return out[:n], false
}
