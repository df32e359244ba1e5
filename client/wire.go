package client

import (
	"encoding/hex"
	"fmt"

	"github.com/ionet-settlement/ionet"
)

// ID is 16 random bytes; text is 32 lowercase hexadecimal digits.
type ID [16]byte

// String returns lowercase hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText parses 32 hexadecimal digits.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 2*len(id) {
		return fmt.Errorf("id %q is not 32 hexadecimal digits", text)
	}
	if _, err := hex.Decode(id[:], text); err != nil {
		return fmt.Errorf("id %q is not 32 hexadecimal digits", text)
	}
	return nil
}

// Head is where the network and the service are. Epoch is 0 before the start.
type Head struct {
	Instance ID        `json:"instance" doc:"Changes with each start of the service: a worker then presents what is not sealed again"`
	Network  ionet.Key `json:"network" doc:"Network id, base58"`
	Name     string    `json:"name" doc:"The network's name"`
	Mint     ionet.Key `json:"mint" doc:"The token: all that an auditor has to know"`
	Decimals int       `json:"decimals" doc:"Decimals of the token; amounts are base units"`
	Epoch    uint64    `json:"epoch" doc:"The current epoch, 0 before the first"`
	Sample   uint16    `json:"sample" doc:"The current sample of the epoch"`
	Time     int64     `json:"time" doc:"The service's clock, Unix seconds"`
	Sealed   uint64    `json:"sealed" doc:"The last epoch whose seal is final on chain, 0 for none"`
}

// Beacon is a finalized block whose time lies in a sample.
type Beacon struct {
	Slot      uint64    `json:"slot"`
	Blockhash ionet.Key `json:"blockhash"`
	Time      int64     `json:"time" doc:"The block's time, Unix seconds"`
}

// States of a submitted statement.
const (
	Accepted  = "accepted"
	Duplicate = "duplicate" // known already: the same ack again
	Refused   = "refused"
)

// Result is the service's answer to one statement.
type Result struct {
	ID      ionet.Hash `json:"id" doc:"Statement id, hexadecimal"`
	Status  string     `json:"status" enum:"accepted,duplicate,refused"`
	Ack     []byte     `json:"ack,omitempty" doc:"Envelope of the service's ack; absent when refused"`
	Problem *Problem   `json:"problem,omitempty"`
}

// Results answers a body of statements, in their order; acks that were presented
// have no result of their own.
type Results struct {
	Results []Result `json:"results"`
	Problem *Problem `json:"problem,omitempty" doc:"Why the service read no further; absent where it read all"`
}

// WorkerStatus is what the service has of a worker.
type WorkerStatus struct {
	Worker        ionet.Key  `json:"worker"`
	Provider      ionet.Key  `json:"provider"`
	Payee         ionet.Key  `json:"payee" doc:"The payout wallet"`
	Delegation    ionet.Hash `json:"delegation" doc:"The delegation of its last inventory"`
	Inventory     ionet.Hash `json:"inventory" doc:"Its last inventory"`
	Devices       int        `json:"devices"`
	LastStatement ionet.Hash `json:"last_statement" doc:"Its latest uptime statement, zeros for none"`
	LastEpoch     uint64     `json:"last_epoch"`
	LastSample    uint16     `json:"last_sample"`
}

// States of an epoch.
const (
	EpochOpen      = "open"      // takes statements
	EpochFrozen    = "frozen"    // its inputs are fixed
	EpochPublished = "published" // its book is published, its seal is on the way
	EpochSealed    = "sealed"    // its seal is final on chain
)

// Epoch is an epoch that was closed, or is closing.
type Epoch struct {
	Epoch        uint64       `json:"epoch"`
	State        string       `json:"state" enum:"open,frozen,published,sealed"`
	Emission     ionet.Amount `json:"emission" doc:"What the schedule allows, base units"`
	Sum          ionet.Amount `json:"sum" doc:"What was minted"`
	Unissued     ionet.Amount `json:"unissued" doc:"Emission less sum"`
	Verdicts     int          `json:"verdicts"`
	InputsRoot   ionet.Hash   `json:"inputs_root"`
	VerdictsRoot ionet.Hash   `json:"verdicts_root"`
	Book         ionet.Hash   `json:"book" doc:"Book root: /files/books/<root>.zst"`
	Policy       ionet.Hash   `json:"policy"`
	Memo         string       `json:"memo,omitempty" doc:"The seal's memo"`
	Signature    string       `json:"signature,omitempty" doc:"Signature of the seal's transaction"`
	Slot         uint64       `json:"slot,omitempty"`
	Draw         string       `json:"draw" enum:"schedule,target" doc:"schedule: all of the emission is for accepted devices; target: no more than the policy's dollar target needs at the price"`
	Price        *UsedPrice   `json:"price,omitempty" doc:"The price that a draw by target was judged by; absent: none was in reach, and nothing was issued"`
}

