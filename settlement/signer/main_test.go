package signer

import (
	"context"
	"os"
	"testing"
)

var (
	background = context.Background()
	scratch    string
)

func tempDir() (string, error) { return os.MkdirTemp(scratch, "keys") }

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "signer"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}
