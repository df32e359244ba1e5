package genesis

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/emissions"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// Config says what network to make. A zero value means what the folder's
// network file says, and where there is none yet the default named here.
type Config struct {
	Dir           string                         // keys, network file, policy file and attempts
	Name          string                         // 1..32 of a-z 0-9 -; "ionet"
	Cluster       ionet.Key                      // genesis hash of the cluster; required
	Start         time.Time                      // of epoch 1, a whole second
	StartIn       time.Duration                  // of epoch 1, from now, where Start is zero; DefaultStartIn
	EpochSeconds  uint32                         // 3600
	Samples       uint16                         // of an epoch; 60
	PayLanes      int                            // 4
	ClaimLanes    int                            // 4
	Decimals      *int                           // 8
	Profile       string                         // of the schedule, emissions.ProfileHourly or ProfileMonthly; hourly
	Schedule      emissions.Params               // a schedule of one's own, beside which Profile is empty
	Reading       string                         // of the allocation's percentages; emissions.OfCap
	Unlocks       map[string]emissions.Unlock    // by category; those left out as emissions.Allocate has them
	Mint          Authority                      // who mints; the operator
	Reward        Authority                      // who owns the reward vault; the operator
	Fee           Authority                      // who owns the fee vault; the key of the fees
	Owners        map[string]Authority           // who owns an allocation, by category; a key of its own in Dir
	Beneficiaries map[string][]ionet.Beneficiary // by category: who gets it as it unlocks; nobody
	Policy        []byte                         // policy file of epoch 1; emissions.DefaultPolicy()
	ScheduleName  string                         // what errors call Schedule; "schedule"
	PolicyName    string                         // what errors call Policy; "--policy"
	Now           func() time.Time               // time.Now

	// With a chain, a start that is past is refused, and that of a network file
	// that nothing refers to yet is moved: to Start or StartIn, or to
	// DefaultStartIn where it is past. Without one a network file keeps its own.
	Chain *rpc.Client
	Store publish.Reader // the published store, nil where there is none yet; goes with Chain
}

// shippedPolicy is what errors call the default policy.
const shippedPolicy = "the policy that ships with this program (ionetd policy default prints it; --policy takes one of your own)"

// MaxLanes bounds pay and claim lanes each.
const MaxLanes = 64

// design is a configuration with nothing left open.
type design struct {
	Config
	shares []emissions.Share
}

// resolve fills what c leaves open, from the folder's files first.
func (c Config) resolve(f files) (design, error) {
	if c.Dir == "" {
		return design{}, errors.New("folder is missing")
	}
	if c.Cluster.IsZero() {
		return design{}, errors.New("cluster is missing")
	}
	if f.network != nil {
		c.follow(f.network)
	}
	c.withDefaults(f)
	if err := c.resolveSchedule(); err != nil {
		return design{}, err
	}
	d := design{Config: c}
	var err error
	if d.shares, err = c.allocate(f.network); err != nil {
		return design{}, err
	}
	if err := c.checkBeneficiaries(d.shares); err != nil {
		return design{}, err
	}
	if err := c.checkOwners(d.shares); err != nil {
		return design{}, err
	}
	if err := c.checkNamed(); err != nil {
		return design{}, err
	}
	return d, d.checkLanes()
}

// checkNamed checks, by the names of their flags, what the network file would refuse.
func (c *Config) checkNamed() error {
	if n := len(c.Name); n < 1 || n > 32 || strings.Trim(c.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return fmt.Errorf("--name %q is not 1..32 of a-z 0-9 -", c.Name)
	}
	if c.EpochSeconds%uint32(c.Samples) != 0 {
		return fmt.Errorf("--epoch-seconds %d is not a multiple of --samples %d", c.EpochSeconds, c.Samples)
	}
	return nil
}

