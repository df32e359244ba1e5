package genesis

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/publish"
)

// Config says what network to make. Zero values mean the defaults named.
type Config struct {
	Dir          string           // keys, network file, policy file and attempts
	Name         string           // of the network, 1..32 of a-z 0-9 -
	Cluster      ionet.Key        // genesis hash of the cluster
	Start        time.Time        // of epoch 1, a whole second; only the first Prepare uses it
	EpochSeconds uint32           // 3600
	Samples      uint16           // of an epoch; 60
	PayLanes     int              // 4
	ClaimLanes   int              // 4
	Decimals     *int             // 8
	Reading      string           // of the allocation's percentages; emissions.OfCap
	Schedule     emissions.Params // emissions.Hourly(Decimals)
	Policy       []byte           // policy file of epoch 1; emissions.DefaultPolicy()
}

// Keys are all keys of a network. Allocation owners are by category.
type Keys struct {
	Operator   ed25519.PrivateKey
	Fees       ed25519.PrivateKey
	Service    ed25519.PrivateKey
	Lane       ed25519.PrivateKey // signs the opening of lanes, nothing else
	Secret     chain.Secret
	Allocation map[string]ed25519.PrivateKey
}

// Prepared is what lies in the folder.
type Prepared struct {
	Dir         string
	Network     *ionet.Network
	NetworkFile []byte
	Policy      *emissions.Policy
	PolicyFile  []byte
	Keys        Keys
}

// Names of files in Config.Dir.
const (
	NetworkFile = "network.toml"
	PolicyFile  = "policy.toml"
	secretFile  = "lane-secret.json"
	attemptsDir = "genesis"
)

// maxLanes bounds pay and claim lanes each.
const maxLanes = 64

func (c Config) withDefaults() (Config, error) {
	if c.Decimals == nil {
		c.Decimals = new(ionet.MaxDecimals)
	}
	if c.EpochSeconds == 0 {
		c.EpochSeconds = 3600
	}
	if c.Samples == 0 {
		c.Samples = 60
	}
	if c.PayLanes == 0 {
		c.PayLanes = 4
	}
	if c.ClaimLanes == 0 {
		c.ClaimLanes = 4
	}
	if c.Reading == "" {
		c.Reading = emissions.OfCap
	}
	if c.Policy == nil {
		c.Policy = emissions.DefaultPolicy()
	}
	var err error
	if c.Schedule == (emissions.Params{}) {
		c.Schedule, err = emissions.Hourly(*c.Decimals)
	}
	return c, err
}

func (c Config) check() error {
	switch {
	case c.Dir == "":
		return errors.New("folder is missing")
	case c.PayLanes < 1 || c.PayLanes > maxLanes || c.ClaimLanes < 1 || c.ClaimLanes > maxLanes:
		return fmt.Errorf("pay lanes %d or claim lanes %d are not in 1..%d", c.PayLanes, c.ClaimLanes, maxLanes)
	}
	policy, err := emissions.ParsePolicy(c.Policy)
	if err != nil {
		return err
	}
	if policy.FirstEpoch != 1 {
		return fmt.Errorf("policy rules from epoch %d on: genesis needs one with first_epoch = 1", policy.FirstEpoch)
	}
	return policy.CheckSamples(c.Samples)
}

// Prepare makes what is missing in the folder: keys, then policy file, then
// network file. When it returns, all are durable. If it stops before, the next
// run keeps the keys that are there. An existing network file decides; a
// configuration that contradicts it is an error.
func Prepare(ctx context.Context, c Config) (*Prepared, error) {
	p, err := prepare(ctx, c)
	if err != nil {
		return nil, fmt.Errorf("prepare network: %w", err)
	}
	return p, nil
}

func prepare(ctx context.Context, c Config) (*Prepared, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	shares, err := emissions.Allocate(c.Reading, c.Schedule.Genesis, c.Schedule.Cap)
	if err != nil {
		return nil, err
	}
	folder, err := publish.NewFolder(c.Dir)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(c.Dir, 0o700); err != nil {
		return nil, err
	}
	keys, err := openKeys(c.Dir, shares, ensureKey)
	if err != nil {
		return nil, err
	}
	if keys.Secret, err = ensureSecret(filepath.Join(c.Dir, secretFile)); err != nil {
		return nil, err
	}
	if err := folder.Put(ctx, PolicyFile, c.Policy); err != nil {
		return nil, conflictHint(err, "policy")
	}
	if err := c.putNetwork(ctx, folder, keys, shares); err != nil {
		return nil, err
	}
	return load(ctx, c.Dir)
}

func conflictHint(err error, what string) error {
	if errors.Is(err, publish.ErrConflict) {
		return fmt.Errorf("%w: this folder belongs to a network with another %s: give its own, or a new folder", err, what)
	}
	return err
}

// putNetwork writes the network file, or compares the one that is there with
// what c would write, apart from the start.
func (c Config) putNetwork(ctx context.Context, folder *publish.Folder, keys Keys, shares []emissions.Share) error {
	n, err := c.network(keys, shares)
	if err != nil {
		return err
	}
	old, err := folder.Get(ctx, NetworkFile)
	if err == nil {
		was, err := ionet.ParseNetwork(old)
		if err != nil {
			return err
		}
		n.Start = was.Start
	} else if !errors.Is(err, publish.ErrNotFound) {
		return err
	}
	file, err := ionet.EncodeNetwork(n)
	if err != nil {
		return err
	}
	return conflictHint(folder.Put(ctx, NetworkFile, file), "network file")
}

