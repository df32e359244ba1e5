package localnet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/gagliardetto/solana-go"
)

// Command is one thing that a script or an administrator does to the chain. Each Do has
// its fields, see README.md; the others must be missing.
type Command struct {
	Do string `json:"do"`
	// Front is the number of a front, 0 the node's own; -1 is all of them.
	Front    int              `json:"front,omitempty"`
	Slots    int              `json:"slots,omitempty"`
	MS       int              `json:"ms,omitempty"`
	Unix     int64            `json:"unix,omitempty"`
	Key      solana.PublicKey `json:"key,omitzero"`
	Lamports uint64           `json:"lamports,omitempty"`
	Account  *Account         `json:"account,omitempty"`
	Fork     *Fork            `json:"fork,omitempty"`
	View     *View            `json:"view,omitempty"`
	Fault    *Fault           `json:"fault,omitempty"`
	Notices  *Notices         `json:"notices,omitempty"`
	ID       int              `json:"id,omitempty"`
	Name     string           `json:"name,omitempty"`
	Chaos    *Chaos           `json:"chaos,omitempty"`
	Script   []Step           `json:"script,omitempty"`
}

// field is a bit for each field of a Command beside Do.
type field uint

const (
	hasFront field = 1 << iota
	hasSlots
	hasMS
	hasUnix
	hasKey
	hasLamports
	hasAccount
	hasFork
	hasView
	hasFault
	hasNotices
	hasID
	hasName
	hasChaos
	hasScript
)

// fieldNames are the fields' names in JSON, in the order of their bits.
var fieldNames = [...]string{"front", "slots", "ms", "unix", "key", "lamports", "account", "fork", "view", "fault", "notices", "id", "name", "chaos", "script"}

