package localnet

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Fault is one rule of a front: which HTTP requests it strikes, what becomes of their
// calls, and what the client gets. The first rule that strikes a request is the only one.
type Fault struct {
	// ID is set by Inject.
	ID int `json:"id,omitempty"`

	// Methods are the calls that it strikes, all when empty. A batch is struck when
	// one of its calls is.
	Methods []string `json:"methods,omitempty"`
	// Skip is how many calls that it would strike pass first.
	Skip int `json:"skip,omitempty"`
	// Count is how many it strikes, without end when 0.
	Count int `json:"count,omitempty"`
	// Percent is how many of a hundred it strikes, by chance from the chain's seed;
	// all when 0.
	Percent int `json:"percent,omitempty"`
	// Slots is for how many slots it is in force, without end when 0.
	Slots uint64 `json:"slots,omitempty"`

	// Do is what becomes of the calls.
	Do Deed `json:"do,omitempty"`
	// After is for how many slots Held transactions are held.
	After uint64 `json:"after,omitempty"`
	// Error is how FailsLanded and held transactions fail.
	Error TxError `json:"error,omitzero"`

	// Answer is what the client gets.
	Answer Answer `json:"answer,omitempty"`
	// DelayMS is how many milliseconds the client waits for it.
	DelayMS int `json:"delay_ms,omitempty"`
	// Status is the HTTP status of Status (500 when 0) and HTML (502 when 0).
	Status int `json:"status,omitempty"`
	// RetryAfter is the header's seconds of TooMany; no header when 0.
	RetryAfter int `json:"retry_after,omitempty"`
	// Code, Message and Data are the RPC error of ErrorAnswer.
	Code    int             `json:"code,omitempty"`
	Message string          `json:"message,omitempty"`
	Data    json.RawMessage `json:"data,omitempty"`

	until uint64 // slot, 0: for ever
}

// Deed is what becomes of a call that a fault strikes. All but Default, Run and Skip are
// for sendTransaction alone: other calls of the request run.
type Deed string

// The deeds.
const (
	// Default runs the call, unless the Answer is one that refuses it: TooMany,
	// Status, HTML, Hang, Reset, ErrorAnswer.
	Default Deed = ""
	// Run runs it whatever the answer.
	Run Deed = "run"
	// Skip does not run it. Such a call has no answer of its own.
	Skip Deed = "skip"
	// Drop passes preflight, answers the signature, and the transaction is lost.
	Drop Deed = "drop"
	// Hold passes preflight, and the transaction lands After slots later.
	Hold Deed = "hold"
	// HoldLast holds it until the last block that its blockhash permits.
	HoldLast Deed = "hold-last"
	// Fail passes preflight, and the transaction lands and fails with Error.
	Fail Deed = "fail"
	// Stale answers BlockhashNotFound in preflight, as a node does that is behind.
	Stale Deed = "stale"
	// Broke answers InsufficientFundsForFee in preflight.
	Broke Deed = "broke"
	// Twice runs it twice and gives the second answer.
	Twice Deed = "twice"
)

// Answer is what the client of a struck request gets.
type Answer string

// The answers.
const (
	Truth       Answer = ""       // what the call answered
	TooMany     Answer = "429"    // with RetryAfter or without
	Status      Answer = "status" // an HTTP status and an empty body
	HTML        Answer = "html"   // an HTTP status and a page of a balancer
	Cut         Answer = "cut"    // half of the true answer's JSON
	Hang        Answer = "hang"   // none, until the client gives up
	Reset       Answer = "reset"  // the connection is reset
	Lost        Answer = "lost"   // the connection ends without an answer, after the call ran
	ErrorAnswer Answer = "error"  // an RPC error
)

var deeds = []Deed{Default, Run, Skip, Drop, Hold, HoldLast, Fail, Stale, Broke, Twice}

var answers = []Answer{Truth, TooMany, Status, HTML, Cut, Hang, Reset, Lost, ErrorAnswer}

