package settlement

import (
	"fmt"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
)

// EventKind says what happened.
type EventKind string

// The events of a service, in the order in which a new network shows them.
const (
	EventLease      EventKind = "lease"      // Detail: taken or lost
	EventRecovery   EventKind = "recovery"   // Lane, Position: what the chain knew and the database did not
	EventFence      EventKind = "fence"      // Count: lanes passed
	EventDelegation EventKind = "delegation" // Payee: payout wallet; Count: workers
	EventInventory  EventKind = "inventory"  // Worker; Count: devices
	EventStatements EventKind = "statements" // Epoch, Count: uptime statements accepted in one batch
	EventPrice      EventKind = "price"      // Epoch; Detail: US dollars for one token
	EventPublished  EventKind = "published"  // Epoch, Statements: uptime statements in the book; Amount: the sum; Detail: book root
	EventSealed     EventKind = "sealed"     // Epoch, Amount: the sum; Count: verdicts; Signature
	EventPolicy     EventKind = "policy"     // Epoch: in which it was announced; Detail: which, and what became of it
	EventPayout     EventKind = "payout"     // Amount, Count: payees; Signature
	EventFees       EventKind = "fees"       // Amount, Count: payees; Signature
	EventClaim      EventKind = "claim"      // Payee, Amount; Signature
	EventDeposit    EventKind = "deposit"    // Amount; Payee: the renter, or zero with Detail: why it is in suspense; Signature
	EventWithdrawal EventKind = "withdrawal" // Payee: the renter; Amount; Signature
	EventUnlock     EventKind = "unlock"     // Detail: category; Amount, Count: beneficiaries; Signature
	EventRetire     EventKind = "retire"     // Epoch: the last one; Signature
	EventHeld       EventKind = "held"       // Payee; Detail: why it was not paid
	EventHalted     EventKind = "halted"     // Detail: why nothing is sent
	EventRefused    EventKind = "refused"    // Detail: which kind a signer refuses, and by which rule
	EventResumed    EventKind = "resumed"    // Detail: the reason that a person gave
)

// Event is one thing that a person who watches the service wants to see. Which
// fields are set depends on Kind; the others are zero.
type Event struct {
	Time       time.Time
	Kind       EventKind
	Epoch      uint64
	Lane       string
	Position   uint64
	Payee      ionet.Key
	Worker     ionet.Key
	Count      int
	Statements int
	Amount     ionet.Amount
	Emission   ionet.Amount
	Signature  chain.Signature
	Detail     string
}

// Line renders e for a terminal; decimals are those of the token.
func (e Event) Line(decimals int) string {
	tokens := func(a ionet.Amount) string { return a.Tokens(decimals) + " IO" }
	landed := ""
	if !e.Signature.IsZero() {
		landed = ", transaction " + e.Signature.String()
	}
	switch e.Kind {
	case EventLease:
		return "lease " + e.Detail
	case EventRecovery:
		return fmt.Sprintf("recovered %s position %d: %s", e.Lane, e.Position, e.Detail)
	case EventFence:
		return fmt.Sprintf("fence: %s passed%s", counted(e.Count, "lane"), landed)
	case EventDelegation:
		return fmt.Sprintf("delegation of %s, paid to %s", counted(e.Count, "worker"), e.Payee)
	case EventInventory:
		return fmt.Sprintf("worker %s registered %s", e.Worker, counted(e.Count, "device"))
	case EventStatements:
		return fmt.Sprintf("epoch %d: %s accepted", e.Epoch, counted(e.Count, "uptime statement"))
	case EventPrice:
		return fmt.Sprintf("epoch %d: a token is observed at %s US dollars", e.Epoch, e.Detail)
	case EventPublished:
		return fmt.Sprintf("epoch %d closes with %s, %s of %s to mint, book %s", e.Epoch, counted(e.Statements, "uptime statement"), tokens(e.Amount), tokens(e.Emission), e.Detail)
	case EventSealed:
		return fmt.Sprintf("epoch %d sealed: %s, emission %s, minted %s%s", e.Epoch, counted(e.Count, "verdict"), tokens(e.Emission), tokens(e.Amount), landed)
	case EventPolicy:
		return fmt.Sprintf("epoch %d announced policy %s", e.Epoch, e.Detail)
	case EventPayout:
		return fmt.Sprintf("payout of %s to %s%s", tokens(e.Amount), counted(e.Count, "payee"), landed)
	case EventFees:
		return fmt.Sprintf("fees of %s to %s%s", tokens(e.Amount), counted(e.Count, "payee"), landed)
	case EventClaim:
		return fmt.Sprintf("claim of %s by %s%s", tokens(e.Amount), e.Payee, landed)
	case EventDeposit:
		if e.Payee.IsZero() {
			return fmt.Sprintf("deposit of %s in suspense: %s%s", tokens(e.Amount), e.Detail, landed)
		}
		return fmt.Sprintf("deposit of %s for %s%s", tokens(e.Amount), e.Payee, landed)
	case EventWithdrawal:
		return fmt.Sprintf("withdrawal of %s by %s%s", tokens(e.Amount), e.Payee, landed)
	case EventUnlock:
		return fmt.Sprintf("released %s of %s to %s%s", tokens(e.Amount), e.Detail, counted(e.Count, "wallet"), landed)
	case EventRetire:
		return fmt.Sprintf("epoch %d was the last: the mint authority is given up%s", e.Epoch, landed)
	case EventHeld:
		return fmt.Sprintf("payee %s is held: %s", e.Payee, e.Detail)
	case EventRefused:
		return "a signer refuses " + e.Detail
	case EventHalted:
		return "sending is halted: " + e.Detail
	case EventResumed:
		return "sending is resumed: " + e.Detail
	}
	return string(e.Kind) + " " + e.Detail
}

// counted renders n things.
func counted(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}

func (s *Service) emit(e Event) {
	e.Time = s.now()
	s.cfg.Events(e)
}
