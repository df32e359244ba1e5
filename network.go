package ionet

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Network is the network file: what every participant must know to take part
// and an auditor to check. Its identity is the hash of its exact bytes. See
// proofs/FORMAT.md, section 2.
type Network struct {
	Version      int          `toml:"version"`
	Name         string       `toml:"name"`
	Cluster      Key          `toml:"cluster"`
	Mint         Key          `toml:"mint"`
	Decimals     int          `toml:"decimals"`
	Start        int64        `toml:"start"`
	EpochSeconds uint32       `toml:"epoch_seconds"`
	Samples      uint16       `toml:"samples"`
	Policy       Hash         `toml:"policy"`
	Schedule     ScheduleInfo `toml:"schedule"`
	Keys         NetworkKeys  `toml:"keys"`
	Vaults       Vaults       `toml:"vaults"`
	Authorities  Authorities  `toml:"authorities"`
	Multisigs    []Multisig   `toml:"multisig,omitempty"`
	Allocation   []Allocation `toml:"allocation"`
	Lanes        []Lane       `toml:"lane"`

	id Hash
}

// ScheduleInfo names the emission schedule; Hash commits to every epoch of it.
type ScheduleInfo struct {
	Genesis       Amount `toml:"genesis"`
	Cap           Amount `toml:"cap"`
	Epochs        uint64 `toml:"epochs"`
	FirstYearRate string `toml:"first_year_rate"`
	StepsPerYear  uint64 `toml:"steps_per_year"`
	Decay         string `toml:"decay"`
	EpochsPerStep uint64 `toml:"epochs_per_step"`
	Hash          Hash   `toml:"hash"`
}

// NetworkKeys are the public keys of the service.
type NetworkKeys struct {
	Operator Key `toml:"operator"` // fee payer; mint authority and owner of the reward vault, unless these are multisigs
	Fees     Key `toml:"fees"`     // owner of the fee vault, unless that is a multisig
	Service  Key `toml:"service"`  // signs acks and checkpoints
	Lane     Key `toml:"lane"`     // base of the lane addresses, signs their opening, nothing else
}

// Vaults are the token accounts that hold debts.
type Vaults struct {
	Reward Key `toml:"reward"`
	Fee    Key `toml:"fee"`
}

// Allocation is one account of the genesis mint.
type Allocation struct {
	Category string `toml:"category"`
	Owner    Key    `toml:"owner"`
	Account  Key    `toml:"account"`
	Amount   Amount `toml:"amount"`
	Unlock   string `toml:"unlock"` // when it may be used; package emissions reads it

	Beneficiaries []Beneficiary `toml:"beneficiary,omitempty"` // who gets it as it unlocks; none: its owner moves it himself
}

// Lane names a lane's address; see proofs/FORMAT.md, section 9.
type Lane struct {
	Name    string `toml:"name"`
	Address Key    `toml:"address"`
}

// maxAccounts is how many accounts an RPC reads at one slot: an auditor must see
// the whole network at one moment.
const maxAccounts = 100

// maxNetworkFile bounds a network file: one of maxAccounts accounts has less than
// half of it, and a stranger's must not cost its reader more than a moment.
const maxNetworkFile = 1 << 16

// Names of networks, allocation categories and lanes. Whoever reads them may print
// them.
var (
	networkName  = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	categoryName = regexp.MustCompile(`^[a-z0-9_]{1,32}$`)
	laneName     = regexp.MustCompile(`^(epoch|seal|(pay|claim)-(0|[1-9][0-9]{0,2}))$`)
)

// ParseNetwork parses and checks a network file. An unknown or missing key is
// an error that names it.
func ParseNetwork(file []byte) (*Network, error) {
	if len(file) > maxNetworkFile {
		return nil, fmt.Errorf("network file: %d bytes are more than %d", len(file), maxNetworkFile)
	}
	var n Network
	dec := toml.NewDecoder(bytes.NewReader(file)).DisallowUnknownFields()
	if err := dec.Decode(&n); err != nil {
		var strict *toml.StrictMissingError
		if errors.As(err, &strict) && len(strict.Errors) > 0 {
			return nil, fmt.Errorf("network file: unknown key %.100q", strings.Join(strict.Errors[0].Key(), "."))
		}
		return nil, fmt.Errorf("network file: %w", err)
	}
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("network file: %w", err)
	}
	if len(n.Multisigs) == 0 {
		n.Multisigs = nil
	}
	n.id = HashOf(file)
	return &n, nil
}

// EncodeNetwork renders n as a network file: ParseNetwork(EncodeNetwork(n)) is n.
func EncodeNetwork(n Network) ([]byte, error) {
	if err := n.check(); err != nil {
		return nil, fmt.Errorf("network file: %w", err)
	}
	file, err := toml.Marshal(n)
	if err != nil {
		return nil, fmt.Errorf("encode network file: %w", err)
	}
	return file, nil
}

// ID is the network id: SHA-256 of the file that n was parsed from.
func (n *Network) ID() Hash { return n.id }

