package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// A file that can't be written to its end leaves what was there.
func TestReplaceFileIsWhole(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "file")
	write := func(text string, err error) error {
		return replaceFile(name, func(w io.Writer) error {
			if _, err := io.WriteString(w, text); err != nil {
				return err
			}
			return err
		})
	}
	broken := errors.New("broken")
	for _, step := range []struct {
		text string
		err  error
		want string // "" for no file
	}{
		{"half", broken, ""}, {"first", nil, "first"}, {"sec", broken, "first"}, {"second", nil, "second"},
	} {
		if err := write(step.text, step.err); !errors.Is(err, step.err) {
			t.Errorf("write %q: %v", step.text, err)
		}
		got, err := os.ReadFile(name)
		if string(got) != step.want || (err != nil) != (step.want == "") {
			t.Errorf("after %q the file is %q (%v), want %q", step.text, got, err, step.want)
		}
		entries, err := os.ReadDir(dir)
		if err != nil || len(entries) > 1 || len(entries) == 1 && step.want == "" {
			t.Errorf("after %q the folder has %v (%v)", step.text, entries, err)
		}
	}
}