// network derives the whole network file; see proofs/FORMAT.md, section 2.
func (c Config) network(keys Keys, shares []emissions.Share) (ionet.Network, error) {
	schedule, err := emissions.New(c.Schedule)
	if err != nil {
		return ionet.Network{}, err
	}
	operator, fees, lane := chain.PublicOf(keys.Operator), chain.PublicOf(keys.Fees), chain.PublicOf(keys.Lane)
	mint := chain.MintAddress(operator, c.Name)
	n := ionet.Network{
		Version: 1, Name: c.Name, Cluster: c.Cluster, Mint: mint, Decimals: *c.Decimals,
		Start: c.Start.Unix(), EpochSeconds: c.EpochSeconds, Samples: c.Samples, Policy: ionet.HashOf(c.Policy),
		Schedule: c.Schedule.Info(schedule.Hash()),
		Keys:     ionet.NetworkKeys{Operator: operator, Fees: fees, Service: chain.PublicOf(keys.Service), Lane: lane},
		Vaults:   ionet.Vaults{Reward: chain.TokenAccount(operator, mint), Fee: chain.TokenAccount(fees, mint)},
	}
	for _, s := range shares {
		owner := chain.PublicOf(keys.Allocation[s.Category])
		n.Allocation = append(n.Allocation, ionet.Allocation{Category: s.Category, Owner: owner, Account: chain.TokenAccount(owner, mint), Amount: s.Amount, Unlock: s.Unlock.String()})
	}
	for _, name := range laneNames(c.PayLanes, c.ClaimLanes) {
		n.Lanes = append(n.Lanes, ionet.Lane{Name: name, Address: chain.LaneAddress(lane, name)})
	}
	return n, nil
}

func laneNames(pay, claim int) []string {
	names := []string{"epoch", "seal"}
	for i := range pay {
		names = append(names, "pay-"+strconv.Itoa(i))
	}
	for i := range claim {
		names = append(names, "claim-"+strconv.Itoa(i))
	}
	return names
}

// Load reads a folder that Prepare has finished.
func Load(ctx context.Context, dir string) (*Prepared, error) {
	p, err := load(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, publish.ErrNotFound) {
		return nil, fmt.Errorf("load network: %w: run ionetd genesis first", err)
	}
	if err != nil {
		return nil, fmt.Errorf("load network: %w", err)
	}
	return p, nil
}

func load(ctx context.Context, dir string) (*Prepared, error) {
	r, err := publish.Open(dir)
	if err != nil {
		return nil, err
	}
	p := &Prepared{Dir: dir}
	if p.NetworkFile, err = r.Get(ctx, NetworkFile); err != nil {
		return nil, err
	}
	if p.PolicyFile, err = r.Get(ctx, PolicyFile); err != nil {
		return nil, err
	}
	if p.Network, err = ionet.ParseNetwork(p.NetworkFile); err != nil {
		return nil, err
	}
	if p.Policy, err = emissions.ParsePolicy(p.PolicyFile); err != nil {
		return nil, err
	}
	if p.Policy.Hash() != p.Network.Policy {
		return nil, fmt.Errorf("%s has hash %s, the network file wants %s", PolicyFile, p.Policy.Hash(), p.Network.Policy)
	}
	var shares []emissions.Share
	for _, a := range p.Network.Allocation {
		shares = append(shares, emissions.Share{Category: a.Category, Amount: a.Amount})
	}
	if p.Keys, err = openKeys(dir, shares, chain.ReadKeypair); err != nil {
		return nil, err
	}
	if p.Keys.Secret, err = chain.ReadSecret(filepath.Join(dir, secretFile)); err != nil {
		return nil, err
	}
	return p, p.checkKeys()
}

// checkKeys compares the key files with the network file.
func (p *Prepared) checkKeys() error {
	n := p.Network
	type pair struct {
		name string
		key  ed25519.PrivateKey
		want ionet.Key
	}
	pairs := []pair{{"operator", p.Keys.Operator, n.Keys.Operator}, {"fees", p.Keys.Fees, n.Keys.Fees}, {"service", p.Keys.Service, n.Keys.Service}, {"lane", p.Keys.Lane, n.Keys.Lane}}
	for _, a := range n.Allocation {
		pairs = append(pairs, pair{"allocation-" + a.Category, p.Keys.Allocation[a.Category], a.Owner})
	}
	for _, k := range pairs {
		if chain.PublicOf(k.key) != k.want {
			return fmt.Errorf("key file %s.json is that of %s, the network file names %s", k.name, chain.PublicOf(k.key), k.want)
		}
	}
	return nil
}

func openKeys(dir string, shares []emissions.Share, open func(path string) (ed25519.PrivateKey, error)) (k Keys, err error) {
	k.Allocation = map[string]ed25519.PrivateKey{}
	for _, f := range []struct {
		name string
		key  *ed25519.PrivateKey
	}{{"operator", &k.Operator}, {"fees", &k.Fees}, {"service", &k.Service}, {"lane", &k.Lane}} {
		if *f.key, err = open(filepath.Join(dir, f.name+".json")); err != nil {
			return Keys{}, err
		}
	}
	for _, s := range shares {
		if k.Allocation[s.Category], err = open(filepath.Join(dir, "allocation-"+s.Category+".json")); err != nil {
			return Keys{}, err
		}
	}
	return k, nil
}

// ensureKey reads the key at path, after making one where there is none. Two
// runs at once agree: the one that comes second reads the first one's.
func ensureKey(path string) (ed25519.PrivateKey, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		if err := chain.WriteKeypair(path, key); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	return chain.ReadKeypair(path)
}

func ensureSecret(path string) (chain.Secret, error) {
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if err := chain.WriteSecret(path, chain.NewSecret()); err != nil && !errors.Is(err, fs.ErrExist) {
			return chain.Secret{}, err
		}
	}
	return chain.ReadSecret(path)
}
