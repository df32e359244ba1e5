package worker

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// CheckFolder looks at the folder itself, its lock, and what the service broke its word
// on. It makes nothing that stays.
func (f *Folder) CheckFolder() Findings {
	var list Findings
	f.checkPermissions(&list)
	f.checkLock(&list)
	if broken, err := os.ReadDir(filepath.Join(f.dir, "evidence")); err == nil && len(broken) > 0 {
		list.warn("evidence", "send the files to the network's operator and auditors: they prove it", "the service broke its word %d times: see %s", len(broken), filepath.Join(f.dir, "evidence"))
	}
	return list
}

// CheckKey says what reading the host key led to.
func (f *Folder) CheckKey(err error) Findings {
	var list Findings
	switch {
	case errors.Is(err, fs.ErrNotExist):
		list.fail("key", "run ionet-worker init", "there is no host key in %s", f.dir)
	case err == nil:
		list.ok("key", "%s is private", f.KeyPath())
	case errors.Is(err, fs.ErrPermission):
		list.fail("key", "run doctor as the worker's user, or with sudo; that user must own "+f.KeyPath(), "%v", err)
	case f.openToOthers("key.json"):
		list.fail("key", "chmod 600 "+f.KeyPath()+", and let its owner run the worker", "%v", err)
	default:
		list.fail("key", "put "+f.KeyPath()+" back from a copy; without one move it away and run ionet-worker init: that makes another worker, which the wallet has to delegate", "%v", err)
	}
	return list
}

// openToOthers reports whether a file's mode lets others in.
func (f *Folder) openToOthers(name string) bool {
	info, err := os.Stat(filepath.Join(f.dir, name))
	return err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0
}

// CheckNetwork says what reading the network that the folder joined led to.
func (f *Folder) CheckNetwork(n *ionet.Network, err error) Findings {
	var list Findings
	path := filepath.Join(f.dir, "network.toml")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		list.fail("network", "run ionet-worker init", "this folder has joined no network yet")
	case errors.Is(err, fs.ErrPermission):
		list.fail("network", "run doctor as the worker's user, or with sudo; that user must own "+path, "%v", err)
	case err != nil:
		list.fail("network", "move "+path+" away and run ionet-worker init, which gets it from the service anew; the key and the spool stay", "%s is damaged: %v", path, err)
	default:
		list.ok("network", "%s %s", n.Name, ionet.Key(n.ID()))
	}
	return list
}

// Running reports whether a worker runs in the folder.
func (f *Folder) Running() bool {
	held, err := isLocked(filepath.Join(f.dir, "lock"))
	return held && err == nil
}

func (f *Folder) checkPermissions(list *Findings) {
	info, err := os.Stat(f.dir)
	if err != nil {
		list.fail("folder", "run ionet-worker init", "%v", err)
		return
	}
	temp, err := os.CreateTemp(f.dir, ".doctor-*")
	if err != nil {
		list.fail("folder", "let the user who runs the worker own it", "nothing can be written into %s: %v", f.dir, err)
		return
	}
	if err := errors.Join(temp.Close(), os.Remove(temp.Name())); err != nil {
		list.fail("folder", "let the user who runs the worker own it", "%v", err)
		return
	}
	switch mode := info.Mode().Perm(); {
	case runtime.GOOS != "windows" && mode&0o022 != 0:
		list.fail("folder", "chmod 700 "+f.dir, "others may write into %s (mode %04o)", f.dir, mode)
	case runtime.GOOS != "windows" && mode&0o055 != 0:
		list.warn("folder", "chmod 700 "+f.dir, "others may look into %s (mode %04o)", f.dir, mode)
	default:
		list.ok("folder", "%s is ours alone", f.dir)
	}
}

func (f *Folder) checkLock(list *Findings) {
	held, err := isLocked(filepath.Join(f.dir, "lock"))
	switch {
	case err != nil:
		list.fail("lock", "let the user who runs the worker own the folder", "%v", err)
	case held:
		list.ok("lock", "a worker is running in this folder")
	default:
		list.warn("lock", "start it: ionet-worker run, or systemctl enable --now ionet-worker", "no worker is running in this folder")
	}
}

// endsSoon is how long before a delegation's end a person should know.
const endsSoon = 7 * 24 * time.Hour

