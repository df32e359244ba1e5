package proofs

import (
	"github.com/ionet-settlement/ionet"
)

// Rule is why a device was accepted or refused; FORMAT.md, section 7.
type Rule uint16

// The rules of verdicts.
const (
	Accepted          Rule = 0
	NoDelegation      Rule = 1
	DelegationExpired Rule = 2
	DelegationRevoked Rule = 3
	WrongDelegation   Rule = 4
	TooFewSamples     Rule = 5
	Late              Rule = 6
	Equivocation      Rule = 7
	BoundElsewhere    Rule = 8
	TwoFirstClaims    Rule = 9
	UnknownModel      Rule = 10
	ZeroMultiplier    Rule = 11
	Simulated         Rule = 12
	ForeignBeacon     Rule = 13
	InventoryChanged  Rule = 14
	Idle              Rule = 15
	NoSamples         Rule = 16
)

// ruleText is a row of FORMAT.md's table: evidence names the statements whose ids
// a verdict's evidence is the hash of.
type ruleText struct{ name, text, evidence string }

var rules = [...]ruleText{
	Accepted:          {"accepted", "The device earned its share.", "the device's samples"},
	NoDelegation:      {"no-delegation", "No delegation in force names this worker.", "the device's inventory"},
	DelegationExpired: {"delegation-expired", "The provider's delegation does not cover this epoch.", "the delegation"},
	DelegationRevoked: {"delegation-revoked", "The provider revoked the delegation before this epoch.", "the revocation (the smallest id)"},
	WrongDelegation:   {"wrong-delegation", "Statements named another delegation than the inventory's.", "the uptime statements that failed 1b"},
	TooFewSamples:     {"too-few-samples", "Fewer samples counted than the policy asks for.", "all of U"},
	Late:              {"late", "Too few samples counted, because too many statements arrived late.", "the uptime statements that failed 4."},
	Equivocation: {
		"equivocation", "The worker signed two statements for one sample, or two with one former statement.",
		"the first such pair: the smallest second of U, with the nearest of its sample before it, else the first with its previous",
	},
	BoundElsewhere:   {"bound-elsewhere", "The device is bound to another worker.", "the device's inventory"},
	TwoFirstClaims:   {"two-first-claims", "Two workers claimed the device for the first time in this epoch.", "the device's inventory of each such worker, this one among them, by worker"},
	UnknownModel:     {"unknown-model", "The policy does not know this product name.", "the device's inventory"},
	ZeroMultiplier:   {"zero-multiplier", "The policy gives this model no share.", "the device's inventory"},
	Simulated:        {"simulated", "Simulated devices do not earn on this network.", "the device's inventory"},
	ForeignBeacon:    {"beacon", "Too few samples counted, because statements named blocks that are not of their sample.", "the uptime statements that failed 3."},
	InventoryChanged: {"inventory-changed", "The worker changed its inventory during the epoch.", "the device's inventory"},
	Idle:             {"idle", "The device was busy, but its worker served no job of this network.", "the device's samples with such a utilization"},
	NoSamples:        {"no-samples", "The worker sent no uptime statement.", "the device's inventory"},
}

// Known reports whether FORMAT.md has this rule.
func (r Rule) Known() bool { return int(r) < len(rules) }

// Name returns the rule's stable name.
func (r Rule) Name() string {
	if !r.Known() {
		return "unknown"
	}
	return rules[r].name
}

// Text returns a sentence for a person.
func (r Rule) Text() string {
	if !r.Known() {
		return "This rule is unknown."
	}
	return rules[r].text
}

// Evidence says of which statements a verdict by this rule names the hash, in the
// words of FORMAT.md, section 7.
func (r Rule) Evidence() string {
	if !r.Known() {
		return "unknown"
	}
	return rules[r].evidence
}

// Rules returns all rules in order of their numbers.
func Rules() []Rule {
	all := make([]Rule, len(rules))
	for i := range all {
		all[i] = Rule(i)
	}
	return all
}

// VerdictSize is the size of an encoded verdict in bytes.
const VerdictSize = 16 + 32 + 32 + 32 + 2 + 2 + 8 + 32 + 8

// Verdict is what an epoch decided on one device of one worker.
type Verdict struct {
	UUID     ionet.UUID
	Worker   ionet.Key
	Provider ionet.Key // zero where no delegation is among the inputs
	Payee    ionet.Key // the payout wallet; zero as above
	Rule     Rule
	Samples  uint16
	Weight   uint64 // multiplier in thousandths times samples; 0 unless accepted
	Evidence ionet.Hash
	Amount   ionet.Amount
}

// Append appends the verdict's bytes to b.
func (v Verdict) Append(b []byte) []byte {
	w := writer{b: b}
	w.raw(v.UUID[:])
	w.raw(v.Worker[:])
	w.raw(v.Provider[:])
	w.raw(v.Payee[:])
	w.u16(uint16(v.Rule))
	w.u16(v.Samples)
	w.u64(v.Weight)
	w.raw(v.Evidence[:])
	w.money(v.Amount)
	return w.b
}

// ParseVerdict parses exactly one verdict.
func ParseVerdict(b []byte) (Verdict, error) {
	r := reader{b: b}
	v := Verdict{
		UUID: r.b16(), Worker: r.b32(), Provider: r.b32(), Payee: r.b32(), Rule: Rule(r.u16()),
		Samples: r.u16(), Weight: r.u64(), Evidence: r.b32(), Amount: r.money(),
	}
	return v, r.end("verdict")
}

// VerdictRecords returns the records whose Merkle root is the verdicts root.
func VerdictRecords(verdicts []Verdict) [][]byte {
	all := make([]byte, 0, len(verdicts)*VerdictSize)
	records := make([][]byte, len(verdicts))
	for i, v := range verdicts {
		all = v.Append(all)
		records[i] = all[i*VerdictSize : (i+1)*VerdictSize]
	}
	return records
}

// VerdictsRoot returns the verdicts root.
func VerdictsRoot(verdicts []Verdict) ionet.Hash { return Root(VerdictRecords(verdicts)) }
