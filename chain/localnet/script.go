package localnet

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Step is a command and its time: when a slot opens, counted from genesis or from when
// the script was started, or after some milliseconds. Exactly one is given.
type Step struct {
	AtSlot     uint64  `json:"at_slot,omitempty"`
	AfterSlots uint64  `json:"after_slots,omitempty"`
	AfterMS    int     `json:"after_ms,omitempty"`
	Command    Command `json:"command"`
}

func checkSteps(steps []Step) error {
	for i, s := range steps {
		given := 0
		for _, there := range []bool{s.AtSlot > 0, s.AfterSlots > 0, s.AfterMS > 0} {
			if there {
				given++
			}
		}
		switch {
		case given != 1 || s.AfterMS < 0:
			return fmt.Errorf("step %d of the script: expected one of at_slot, after_slots and after_ms, above 0", i)
		case s.Command.Do == "advance" || s.Command.Do == "script":
			return fmt.Errorf("step %d of the script: %s is no command for a script", i, s.Command.Do)
		}
		if err := s.Command.check(); err != nil {
			return fmt.Errorf("step %d of the script: %w", i, err)
		}
	}
	return nil
}

// RunScript adds steps to the node's script. Those for slots run inside Advance, in
// order, before it returns; those whose slot has passed run with the next slot. A step
// that fails is logged and listed by GET /admin; the others go on.
func (n *Node) RunScript(steps []Step) error {
	if err := checkSteps(steps); err != nil {
		return err
	}
	slot := n.Slot()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.ended.Err() != nil {
		return errors.New("run a script: the node is closed")
	}
	for _, s := range steps {
		if s.AfterMS > 0 {
			n.running.Go(func() { n.after(time.Duration(s.AfterMS)*time.Millisecond, s.Command) })
			continue
		}
		if s.AfterSlots > 0 {
			s.AtSlot, s.AfterSlots = slot+s.AfterSlots, 0
		}
		n.steps = append(n.steps, s)
	}
	slices.SortStableFunc(n.steps, func(a, b Step) int { return cmp.Compare(a.AtSlot, b.AtSlot) })
	return nil
}

func (n *Node) after(d time.Duration, c Command) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		n.try(c)
	case <-n.ended.Done():
	}
}

// try carries out a step's command, where nobody waits for its error.
func (n *Node) try(c Command) {
	if _, err := n.Apply(c); err != nil {
		n.log.Warn("run a step of the script", "do", c.Do, "err", err)
		n.mu.Lock()
		defer n.mu.Unlock()
		n.failures = append(n.failures[max(0, len(n.failures)-keptFailures+1):], err.Error())
	}
}

// keptFailures is how many of the newest failed steps GET /admin lists.
const keptFailures = 50

// runScript runs the steps whose slot is open now, then what chance adds.
func (n *Node) runScript(slot uint64) {
	n.mu.Lock()
	due := 0
	for due < len(n.steps) && n.steps[due].AtSlot <= slot {
		due++
	}
	steps := n.steps[:due:due]
	n.steps = n.steps[due:]
	chance := n.chaos
	n.mu.Unlock()
	for _, s := range steps {
		n.try(s.Command)
	}
	if chance != nil {
		chance.strike(n, slot)
	}
}
