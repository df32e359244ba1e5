// Package wires holds connections to a database and to a chain that fail at one
// counted step, so that a test can stop a process at each of its steps in turn.
//
// A step is what may change something outside, or asks what happened there: a
// commit, a statement that changes a row outside a transaction, a call of the
// chain. Steps are counted from 1 since Arm. A step's name tells what it was:
// "rpc <method>", "sql <statement>", or "commit <statements that it makes durable>".
package wires

import (
	"errors"
	"sync"
)

// ErrCut is the error of everything that a fault stopped.
var ErrCut = errors.New("the wire was cut by the test")

// Outcome says what becomes of the step that a fault meets.
type Outcome int

// Outcomes of a step.
const (
	Lost    Outcome = iota // it never arrives
	Unheard                // it arrives and takes effect, the answer is lost
	Pass                   // it arrives, and its answer too: the fault lies in Before or After
	Refused                // a call of the chain is answered by an error, without effect; of the database as Lost
)

func (o Outcome) String() string { return [...]string{"lost", "unheard", "passed", "refused"}[o] }

// Fault is what happens at one step.
type Fault struct {
	Step    int // it meets the Step-th step from now on; 0: none, steps are only counted
	Outcome Outcome
	Dies    bool              // the process is dead from the fault on: nothing gets through any more
	Before  func(what string) // runs before the step leaves; nil: nothing
	After   func(what string) // runs once the step has taken effect, before its answer is heard; nil: nothing
	Refusal Refusal           // the answer to a call that is Refused
}

// Wires are one process's connections. The zero value lets everything through
// and counts calls of sendTransaction and everything of the database.
type Wires struct {
	mu    sync.Mutex
	armed bool
	fault Fault
	left  int // steps to go until the fault
	fired string
	dead  bool
	steps []string

	counts  func(method string) bool // which calls of the chain are steps; nil: sendTransaction
	drop    bool
	dropped [][]byte
	hook    func(method string)
	mute    string
	twist   func(method, endpoint string, answer []byte) []byte
}

// Arm makes the step fail that f names, counted from now.
func (w *Wires) Arm(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.fault, w.left, w.fired, w.dead, w.steps = true, f, f.Step, "", false, nil
}

// Disarm ends the fault and returns the step that it met, "" where it met none.
func (w *Wires) Disarm() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.dead = false, false
	return w.fired
}

// Fired returns the step that the fault met since Arm, "" where it has met none.
func (w *Wires) Fired() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.fired
}

// Steps returns the names of all steps since Arm, until the fault.
func (w *Wires) Steps() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.steps
}

// IsCut reports whether nothing gets through.
func (w *Wires) IsCut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dead
}

// Cut stops everything from now on, as the end of the process does.
func (w *Wires) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.armed, w.dead = false, true
}

// Count says which calls of the chain are steps; nil: sendTransaction alone.
func (w *Wires) Count(counts func(method string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.counts = counts
}

// Every counts every call of the chain.
func Every(string) bool { return true }

// Drop makes the chain's nodes accept and forget what they are sent. What was
// dropped is kept for Dropped.
func (w *Wires) Drop(drop bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drop = drop
	if drop {
		w.dropped = nil
	}
}

// Dropped returns the transactions that were sent since Drop(true), each once.
func (w *Wires) Dropped() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Hook sets what runs before each call of the chain; nil: nothing.
func (w *Wires) Hook(hook func(method string)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hook = hook
}

// Mute makes calls of one method fail until it is called with "".
func (w *Wires) Mute(method string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mute = method
}

// Twist sets what changes answers of the chain, by method and by the address
// that was asked; nil: nothing.
func (w *Wires) Twist(twist func(method, endpoint string, answer []byte) []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.twist = twist
}

// met is what a step meets: the fault, or nothing.
type met struct {
	outcome Outcome // Pass where nothing happens to it
	after   func()
	refusal Refusal
}

// step counts one step, runs what comes before it, and returns what it meets.
func (w *Wires) step(what string) met {
	w.mu.Lock()
	if w.dead {
		w.mu.Unlock()
		return met{outcome: Lost}
	}
	if !w.armed {
		w.mu.Unlock()
		return met{outcome: Pass}
	}
	w.steps = append(w.steps, what)
	if w.left--; w.left != 0 {
		w.mu.Unlock()
		return met{outcome: Pass}
	}
	f := w.fault
	w.armed, w.fired = false, what
	w.mu.Unlock()
	// Without the lock: it may do anything, also over these wires.
	if f.Before != nil {
		f.Before(what)
	}
	w.mu.Lock()
	w.dead = w.dead || f.Dies
	w.mu.Unlock()
	m := met{outcome: f.Outcome, refusal: f.Refusal}
	if f.After != nil {
		m.after = func() { f.After(what) }
	}
	return m
}
