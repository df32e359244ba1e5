package genesis

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
)

// Prepared is what lies in the folder.
type Prepared struct {
	Dir         string
	Network     *ionet.Network
	NetworkFile []byte
	Policy      *emissions.Policy
	PolicyFile  []byte
	Keys        Keys
}

// Names of files in Config.Dir, beside those of keys.
const (
	NetworkFile = "network.toml"
	PolicyFile  = "policy.toml"
	attemptsDir = "genesis"
)

// files are the folder's files that everybody may read; nil where missing.
type files struct {
	networkFile, policyFile []byte
	network                 *ionet.Network
}

// readFiles reads what is there. No folder is an empty one.
func readFiles(ctx context.Context, dir string) (f files, err error) {
	folder, err := publish.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return files{}, nil
	}
	if err != nil {
		return files{}, err
	}
	read := func(name string) []byte {
		if err != nil {
			return nil
		}
		var data []byte
		if data, err = folder.Get(ctx, name); errors.Is(err, publish.ErrNotFound) {
			err = nil
		}
		return data
	}
	f.networkFile, f.policyFile = read(NetworkFile), read(PolicyFile)
	if f.networkFile != nil && err == nil {
		f.network, err = ionet.ParseNetwork(f.networkFile)
	}
	return f, err
}

// Draft is what Prepare would leave in the folder. Nothing is written; keys
// whose files are missing are drawn, held in memory and thrown away with it.
type Draft struct {
	p        Prepared
	design   design
	missing  map[string]bool // names of files that are not in the folder
	start    beginning
	was      []byte // network file of the folder; nil: none
	wasStart int64  // in it, Unix seconds
}

// NewDraft decides what Prepare has to make. An existing network file decides; a
// configuration that contradicts it is an error that names the key and both
// values.
func NewDraft(ctx context.Context, c Config) (*Draft, error) {
	d, err := draft(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("prepare network: %w", err)
	}
	return d, nil
}

// Network returns the network as the folder has it or would have it. Addresses
// that follow from keys that are drawn are others in the network to come.
func (d *Draft) Network() *ionet.Network { return d.p.Network }

func draft(ctx context.Context, c Config) (*Draft, error) {
	f, err := readFiles(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	plan, err := c.resolve(f)
	if err != nil {
		return nil, err
	}
	d := &Draft{design: plan, missing: map[string]bool{}, p: Prepared{Dir: c.Dir, PolicyFile: plan.Policy}, was: f.networkFile}
	if f.network != nil {
		d.wasStart = f.network.Start
		d.p.Keys, err = readKeys(c.Dir, plan.keyed())
	} else {
		d.p.Keys, err = draftKeys(c.Dir, plan.keyed(), d.missing)
	}
	if err != nil {
		return nil, err
	}
	d.start, err = plan.begin(ctx, f)
	d.design = plan
	if err != nil {
		return nil, err
	}
	d.missing[NetworkFile], d.missing[PolicyFile] = f.network == nil, f.policyFile == nil
	n, err := plan.network(d.p.Keys)
	if err != nil {
		return nil, err
	}
	if err := plan.compare(f, &n); err != nil {
		return nil, err
	}
	if d.p.NetworkFile, err = ionet.EncodeNetwork(n); err != nil {
		return nil, err
	}
	if err := plan.compareFile(f, d.p.NetworkFile); err != nil {
		return nil, err
	}
	if f.network != nil && !d.start.moved {
		d.p.NetworkFile = f.networkFile
	}
	if d.p.Network, err = ionet.ParseNetwork(d.p.NetworkFile); err != nil {
		return nil, err
	}
	d.p.Policy, err = plan.checkPolicy()
	return d, err
}

// maxTurns bounds how often Prepare begins again because another run was
// faster: each time, that one has made a file that is never made again.
const maxTurns = 100

// Prepare makes what is missing in the folder: keys, then policy file, then
// network file. When it returns, all are durable. If it stops before, the next
// run keeps the keys that are there. An existing network file decides; a
// configuration that contradicts it is an error, and nothing is written then.
// Only its start may be moved, as Config.Chain says: the file is then replaced
// as a whole, and with it the network's id.
func Prepare(ctx context.Context, c Config) (*Prepared, error) {
	for range maxTurns {
		d, err := NewDraft(ctx, c)
		if err != nil {
			return nil, err
		}
		err = d.write(ctx)
		if errors.Is(err, fs.ErrExist) || errors.Is(err, publish.ErrConflict) {
			continue // another run was faster: its file counts
		}
		if err != nil {
			return nil, fmt.Errorf("prepare network: %w", err)
		}
		return Load(ctx, c.Dir)
	}
	return nil, fmt.Errorf("prepare network: files appear in %s and are not readable", c.Dir)
}

// write makes the missing files. A file that has appeared since the draft is
// fs.ErrExist or publish.ErrConflict.
func (d *Draft) write(ctx context.Context) error {
	folder, err := publish.NewFolder(d.p.Dir)
	if err != nil {
		return err
	}
	if err := os.Chmod(d.p.Dir, 0o700); err != nil {
		return err
	}
	for _, f := range d.p.Keys.list(d.design.keyed()) {
		if d.missing[f.name] {
			if err := chain.WriteKeypair(filepath.Join(d.p.Dir, f.name), f.key); err != nil {
				return err
			}
		}
	}
	if d.missing[secretFile] {
		if err := chain.WriteSecret(filepath.Join(d.p.Dir, secretFile), d.p.Keys.Secret); err != nil {
			return err
		}
	}
	if err := folder.Put(ctx, PolicyFile, d.p.PolicyFile); err != nil {
		return err
	}
	if d.start.moved {
		return d.move(ctx, folder)
	}
	return folder.Put(ctx, NetworkFile, d.p.NetworkFile)
}

// Load reads a folder that Prepare has finished.
func Load(ctx context.Context, dir string) (*Prepared, error) {
	p, err := load(ctx, dir)
	if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	return p, nil
}

func load(ctx context.Context, dir string) (*Prepared, error) {
	p, err := loadPublic(ctx, dir)
	if err != nil {
		return nil, err
	}
	shares, err := keyedOf(p.Network)
	if err != nil {
		return nil, err
	}
	if p.Keys, err = readKeys(dir, shares); err != nil {
		return nil, err
	}
	return p, p.Keys.check(p.Network, shares)
}