// UsedPrice is the price of an observation, which may be of an earlier epoch.
type UsedPrice struct {
	Epoch    uint64 `json:"epoch"`
	MicroUSD uint64 `json:"micro_usd" doc:"Price of one whole token in 10^-6 US dollar"`
}

// Price is the observation that was taken for an epoch.
type Price struct {
	Epoch    uint64     `json:"epoch"`
	ID       ionet.Hash `json:"id" doc:"Statement id, hexadecimal"`
	Observer ionet.Key  `json:"observer" doc:"The key that the epoch's policy names"`
	Observed int64      `json:"observed" doc:"Unix seconds"`
	MicroUSD uint64     `json:"micro_usd" doc:"Price of one whole token in 10^-6 US dollar"`
	Ack      []byte     `json:"ack" doc:"Envelope of the service's ack"`
}

// Epochs lists epochs, the latest first.
type Epochs struct {
	Epochs []Epoch `json:"epochs"`
}

// Verdict is the judgement of one device of one worker.
type Verdict struct {
	Device   ionet.UUID   `json:"device"`
	Worker   ionet.Key    `json:"worker"`
	Provider ionet.Key    `json:"provider"`
	Payee    ionet.Key    `json:"payee"`
	Rule     uint16       `json:"rule" doc:"0 is accepted"`
	Name     string       `json:"name" doc:"The rule's name"`
	Text     string       `json:"text" doc:"The rule in a sentence"`
	Samples  uint16       `json:"samples"`
	Weight   uint64       `json:"weight"`
	Evidence ionet.Hash   `json:"evidence"`
	Amount   ionet.Amount `json:"amount" doc:"Base units"`
}

// Verdicts are all of an epoch, in the order of its verdict tree.
type Verdicts struct {
	Epoch    uint64     `json:"epoch"`
	Root     ionet.Hash `json:"root"`
	Verdicts []Verdict  `json:"verdicts"`
}

// ProvenVerdict is a verdict and its place in the tree that the seal commits to.
type ProvenVerdict struct {
	Verdict Verdict      `json:"verdict"`
	Index   uint64       `json:"index"`
	Proof   []ionet.Hash `json:"proof" doc:"RFC 6962 inclusion proof"`
}

// DeviceEpoch is what became of a device in an epoch: one verdict for each worker
// whose inventory names it.
type DeviceEpoch struct {
	Epoch    Epoch           `json:"epoch"`
	Verdicts []ProvenVerdict `json:"verdicts"`
}

// Rule is a row of the table of rules.
type Rule struct {
	Rule     uint16 `json:"rule" doc:"0 is accepted"`
	Name     string `json:"name"`
	Text     string `json:"text" doc:"For a person"`
	Evidence string `json:"evidence" doc:"A verdict's evidence is the hash of these statements' ids; proofs/FORMAT.md section 7"`
}

// Rules is the table.
type Rules struct {
	Rules []Rule `json:"rules"`
}

// States of a policy.
const (
	PolicyAnnounced  = "announced"  // no final seal has it yet
	PolicyCounts     = "counts"     // sealed before its first epoch, which is to come
	PolicyInForce    = "in force"   // in the current epoch
	PolicySuperseded = "superseded" // it counts, and one with a higher version rules in its place
	PolicyMissed     = "missed"     // not sealed in time: it never counts
)

// Policy is a policy that was announced, or that of the genesis.
type Policy struct {
	Version    uint32     `json:"version"`
	FirstEpoch uint64     `json:"first_epoch" doc:"First epoch that it rules, if it counts"`
	Hash       ionet.Hash `json:"hash" doc:"SHA-256 of its file: /files/policies/<hash>.toml"`
	Statement  ionet.Hash `json:"statement" doc:"Id of the statement that announced it; zeros for the genesis"`
	Announced  uint64     `json:"announced" doc:"Epoch in which it was announced; 0 for the genesis"`
	Sealed     uint64     `json:"sealed" doc:"Epoch whose final book announces it; 0 for none"`
	State      string     `json:"state" enum:"announced,counts,in force,superseded,missed" doc:"announced: no final seal has it yet; counts: it was sealed in time and rules from its first epoch on; in force: it rules the current epoch; superseded: it was sealed in time, and one with a higher version rules in its place; missed: it was not sealed in time and never rules"`
}