// String names the fields of a set.
func (f field) String() string {
	var names []string
	for i, name := range fieldNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

func (c *Command) fields() (set field) {
	for bit, given := range map[field]bool{
		hasFront: c.Front != 0, hasSlots: c.Slots != 0, hasMS: c.MS != 0, hasUnix: c.Unix != 0, hasKey: !c.Key.IsZero(),
		hasLamports: c.Lamports != 0, hasAccount: c.Account != nil, hasFork: c.Fork != nil, hasView: c.View != nil, hasFault: c.Fault != nil,
		hasNotices: c.Notices != nil, hasID: c.ID != 0, hasName: c.Name != "", hasChaos: c.Chaos != nil, hasScript: len(c.Script) > 0,
	} {
		if given {
			set |= bit
		}
	}
	return set
}

// command is how one Do is carried out: what it needs, what it may have, and the act.
type command struct {
	needs, may field
	run        func(*Node, Command) (any, error)
}

// commands is every Do. It is a function because commands run scripts of commands.
func commands() map[string]command {
	return map[string]command{
		"advance": {hasSlots, 0, func(n *Node, c Command) (any, error) { return nil, n.Advance(c.Slots) }},
		"pause":   {0, 0, func(n *Node, _ Command) (any, error) { return nil, n.SetSlotTime(-1) }},
		"resume":  {0, 0, func(n *Node, _ Command) (any, error) { return nil, n.Resume() }},
		"rate": {hasMS, 0, func(n *Node, c Command) (any, error) {
			return nil, n.SetSlotTime(time.Duration(c.MS) * time.Millisecond)
		}},
		"time":     {hasUnix, 0, func(n *Node, c Command) (any, error) { n.SetTime(time.Unix(c.Unix, 0)); return nil, nil }},
		"fork":     {hasFork, 0, func(n *Node, c Command) (any, error) { return nil, n.ForkWith(*c.Fork) }},
		"release":  {0, 0, func(n *Node, _ Command) (any, error) { return nil, n.Release() }},
		"account":  {hasKey | hasAccount, 0, func(n *Node, c Command) (any, error) { return nil, n.SetAccount(c.Key, *c.Account) }},
		"lamports": {hasKey, hasLamports, setLamports},
		"airdrop":  {hasKey | hasLamports, 0, func(n *Node, c Command) (any, error) { return n.Airdrop(c.Key, c.Lamports) }},
		"front":    {0, 0, openFront},
		"view":     {hasView, hasFront, atFronts(func(f *Front, c Command) (any, error) { return nil, f.SetView(*c.View) })},
		"fault":    {hasFault, hasFront, atFronts(func(f *Front, c Command) (any, error) { return f.Inject(*c.Fault) })},
		"remove":   {hasID, hasFront, atFronts(func(f *Front, c Command) (any, error) { f.Remove(c.ID); return nil, nil })},
		"notices":  {hasNotices, hasFront, atFronts(func(f *Front, c Command) (any, error) { return nil, f.SetNotices(*c.Notices) })},
		"down":     {0, hasFront, atFronts(func(f *Front, _ Command) (any, error) { return nil, f.Down() })},
		"up":       {0, hasFront, atFronts(func(f *Front, _ Command) (any, error) { return nil, f.Up() })},
		"heal":     {0, hasFront, atFronts(func(f *Front, _ Command) (any, error) { return nil, f.Heal() })},
		"chaos":    {hasChaos, 0, func(n *Node, c Command) (any, error) { return nil, n.SetChaos(*c.Chaos) }},
		"calm":     {0, 0, func(n *Node, _ Command) (any, error) { return nil, n.Calm() }},
		"script":   {hasScript, 0, func(n *Node, c Command) (any, error) { return nil, n.RunScript(c.Script) }},
		"snapshot": {hasName, 0, takeSnapshot},
		"restore":  {hasName, 0, putBack},
	}
}

// check refuses a command that is unknown, lacks a field, or has one too many.
func (c *Command) check() error {
	known, ok := commands()[c.Do]
	if !ok {
		return fmt.Errorf("unknown command %q, expected one of %s", c.Do, strings.Join(slices.Sorted(maps.Keys(commands())), ", "))
	}
	given := c.fields()
	if missing := known.needs &^ given; missing != 0 {
		return fmt.Errorf("command %s: a field is missing: %s", c.Do, missing)
	}
	if foreign := given &^ (known.needs | known.may); foreign != 0 {
		return fmt.Errorf("command %s: one is there that it does not take: %s", c.Do, foreign)
	}
	switch {
	case c.Slots < 0 || c.Slots > maxAdvance:
		return fmt.Errorf("command %s: %d slots, expected 1 to %d", c.Do, c.Slots, maxAdvance)
	case c.MS < 0 || c.MS > int(time.Hour/time.Millisecond):
		return fmt.Errorf("command %s: %d ms, expected 1 to an hour", c.Do, c.MS)
	case c.Fork != nil:
		return c.Fork.check()
	case c.Fault != nil:
		return c.Fault.check()
	case c.Notices != nil:
		return c.Notices.check()
	case c.Chaos != nil:
		return c.Chaos.check()
	case len(c.Script) > 0:
		return checkSteps(c.Script)
	}
	return nil
}

// maxAdvance bounds one command's slots: a few seconds of work.
const maxAdvance = 100_000

// Apply carries out a command. What it returns is the command's answer in JSON, often
// nil: a fault's number, a new front's addresses, an airdrop's signature.
func (n *Node) Apply(c Command) (any, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	result, err := commands()[c.Do].run(n, c)
	if err != nil {
		return nil, fmt.Errorf("command %s: %w", c.Do, err)
	}
	return result, nil
}

// atFronts carries a command out at the front it names, or at all.
func atFronts(do func(*Front, Command) (any, error)) func(*Node, Command) (any, error) {
	return func(n *Node, c Command) (result any, err error) {
		fronts := n.Fronts()
		if c.Front != -1 {
			fronts = slices.DeleteFunc(fronts, func(f *Front) bool { return f.index != c.Front })
		}
		if len(fronts) == 0 {
			return nil, fmt.Errorf("there is no front %d", c.Front)
		}
		for _, f := range fronts {
			if result, err = do(f, c); err != nil {
				return nil, err
			}
		}
		return result, nil
	}
}

// setLamports changes an account's lamports and nothing else: a fee payer falls short.
func setLamports(n *Node, c Command) (any, error) {
	a := Account{}
	if now := n.Account(c.Key); now != nil {
		a = *now
	}
	a.Lamports = c.Lamports
	return nil, n.SetAccount(c.Key, a)
}

func openFront(n *Node, _ Command) (any, error) {
	f, err := n.Front(FrontConfig{})
	if err != nil {
		return nil, err
	}
	return map[string]any{"front": f.index, "rpc": f.URL(), "websocket": f.WSURL()}, nil
}

func takeSnapshot(n *Node, c Command) (any, error) {
	s := n.Snapshot()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.snapshots[c.Name] = s
	return nil, nil
}

func putBack(n *Node, c Command) (any, error) {
	n.mu.Lock()
	s := n.snapshots[c.Name]
	n.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("there is no snapshot %q", c.Name)
	}
	return nil, n.Restore(s)
}

// ParseCommand reads one command in JSON. Unknown fields and anything behind it are
// refused.
func ParseCommand(b []byte) (c Command, err error) {
	if err := strictly(b, &c); err != nil {
		return c, fmt.Errorf("read command: %w", err)
	}
	return c, c.check()
}

// ParseScript reads a JSON list of steps, as strictly.
func ParseScript(b []byte) (steps []Step, err error) {
	if err := strictly(b, &steps); err != nil {
		return nil, fmt.Errorf("read script: %w", err)
	}
	return steps, checkSteps(steps)
}

func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows its end")
	}
	return nil
}