// CheckDelegation looks at the delegation that is in the folder. link is where the wallet
// that this host takes delegations of signs one; empty where that is not known.
func (f *Folder) CheckDelegation(network ionet.Hash, worker ionet.Key, link string, now time.Time) Findings {
	var list Findings
	renew := "the provider's wallet signs a new one: ionet-worker init --provider <wallet> prints link and text"
	if link != "" {
		renew = "that wallet signs at " + link
	}
	e, err := f.Delegation()
	if errors.Is(err, fs.ErrNotExist) {
		f.failUndelegated(&list, worker, renew)
		return list
	}
	if err == nil {
		err = CheckDelegation(network, worker, e)
	}
	if err != nil {
		list.fail("delegation", renew, "%v", err)
		return list
	}
	d, err := proofs.ParseDelegation(network, e.Signer, e.Body)
	if err != nil {
		list.fail("delegation", renew, "%v", err)
		return list
	}
	if provider, err := f.Provider(); err != nil {
		list.fail("provider", "name it again: ionet-worker init --provider <wallet>", "%v", err)
	} else if !provider.IsZero() && provider != d.Provider {
		list.fail("provider", renew, "the delegation is by %s, this host works for %s", d.Provider, provider)
	}
	says := fmt.Sprintf("by %s, pays %s", d.Provider, d.Payout)
	from, until := time.Unix(d.Issued, 0).UTC(), time.Unix(d.Expires, 0).UTC()
	switch {
	case now.Before(from):
		list.fail("delegation", "look at this host's clock, and at that of the wallet", "%s: it begins only at %s", says, from.Format(time.RFC3339))
	case !now.Before(until):
		list.fail("delegation", renew, "%s: it ended at %s", says, until.Format(time.RFC3339))
	case !now.Before(until.Add(-endsSoon)):
		list.warn("delegation", renew+"; run --keypair renews it by itself", "%s: it ends soon, at %s", says, until.Format(time.RFC3339))
	default:
		list.ok("delegation", "%s, until %s", says, until.Format(time.RFC3339))
	}
	return list
}

// failUndelegated says who has to sign.
func (f *Folder) failUndelegated(list *Findings, worker ionet.Key, fix string) {
	provider, err := f.Provider()
	switch {
	case err != nil:
		list.fail("delegation", "name the wallet again: ionet-worker init --provider <wallet>", "%v", err)
	case provider.IsZero():
		list.fail("delegation", fix, "no wallet has delegated to worker %s", worker)
	default:
		list.fail("delegation", fix, "wallet %s has not delegated to worker %s yet", provider, worker)
	}
}

// CheckSpool looks at the spool and at the room for it; limit is its bound in bytes.
func (f *Folder) CheckSpool(network ionet.Hash, worker ionet.Key, limit int64) Findings {
	var list Findings
	sp, err := f.SpoolStatus(network, worker)
	if err != nil {
		list.fail("spool", "put the file aside and start again: what was not acked is lost, and nothing is signed twice", "%v", err)
		return list
	}
	says := fmt.Sprintf("%d statements of unsealed epochs, %d not acked, %d readings wait for a beacon, %d of %d KiB", sp.Unsealed, sp.Unacked, sp.Readings, sp.Bytes>>10, limit>>10)
	more := "see why the service does not take or seal them; --spool-mib makes more room"
	switch {
	case sp.Bytes+1<<13 > limit:
		list.fail("spool", more, "it is full, nothing new is signed: %s", says)
	case sp.Bytes > limit/5*4:
		list.warn("spool", more, "it is nearly full: %s", says)
	case sp.Refused > 0:
		list.warn("spool", "the worker's log says why", "%d statements were refused for good; %s", sp.Refused, says)
	default:
		list.ok("spool", "%s", says)
	}
	free, err := freeBytes(f.dir)
	need := limit - sp.Bytes + limit // it is written anew beside the old one
	switch {
	case err != nil:
		list.warn("disk", "see `df`", "%v", err)
	case free < sp.Bytes+1<<20:
		list.fail("disk", "make room on that disk", "%d MiB are free: the spool can't be written", free>>20)
	case free < need:
		list.warn("disk", "make room on that disk, or lower --spool-mib", "%d MiB are free, a full spool may need %d", free>>20, need>>20)
	default:
		list.ok("disk", "%d MiB are free", free>>20)
	}
	return list
}