// Policies lists policies in the order of their announcement.
type Policies struct {
	Policies []Policy `json:"policies"`
}

// Provider is what a payout wallet has earned: by emissions Earned = Paid + InFlight +
// Claimable, and by fees FeesOwed + FeesInFlight + FeesPaid.
type Provider struct {
	Wallet    ionet.Key    `json:"wallet"`
	Earned    ionet.Amount `json:"earned" doc:"In sealed epochs, base units"`
	Paid      ionet.Amount `json:"paid" doc:"Final on chain"`
	InFlight  ionet.Amount `json:"in_flight" doc:"Signed, not final"`
	Claimable ionet.Amount `json:"claimable"`
	Devices   int          `json:"devices" doc:"With a verdict for this wallet in the newest epoch"`
	Decimals  int          `json:"decimals" doc:"Decimals of the token"`
	Held      *Held        `json:"held,omitempty" doc:"Why payout runs leave the wallet out for now"`

	FeesOwed     ionet.Amount `json:"fees_owed" doc:"For inferences, to be paid by payout runs; base units"`
	FeesInFlight ionet.Amount `json:"fees_in_flight" doc:"Signed, not final"`
	FeesPaid     ionet.Amount `json:"fees_paid" doc:"Final on chain"`
}

// Held is why payout runs leave a payee out for now. What it is owed stays.
type Held struct {
	Owed    ionet.Amount `json:"owed" doc:"Of emissions, base units"`
	Fees    ionet.Amount `json:"fees" doc:"Owed of fees, base units"`
	Reason  string       `json:"reason"`
	RetryAt int64        `json:"retry_at" doc:"When the next run looks at it again, Unix seconds"`
}

// HeldPayee is a payee that is held.
type HeldPayee struct {
	Payee ionet.Key `json:"payee"`
	Held
}

// PayoutRun is a payout run that was asked for.
type PayoutRun struct {
	ID    ID    `json:"id"`
	Asked int64 `json:"asked" doc:"Unix seconds"`
	Ended int64 `json:"ended,omitempty" doc:"Unix seconds; absent while it is open"`
}

// Outgoing is what was signed for a position of a lane.
type Outgoing struct {
	Kind      string       `json:"kind" enum:"genesis,epoch,fence,skip,payout,claim,withdrawal,unlock,seal,retire,fees,receipts"`
	Lane      string       `json:"lane"`
	Position  uint64       `json:"position"`
	State     string       `json:"state" enum:"signed,offered,dead,paid,superseded" doc:"signed: on its way; offered: its wallet has yet to sign; dead: it can't land, and is signed again or passed; superseded: another transaction has its position"`
	Payees    int          `json:"payees"`
	Amount    ionet.Amount `json:"amount" doc:"Base units, to all of them"`
	Since     int64        `json:"since" doc:"When it was first signed, Unix seconds"`
	Attempts  int          `json:"attempts" doc:"Transactions of it that were signed, of which one lands"`
	Signature string       `json:"signature,omitempty" doc:"Of the transaction that landed, or of the last that was signed"`
	Slot      uint64       `json:"slot,omitempty"`
	Reason    string       `json:"reason,omitempty" doc:"Why a node refused the last one"`
}

// Payouts is what goes out and what waits.
type Payouts struct {
	Minimum     ionet.Amount `json:"minimum" doc:"What a payee must be owed to be paid by a run, base units"`
	Waiting     int          `json:"waiting" doc:"Payees who are owed that much of emissions"`
	Due         ionet.Amount `json:"due" doc:"Base units that they are owed"`
	WaitingFees int          `json:"waiting_fees" doc:"Payees who are owed that much of fees"`
	DueFees     ionet.Amount `json:"due_fees" doc:"Base units of fees that they are owed"`
	Next        int64        `json:"next,omitempty" doc:"When the next run is asked for, Unix seconds; absent where that is done by hand"`
	Runs        []PayoutRun  `json:"runs" doc:"The newest five, newest first"`
	Held        int          `json:"held" doc:"Payees that runs leave out for now; /v1/providers/{key} tells why"`
	HeldPayees  []HeldPayee  `json:"held_payees,omitempty" doc:"By ionetd payouts only"`
	Outgoing    []Outgoing   `json:"outgoing" doc:"What is open, then what ended, the newest first"`

	Withdrawals []WaitingWithdrawal `json:"withdrawals,omitempty" doc:"Those that wait; by ionetd payouts only"`
}

