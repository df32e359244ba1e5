package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// offer is what the first host sells, in base units of a token with 8 decimals, and the
// back end that computes it.
const offer = `endpoint = "http://%[1]s"
capacity = 4

[[models]]
name = "demo-writer"
unit = "token"
price = "2000000"
per = 1000
max_units = 512
backend = %[2]q

[[models]]
name = "demo-words"
unit = "token"
price = "500000"
per = 1000
max_units = 512
backend = %[2]q

[[models]]
name = "demo-painter"
unit = "image"
price = "500000"
per = 1
max_units = 4
backend = %[2]q
`

// startServing starts a back end and returns the flags by which a host sells what it
// computes.
func (s *stage) startServing(ctx context.Context) ([]string, error) {
	var err error
	if s.backend, err = s.start("backend", "backend"); err != nil {
		return nil, err
	}
	backend, err := s.backend.line(ctx, "listening ")
	if err != nil {
		return nil, err
	}
	at, err := freeAddress()
	if err != nil {
		return nil, err
	}
	file := filepath.Join(s.dir, "offer.toml")
	if err := os.WriteFile(file, fmt.Appendf(nil, offer, at, backend), 0o600); err != nil {
		return nil, fmt.Errorf("write the offer: %w", err)
	}
	return []string{"--serve", at, "--offer", file}, nil
}
