package worker

import (
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// EventKind says what happened.
type EventKind string

// The events of a worker.
const (
	EventDevice      EventKind = "device"       // Text: one device of the inventory
	EventRegistered  EventKind = "registered"   // ID: inventory; Count: devices
	EventAccepted    EventKind = "accepted"     // an uptime statement was acked; Epoch, Sample, ID
	EventRefused     EventKind = "refused"      // a statement was refused for good; Text: why
	EventWaiting     EventKind = "waiting"      // Text: what the worker can't do now and why
	EventRecovered   EventKind = "recovered"    // what it waited for is over
	EventSkipped     EventKind = "skipped"      // a sample goes without statement; Text: why
	EventSealed      EventKind = "sealed"       // Epoch; Count: devices accepted of Total; Refused: the others; Amount: earned
	EventOmission    EventKind = "omission"     // an acked statement is not in the book; ID; Text: evidence file
	EventBadAck      EventKind = "bad-ack"      // an ack that is none, or contradicts an earlier one; ID; Text
	EventNewInstance EventKind = "new-instance" // the service was started anew; Count: statements to present again
	EventTrouble     EventKind = "trouble"      // Text
	EventClock       EventKind = "clock"        // Text: how far this host's clock is off the service's
	EventSpool       EventKind = "spool"        // Text: what opening the spool repaired, or that it fills up
	EventDelegated   EventKind = "delegated"    // a new delegation is there; ID; Text: until when
	EventFalseBeacon EventKind = "false-beacon" // the service named a block that is none of the sample; Epoch, Sample; Text
	EventStranger    EventKind = "stranger"     // this key signed a statement that the spool doesn't know; Epoch, Sample, ID; Text: what is done
	EventTwin        EventKind = "twin"         // another process signs with this key now; Epoch, Sample, ID; the worker ends
)

// Event is a thing that a person wants to see.
type Event struct {
	Kind   EventKind
	Epoch  uint64
	Sample uint16
	ID     ionet.Hash
	Count  int
	Total  int
	Amount ionet.Amount
	Tokens string // Amount in whole tokens
	Text   string
	Rule   string // of a refusal: the problem's kind

	Refused Refusals // of a seal: the devices that were not accepted
}

// String returns the event as one line.
func (e Event) String() string {
	switch e.Kind {
	case EventDevice:
		return "device " + e.Text
	case EventRegistered:
		return fmt.Sprintf("registered %d devices, inventory %.12s", e.Count, e.ID)
	case EventAccepted:
		return fmt.Sprintf("statement accepted: epoch %d sample %d, %.12s", e.Epoch, e.Sample, e.ID)
	case EventRefused:
		return fmt.Sprintf("statement refused: %.12s: %s", e.ID, e.Text)
	case EventWaiting:
		return "waiting: " + e.Text
	case EventRecovered:
		return "going on"
	case EventSkipped:
		return fmt.Sprintf("no statement for epoch %d sample %d: %s", e.Epoch, e.Sample, e.Text)
	case EventSealed:
		if e.Total == 0 {
			return fmt.Sprintf("epoch %d sealed: no device of this host was registered for it", e.Epoch)
		}
		end := ", "
		if len(e.Refused) > 0 {
			end = "; "
		}
		return fmt.Sprintf("epoch %d sealed: %s%s%s IO", e.Epoch, acceptedOf(e.Count, e.Total, e.Refused), end, e.Tokens)
	case EventOmission:
		return fmt.Sprintf("OMISSION: epoch %d is sealed without statement %s that the service acked: evidence in %s", e.Epoch, e.ID, e.Text)
	case EventBadAck:
		return fmt.Sprintf("BAD ACK of statement %s: %s", e.ID, e.Text)
	case EventNewInstance:
		return fmt.Sprintf("service has a new instance: presenting %d statements again", e.Count)
	case EventTrouble:
		return "trouble: " + e.Text
	case EventClock:
		return "clock: " + e.Text
	case EventSpool:
		return "spool: " + e.Text
	case EventDelegated:
		return fmt.Sprintf("new delegation %.12s %s: in force from the next epoch on", e.ID, e.Text)
	case EventFalseBeacon:
		return fmt.Sprintf("FALSE BEACON for epoch %d sample %d, asking again: %s", e.Epoch, e.Sample, e.Text)
	case EventStranger:
		return fmt.Sprintf("this key signed statement %.12s of epoch %d sample %d, which this folder does not know: %s", e.ID, e.Epoch, e.Sample, e.Text)
	case EventTwin:
		return fmt.Sprintf("EQUIVOCATION: another process signs with this key: statement %s of epoch %d sample %d is not from here", e.ID, e.Epoch, e.Sample)
	}
	return string(e.Kind) + " " + e.Text
}