// follow takes from the network file what c leaves open.
func (c *Config) follow(n *ionet.Network) {
	if c.Name == "" {
		c.Name = n.Name
	}
	if c.EpochSeconds == 0 {
		c.EpochSeconds = n.EpochSeconds
	}
	if c.Samples == 0 {
		c.Samples = n.Samples
	}
	if c.PayLanes == 0 {
		c.PayLanes = len(n.LanesOf("pay"))
	}
	if c.ClaimLanes == 0 {
		c.ClaimLanes = len(n.LanesOf("claim"))
	}
	if c.Decimals == nil {
		c.Decimals = &n.Decimals
	}
	if c.Profile == "" && c.Schedule == (emissions.Params{}) {
		c.Schedule = emissions.ParamsOf(n.Schedule)
	}
	c.followBeneficiaries(n)
	for _, a := range []struct {
		say *Authority
		was ionet.Key
	}{{&c.Mint, n.Authorities.Mint}, {&c.Reward, n.Authorities.Reward}, {&c.Fee, n.Authorities.Fee}} {
		if s, ok := n.Multisig(a.was); ok && a.say.isZero() {
			*a.say = Authority{M: s.M, Members: s.Members}
		}
	}
	c.followOwners(n)
}

func (c *Config) withDefaults(f files) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Name == "" {
		c.Name = "ionet"
	}
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
	if c.ScheduleName == "" {
		c.ScheduleName = "schedule"
	}
	switch {
	case c.Policy != nil && c.PolicyName == "":
		c.PolicyName = "--policy"
	case c.Policy != nil:
	case f.policyFile != nil:
		c.Policy, c.PolicyName = f.policyFile, filepath.Join(c.Dir, PolicyFile)
	default:
		c.Policy, c.PolicyName = emissions.DefaultPolicy(), shippedPolicy
	}
}

func (c *Config) resolveSchedule() (err error) {
	switch own := c.Schedule != (emissions.Params{}); {
	case own && c.Profile != "":
		return fmt.Errorf("schedule is both profile %s and one of its own: give one of them", c.Profile)
	case own:
		return nil
	case c.Profile == "":
		c.Profile = emissions.ProfileHourly
	}
	c.Schedule, err = emissions.Profile(c.Profile, *c.Decimals)
	return err
}

// allocate divides the genesis supply, as the network file did where c does not
// say another reading.
func (c Config) allocate(was *ionet.Network) ([]emissions.Share, error) {
	var shares []emissions.Share
	var err error
	if was != nil && c.Reading == "" {
		shares, err = sharesOf(was)
	} else {
		reading := c.Reading
		if reading == "" {
			reading = emissions.OfCap
		}
		if shares, err = emissions.Allocate(reading, c.Schedule.Genesis, c.Schedule.Cap); err != nil {
			err = fmt.Errorf("--allocation: %w", err)
		}
	}
	if err != nil {
		return nil, err
	}
	if was != nil && c.Reading != "" {
		if err := keepUnlocks(shares, was); err != nil {
			return nil, err
		}
	}
	for _, category := range slices.Sorted(maps.Keys(c.Unlocks)) {
		i := slices.IndexFunc(shares, func(s emissions.Share) bool { return s.Category == category })
		if i < 0 {
			return nil, fmt.Errorf("--unlock %s=%s: category is none of %s", category, c.Unlocks[category], strings.Join(categories(shares), ", "))
		}
		shares[i].Unlock = c.Unlocks[category]
	}
	return shares, nil
}

// sharesOf reads the allocation of a network file.
func sharesOf(n *ionet.Network) ([]emissions.Share, error) {
	shares := make([]emissions.Share, len(n.Allocation))
	for i, a := range n.Allocation {
		unlock, err := emissions.ParseUnlock(a.Unlock)
		if err != nil {
			return nil, fmt.Errorf("network file: allocation of %s: %w", a.Category, err)
		}
		shares[i] = emissions.Share{Category: a.Category, Amount: a.Amount, Unlock: unlock}
	}
	return shares, nil
}

// keepUnlocks gives shares the unlocks that the network file has.
func keepUnlocks(shares []emissions.Share, n *ionet.Network) error {
	old, err := sharesOf(n)
	if err != nil {
		return err
	}
	for i, s := range shares {
		for _, o := range old {
			if o.Category == s.Category {
				shares[i].Unlock = o.Unlock
			}
		}
	}
	return nil
}

func categories(shares []emissions.Share) []string {
	names := make([]string, len(shares))
	for i, s := range shares {
		names[i] = s.Category
	}
	return names
}