// WaitingWithdrawal is one that no transaction carries yet.
type WaitingWithdrawal struct {
	ID      ID           `json:"id" doc:"What the payment's memo will name"`
	Renter  ionet.Key    `json:"renter"`
	To      ionet.Key    `json:"to"`
	Amount  ionet.Amount `json:"amount" doc:"Base units"`
	Asked   int64        `json:"asked" doc:"Unix seconds"`
	Expires int64        `json:"expires" doc:"Unix seconds"`
	RetryAt int64        `json:"retry_at" doc:"Unix seconds"`
	Reason  string       `json:"reason,omitempty" doc:"Why it was not paid yet"`
}

// Payment is one transfer to a payee, by claim or by payout.
type Payment struct {
	Kind      string       `json:"kind" enum:"payout,claim,withdrawal,unlock,fees"`
	Payee     ionet.Key    `json:"payee"`
	Amount    ionet.Amount `json:"amount" doc:"Base units"`
	State     string       `json:"state" enum:"signed,paid,freed" doc:"freed: its transaction can't land, the debt stands as before"`
	Lane      string       `json:"lane"`
	Position  uint64       `json:"position"`
	Signature string       `json:"signature,omitempty" doc:"Of the transaction that landed"`
	Slot      uint64       `json:"slot,omitempty"`
	Time      int64        `json:"time" doc:"When it was signed, Unix seconds"`
}

// Payments lists payments, the latest first.
type Payments struct {
	Payments []Payment `json:"payments"`
}

// ClaimRequest asks for a transaction that pays the wallet what is claimable.
type ClaimRequest struct {
	Wallet ionet.Key `json:"wallet"`
}

// Claim is a prepared claim. Transaction lacks the wallet's signature; the same
// request gives the same bytes while it lives.
type Claim struct {
	Transaction []byte       `json:"transaction" doc:"Version 0 transaction; sign its message with the wallet"`
	Message     ionet.Hash   `json:"message" doc:"SHA-256 of the message bytes: how the claim is known"`
	Lane        string       `json:"lane"`
	Position    uint64       `json:"position"`
	Amount      ionet.Amount `json:"amount"`
	LastHeight  uint64       `json:"last_valid_block_height" doc:"The last block that may hold it"`
}

// ClaimSubmission hands in a claim that the wallet has signed.
type ClaimSubmission struct {
	Transaction []byte `json:"transaction"`
}

// PayLabel answers GET of a Solana Pay transaction request: what a wallet shows.
type PayLabel struct {
	Label string `json:"label"`
	Icon  string `json:"icon" doc:"URL of an SVG image"`
}

// PayRequest is what a wallet posts for a Solana Pay transaction request.
type PayRequest struct {
	Account ionet.Key `json:"account" doc:"The wallet, base58"`
}

// PayTransaction is a claim with all signatures but the wallet's, which signs and
// sends it. It can land until its blockhash expires.
type PayTransaction struct {
	Transaction []byte `json:"transaction" doc:"Version 0 transaction, base64"`
	Message     string `json:"message" doc:"A sentence for the wallet to show"`
}

// States of a claim.
const (
	ClaimIsPrepared   = "prepared"   // not handed in
	ClaimIsOffered    = "offered"    // signed by the service alone: the wallet can sign and send it
	ClaimIsPending    = "pending"    // co-signed and sent, not final
	ClaimIsPaid       = "paid"       // final on chain
	ClaimIsSuperseded = "superseded" // another transaction has its position: prepare again
	ClaimIsExpired    = "expired"    // not on chain in time: prepare again
)

// ClaimState is where a claim is.
type ClaimState struct {
	Message   ionet.Hash `json:"message"`
	State     string     `json:"state" enum:"prepared,offered,pending,paid,superseded,expired"`
	Signature string     `json:"signature,omitempty" doc:"Transaction signature, base58"`
	Slot      uint64     `json:"slot,omitempty"`
	Reason    string     `json:"reason,omitempty" doc:"Why a node refused it"`
}
