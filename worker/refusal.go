package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// Refusal returns why the service refused something of this host last, and when; "" for
// nothing, or once the service has taken the inventory after it.
func (f *Folder) Refusal() (text string, at time.Time, err error) {
	b, err := os.ReadFile(filepath.Join(f.dir, "refusal"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", time.Time{}, nil
	}
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read the last refusal: %w", err)
	}
	first, rest, _ := strings.Cut(string(b), "\n")
	if at, err = time.Parse(time.RFC3339, first); err != nil {
		return "", time.Time{}, nil // no more than a hint was lost
	}
	return strings.TrimSuffix(rest, "\n"), at, nil
}

func (f *Folder) setRefusal(text string, at time.Time) error {
	return f.write("refusal", []byte(at.UTC().Format(time.RFC3339)+"\n"+text+"\n"))
}

func (f *Folder) dropRefusal() error {
	err := os.Remove(filepath.Join(f.dir, "refusal"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// keepRefusal keeps a refusal for status. Of statements that are refused alike the first is
// kept: after an outage there may be thousands. What status can't show stops no worker.
func (w *Worker) keepRefusal(it *item, p *client.Problem) {
	text := fmt.Sprintf("%s refused: %s", it.e.Kind, p)
	alike := it.e.Kind == proofs.KindUptime && strings.HasPrefix(w.refusal, it.e.Kind.String()) && strings.HasSuffix(w.refusal, "("+p.Kind()+")")
	if text == w.refusal || alike {
		return
	}
	w.refusal = text
	if err := w.cfg.Folder.setRefusal(text, w.host.now()); err != nil {
		w.cfg.Logger.Warn("keep the last refusal", "error", err)
	}
}

// dropRefusal is called when the service took the inventory in force.
func (w *Worker) dropRefusal() {
	if w.refusal == "" {
		return
	}
	w.refusal = ""
	if err := w.cfg.Folder.dropRefusal(); err != nil {
		w.cfg.Logger.Warn("drop the last refusal", "error", err)
	}
}

// aboutDelegation reports whether a refusal is one that a new delegation may mend: of the
// newest one itself, or of what names it. A statement that names an older one says nothing
// of the newest, which is in force with the next epoch.
func (w *Worker) aboutDelegation(it *item, kind string) bool {
	newest := w.cfg.Delegation.ID()
	if it.id == newest {
		return true
	}
	switch kind {
	case client.DelegationRevoked, client.DelegationExpired, client.ForeignDelegation, client.UnknownDelegation:
		return it.names[0] == newest
	}
	return false
}