// ParseUnlocks reads texts such as "seed=tranches:13..36" for Config.Unlocks.
func ParseUnlocks(texts []string) (map[string]emissions.Unlock, error) {
	unlocks := map[string]emissions.Unlock{}
	for _, text := range texts {
		category, rule, ok := strings.Cut(text, "=")
		if !ok || category == "" {
			return nil, fmt.Errorf("%q is not category=unlock, such as seed=tranches:13..36", text)
		}
		if _, ok := unlocks[category]; ok {
			return nil, fmt.Errorf("category %s is named twice", category)
		}
		unlock, err := emissions.ParseUnlock(rule)
		if err != nil {
			return nil, fmt.Errorf("category %s: %w", category, err)
		}
		unlocks[category] = unlock
	}
	return unlocks, nil
}

func (d design) checkLanes() error {
	for _, lanes := range []struct {
		name string
		n    int
	}{{"pay", d.PayLanes}, {"claim", d.ClaimLanes}} {
		if lanes.n < 1 || lanes.n > MaxLanes {
			return fmt.Errorf("%s lanes: %d is not in 1..%d", lanes.name, lanes.n, MaxLanes)
		}
	}
	return nil
}

// maxPolicyVersion bounds a first policy's version: those that follow it are greater,
// and versions never go back.
const maxPolicyVersion = 1_000_000

// checkPolicy parses the policy, which must suit the network and rule from
// epoch 1 on.
func (d design) checkPolicy() (*emissions.Policy, error) {
	policy, err := emissions.ParsePolicy(d.Policy)
	if err == nil && policy.FirstEpoch != 1 {
		err = fmt.Errorf("first_epoch: %d is not 1, where the policy of a genesis begins", policy.FirstEpoch)
	}
	if err == nil && policy.Version > maxPolicyVersion {
		err = fmt.Errorf("version: %d is more than %d, the greatest that the policy of a genesis may have", policy.Version, maxPolicyVersion)
	}
	if err == nil && policy.Target != nil {
		if err = proofs.CheckKey(policy.Target.Key); err != nil {
			err = fmt.Errorf("target.key: no price by it would be accepted: %w", err)
		}
	}
	if err == nil {
		err = policy.CheckSamples(d.Samples)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.PolicyName, err)
	}
	return policy, nil
}

// network derives the whole network file; see proofs/FORMAT.md, section 2.
func (d design) network(keys Keys) (ionet.Network, error) {
	schedule, err := emissions.New(d.Schedule)
	if err != nil {
		return ionet.Network{}, fmt.Errorf("%s: %w", d.ScheduleName, err)
	}
	operator, fees, lane := chain.PublicOf(keys.Operator), chain.PublicOf(keys.Fees), chain.PublicOf(keys.Lane)
	mint := chain.MintAddress(operator, chain.LaneAddress(lane, "epoch"))
	n := ionet.Network{
		Version: 1, Name: d.Name, Cluster: d.Cluster, Mint: mint, Decimals: *d.Decimals,
		Start: d.Start.Unix(), EpochSeconds: d.EpochSeconds, Samples: d.Samples, Policy: ionet.HashOf(d.Policy),
		Schedule: d.Schedule.Info(schedule.Hash()),
		Keys:     ionet.NetworkKeys{Operator: operator, Fees: fees, Service: chain.PublicOf(keys.Service), Lane: lane},
	}
	authorities := d.authorities(operator, fees)
	n.Authorities, n.Multisigs = authorities.Authorities, authorities.multisigs
	n.Vaults = ionet.Vaults{Reward: chain.TokenAccount(n.Authorities.Reward, mint), Fee: chain.TokenAccount(n.Authorities.Fee, mint)}
	for _, s := range d.shares {
		owner, ok := authorities.owners[s.Category]
		if !ok {
			owner = chain.PublicOf(keys.Allocation[s.Category])
		}
		n.Allocation = append(n.Allocation, ionet.Allocation{
			Category: s.Category, Owner: owner, Account: chain.TokenAccount(owner, mint), Amount: s.Amount, Unlock: s.Unlock.String(),
			Beneficiaries: d.Beneficiaries[s.Category],
		})
	}
	for _, name := range laneNames(d.PayLanes, d.ClaimLanes) {
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