// Clock returns the network's epoch clock.
func (n *Network) Clock() Clock {
	return Clock{Start: n.Start, Length: n.EpochSeconds, Samples: n.Samples}
}

// Lane returns the address of the lane with that name.
func (n *Network) Lane(name string) (Key, bool) {
	for _, l := range n.Lanes {
		if l.Name == name {
			return l.Address, true
		}
	}
	return Key{}, false
}

// LaneName returns the name of the lane at that address.
func (n *Network) LaneName(address Key) (string, bool) {
	for _, l := range n.Lanes {
		if l.Address == address {
			return l.Name, true
		}
	}
	return "", false
}

// LanesOf returns the lanes named "<prefix>-0", "<prefix>-1", ... in that order.
func (n *Network) LanesOf(prefix string) []Lane {
	var lanes []Lane
	for _, l := range n.Lanes {
		if rest, ok := strings.CutPrefix(l.Name, prefix+"-"); ok && rest != "" {
			lanes = append(lanes, l)
		}
	}
	return lanes
}

func (n *Network) check() error {
	if n.Version != 1 {
		return fmt.Errorf("version is %d, not 1", n.Version)
	}
	if !networkName.MatchString(n.Name) {
		return fmt.Errorf("name %q is not 1..32 of a-z 0-9 -", n.Name)
	}
	if n.Decimals < 0 || n.Decimals > MaxDecimals {
		return fmt.Errorf("decimals is %d, not in 0..%d", n.Decimals, MaxDecimals)
	}
	for _, k := range []struct {
		name string
		key  Key
	}{
		{"cluster", n.Cluster}, {"mint", n.Mint},
		{"keys.operator", n.Keys.Operator}, {"keys.fees", n.Keys.Fees}, {"keys.service", n.Keys.Service}, {"keys.lane", n.Keys.Lane},
		{"vaults.reward", n.Vaults.Reward}, {"vaults.fee", n.Vaults.Fee},
		{"authorities.mint", n.Authorities.Mint}, {"authorities.reward", n.Authorities.Reward}, {"authorities.fee", n.Authorities.Fee},
	} {
		if k.key.IsZero() {
			return fmt.Errorf("%s is missing", k.name)
		}
	}
	if n.Policy.IsZero() {
		return errors.New("policy is missing")
	}
	for _, number := range []struct {
		name string
		n    uint64
	}{
		{"epochs", n.Schedule.Epochs}, {"steps_per_year", n.Schedule.StepsPerYear}, {"epochs_per_step", n.Schedule.EpochsPerStep},
	} {
		if number.n == 0 {
			return fmt.Errorf("schedule.%s is missing or 0", number.name)
		}
	}
	if n.Schedule.Hash.IsZero() {
		return errors.New("schedule.hash is missing")
	}
	if err := n.Clock().Check(); err != nil {
		return err
	}
	if accounts := 3 + len(n.Multisigs) + len(n.Allocation) + len(n.Lanes); accounts > maxAccounts {
		return fmt.Errorf("mint, vaults, multisigs, allocation and lanes are %d accounts, more than %d", accounts, maxAccounts)
	}
	return errors.Join(n.checkAuthorities(), n.checkAllocation(), n.checkLanes())
}

func (n *Network) checkAllocation() error {
	var total Amount
	var err error
	for i, a := range n.Allocation {
		if !categoryName.MatchString(a.Category) {
			return fmt.Errorf("allocation %d: category %q is not 1..32 of a-z 0-9 _", i, a.Category)
		}
		if a.Owner.IsZero() || a.Account.IsZero() || a.Unlock == "" {
			return fmt.Errorf("allocation %d lacks owner, account or unlock", i)
		}
		if total, err = total.Add(a.Amount); err != nil {
			return fmt.Errorf("allocation: %w", err)
		}
		if err := n.checkBeneficiaries(a); err != nil {
			return err
		}
	}
	if total != n.Schedule.Genesis {
		return fmt.Errorf("allocation amounts sum to %s, schedule.genesis is %s", total, n.Schedule.Genesis)
	}
	return nil
}

func (n *Network) checkLanes() error {
	seen := map[string]bool{}
	for i, l := range n.Lanes {
		if !laneName.MatchString(l.Name) {
			return fmt.Errorf("lane %d: name %q is none of epoch, seal, pay-N and claim-N", i, l.Name)
		}
		if l.Address.IsZero() || seen[l.Name] || seen[l.Address.String()] {
			return fmt.Errorf("lane %d lacks an address, or repeats a name or address", i)
		}
		seen[l.Name], seen[l.Address.String()] = true, true
	}
	if len(n.Lanes) < 4 || n.Lanes[0].Name != "epoch" || n.Lanes[1].Name != "seal" {
		return errors.New("lane: want epoch and seal first, then those named pay-N and claim-N")
	}
	if len(n.LanesOf("pay")) == 0 || len(n.LanesOf("claim")) == 0 {
		return errors.New("lane: want at least one pay- and one claim- lane")
	}
	return nil
}