func (x *Fault) check() error {
	switch {
	case !slices.Contains(deeds, x.Do):
		return fmt.Errorf("fault: unknown do %q, expected none or one of %s", x.Do, listed(deeds))
	case !slices.Contains(answers, x.Answer):
		return fmt.Errorf("fault: unknown answer %q, expected none or one of %s", x.Answer, listed(answers))
	case x.Percent > 100:
		return fmt.Errorf("fault: percent is %d, expected 1 to 100", x.Percent)
	case x.Status != 0 && (x.Status < 200 || x.Status > 599):
		return fmt.Errorf("fault: status %d, expected 200 to 599", x.Status)
	case x.Do == Skip && (x.Answer == Truth || x.Answer == Cut):
		return fmt.Errorf("fault: a call that is skipped has no answer of its own: set answer")
	case x.Answer == ErrorAnswer && x.Code == 0:
		return fmt.Errorf("fault: an error needs a code")
	}
	for _, n := range []struct {
		name string
		n    int
	}{{"skip", x.Skip}, {"count", x.Count}, {"percent", x.Percent}, {"delay_ms", x.DelayMS}, {"retry_after", x.RetryAfter}} {
		if n.n < 0 {
			return fmt.Errorf("fault: %s is %d, which is negative", n.name, n.n)
		}
	}
	for _, m := range x.Methods {
		if methods[m] == nil {
			return fmt.Errorf("fault: unknown method %q, expected some of %s", m, strings.Join(slices.Sorted(maps.Keys(methods)), ", "))
		}
	}
	return nil
}

// listed writes a list without the empty word that is its first.
func listed[T ~string](list []T) string {
	words := make([]string, 0, len(list))
	for _, w := range list[1:] {
		words = append(words, string(w))
	}
	return strings.Join(words, ", ")
}

// runs reports whether the calls of a struck request run.
func (x *Fault) runs() bool {
	switch x.Do {
	case Skip:
		return false
	case Default:
		return x.Answer == Truth || x.Answer == Cut || x.Answer == Lost
	}
	return true
}

// Inject adds a rule to the front, behind the others, and returns its number.
func (f *Front) Inject(x Fault) (int, error) {
	if err := x.check(); err != nil {
		return 0, err
	}
	x.Methods = slices.Clone(x.Methods)
	if x.Slots > 0 {
		x.until = f.n.Slot() + x.Slots
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lastFault++
	x.ID = f.lastFault
	f.faults = append(f.faults, &x)
	return x.ID, nil
}

// Remove ends a rule.
func (f *Front) Remove(id int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = slices.DeleteFunc(f.faults, func(x *Fault) bool { return x.ID == id })
}

// Faults are the rules in force, with what is left of their counts.
func (f *Front) Faults() []Fault {
	slot := f.n.Slot()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(slot)
	list := []Fault{}
	for _, x := range f.faults {
		list = append(list, *x)
	}
	return list
}

// expire drops rules whose slots are over.
func (f *Front) expire(slot uint64) {
	f.faults = slices.DeleteFunc(f.faults, func(x *Fault) bool { return x.until != 0 && slot >= x.until })
}

// strikes returns the rule that strikes a request with these calls, or nil.
func (f *Front) strikes(methods []string) *Fault {
	f.mu.Lock()
	idle := len(f.faults) == 0
	f.mu.Unlock()
	if idle {
		return nil
	}
	slot := f.n.Slot()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire(slot)
	for i, x := range f.faults {
		if !x.meant(methods) {
			continue
		}
		if x.Percent > 0 && f.dice.IntN(100) >= x.Percent {
			continue
		}
		if x.Skip > 0 {
			x.Skip--
			continue
		}
		struck := *x
		if x.Count > 0 {
			if x.Count--; x.Count == 0 {
				f.faults = slices.Delete(f.faults, i, i+1)
			}
		}
		return &struck
	}
	return nil
}

func (x *Fault) meant(methods []string) bool {
	return len(x.Methods) == 0 || slices.ContainsFunc(methods, func(m string) bool { return slices.Contains(x.Methods, m) })
}

// methodsIn are the methods that a body calls.
func methodsIn(body []byte) []string {
	type named struct {
		Method string `json:"method"`
	}
	var one named
	if json.Unmarshal(body, &one) == nil {
		return []string{one.Method}
	}
	var batch []named
	if json.Unmarshal(body, &batch) != nil {
		return nil
	}
	var list []string
	for _, c := range batch {
		list = append(list, c.Method)
	}
	return list
}
