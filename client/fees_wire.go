package client

import "github.com/ionet-settlement/ionet"

// Types of problems of sessions, channels, jobs, receipts and disputes. Those of jobs
// are the names of the fee rules of proofs/FORMAT.md.
const (
	UnknownSession  = "unknown-session"
	UnknownChannel  = "unknown-channel"
	UnknownReceipt  = "unknown-receipt"
	UnknownDispute  = "unknown-dispute"
	AboveReserve    = "above-reserve"
	OtherWorker     = "other-worker"
	ModelNotOffered = "model-not-offered"
	PriceAboveCap   = "price-above-cap"
	WrongFee        = "wrong-fee"
	WrongVoucher    = "voucher"
	AboveLimit      = "above-limit"
	Expired         = "expired"
	Closed          = "closed"
	Replay          = "replay"
	NoResponseHash  = "no-response-hash"
	NoFee           = "no-fee"
	Overlap         = "overlap"
	Unauthorized    = "unauthorized"
	ForeignSession  = "foreign-session"
	WrongChannel    = "wrong-channel"
	NoTopUp         = "no-top-up"
	OfferPassed     = "offer-passed"

	NotYourReceipt   = "not-your-receipt"
	NothingToDispute = "nothing-to-dispute"
	WrongAnswer      = "wrong-answer"
)

// ListedOffer is the price of one model by one worker. An offer of several models is
// listed once for each.
type ListedOffer struct {
	Offer     ionet.Hash   `json:"offer" doc:"Id of the offer statement, which a job names"`
	Worker    ionet.Key    `json:"worker"`
	Endpoint  string       `json:"endpoint" doc:"URL of the worker's proxy"`
	Capacity  uint32       `json:"capacity" doc:"Requests that it serves at once"`
	Expires   int64        `json:"expires" doc:"Unix seconds"`
	Model     string       `json:"model"`
	Unit      string       `json:"unit" enum:"token,image,second,request"`
	Price     ionet.Amount `json:"price" doc:"Of per units, base units"`
	Per       uint32       `json:"per" doc:"1 or more"`
	Statement []byte       `json:"statement" doc:"Envelope of the offer, signed by the worker: who takes it from here checks it"`
}

// Offers lists prices, ascending by model, unit and price.
type Offers struct {
	Decimals int           `json:"decimals" doc:"Decimals of the token"`
	Offers   []ListedOffer `json:"offers"`
}

// States of a session and of a channel.
const (
	StateOpen    = "open"
	StateClosing = "closing" // asked to close: jobs served before count until the grace is over
	StateOver    = "over"    // what was left went back
)

// PriceCap is the most that Per units of a model may cost in a session.
type PriceCap struct {
	Model string       `json:"model"`
	Price ionet.Amount `json:"price" doc:"Of per units, base units"`
	Per   uint64       `json:"per" doc:"1 or more"`
}

// Session is a renter's word that a key may spend up to a reserve, and what became of
// the reserve. Reserve = Free + limits of channels that are not over + what was spent
// through those that are; once the session is over Free went back to the balance.
type Session struct {
	ID        ionet.Hash   `json:"id" doc:"Id of the session statement, hexadecimal"`
	Renter    ionet.Key    `json:"renter"`
	Key       ionet.Key    `json:"key" doc:"The session key"`
	Reserve   ionet.Amount `json:"reserve" doc:"Taken from the renter's balance, base units"`
	Free      ionet.Amount `json:"free" doc:"Of the reserve, in no channel"`
	Spent     ionet.Amount `json:"spent" doc:"Through all its channels"`
	Caps      []PriceCap   `json:"caps" doc:"None: any price"`
	Issued    int64        `json:"issued" doc:"As its signer says, Unix seconds"`
	Accepted  int64        `json:"accepted" doc:"When the service took it, as the receipt log says, Unix seconds"`
	Expires   int64        `json:"expires" doc:"Unix seconds"`
	State     string       `json:"state" enum:"open,closing,over"`
	ClosingAt int64        `json:"closing_at,omitempty" doc:"When closing was asked for, Unix seconds"`
	Index     uint64       `json:"index" doc:"Of its leaf in the receipt log"`
	Statement []byte       `json:"statement" doc:"Envelope of the session; handed in again it is answered with its ack"`
	Channels  []Channel    `json:"channels,omitempty" doc:"By /v1/sessions/{id} only; the first opened first"`
}

// Sessions lists sessions, the latest first.
type Sessions struct {
	Sessions []Session `json:"sessions"`
}

// Channel is one worker's part of a session: Spent of Limit.
type Channel struct {
	Channel   ionet.Key    `json:"channel"`
	Session   ionet.Hash   `json:"session"`
	Worker    ionet.Key    `json:"worker"`
	Renter    ionet.Key    `json:"renter"`
	Key       ionet.Key    `json:"key" doc:"The session key, which signs vouchers"`
	Provider  ionet.Key    `json:"provider" doc:"The wallet that delegated the worker"`
	Payee     ionet.Key    `json:"payee" doc:"The payout wallet, which is owed the fees"`
	Limit     ionet.Amount `json:"limit" doc:"Base units; of the latest opening"`
	Spent     ionet.Amount `json:"spent" doc:"after of the last job that counted"`
	Jobs      uint64       `json:"jobs" doc:"That counted; a batch as many as it holds"`
	Waiting   int          `json:"waiting" doc:"Statements of jobs that came before those they follow"`
	Expires   int64        `json:"expires" doc:"Unix seconds"`
	State     string       `json:"state" enum:"open,closing,over"`
	ClosingAt int64        `json:"closing_at,omitempty" doc:"When closing was asked for, Unix seconds"`
	Index     uint64       `json:"index" doc:"Of the leaf of its first opening in the receipt log"`
	Open      ionet.Hash   `json:"open" doc:"Id of the latest channel-open statement"`
	Statement []byte       `json:"statement" doc:"Its envelope"`
}

// SessionAsk asks for the text of a session.
type SessionAsk struct {
	Renter  ionet.Key
	Key     ionet.Key // the session key
	Reserve ionet.Amount
	Caps    []PriceCap // any order
	Issued  int64      // Unix seconds; 0: now
	Expires int64      // Unix seconds; 0: seven days after issued
}

// SessionText is what the renter's wallet signs.
type SessionText struct {
	Network ionet.Key    `json:"network" doc:"Network id, base58"`
	Renter  ionet.Key    `json:"renter"`
	Key     ionet.Key    `json:"key" doc:"The session key"`
	Reserve ionet.Amount `json:"reserve" doc:"Base units"`
	Caps    []PriceCap   `json:"caps" doc:"In the order of the text"`
	Issued  int64        `json:"issued" doc:"Unix seconds"`
	Expires int64        `json:"expires" doc:"Unix seconds"`
	Text    string       `json:"text" doc:"proofs/FORMAT.md section 4; its exact bytes are the body of the statement and what is signed"`
	ID      ionet.Hash   `json:"id" doc:"Id that the signed statement will have, hexadecimal"`
}

// States of a receipt. Each holds what the one before it has.
const (
	ReceiptLogged    = "logged"    // committed with its ledger entry
	ReceiptPublished = "published" // under a checkpoint whose tiles and entries are published
	ReceiptSealed    = "sealed"    // under a seal that is final on chain
)

// Receipt is a record of the receipt log and what proves that it is there.
type Receipt struct {
	Index     uint64            `json:"index" doc:"Of its leaf, from 0"`
	Record    []byte            `json:"record" doc:"proofs/FORMAT.md section 12; leaf = SHA-256(0x00 ‖ record)"`
	State     string            `json:"state" enum:"logged,published,sealed"`
	Published *PublishedReceipt `json:"published,omitempty" doc:"Under the newest published checkpoint"`
	Sealed    *SealedReceipt    `json:"sealed,omitempty" doc:"Under the first seal that commits to it"`
	Ack       []byte            `json:"ack,omitempty" doc:"Envelope of the service's ack of the job"`
}

// PublishedReceipt proves a leaf under a signed checkpoint.
type PublishedReceipt struct {
	Size  uint64       `json:"size" doc:"Leaves under the checkpoint"`
	Root  ionet.Hash   `json:"root"`
	Proof []ionet.Hash `json:"proof" doc:"RFC 6962 inclusion proof"`
	Note  string       `json:"note" doc:"The checkpoint as signed note, C2SP tlog-checkpoint"`
}

// SealedReceipt proves a leaf under a seal.
type SealedReceipt struct {
	LogSeal
	Proof []ionet.Hash `json:"proof" doc:"RFC 6962 inclusion proof to the seal's size and root"`
}

// LogSeal is a seal of the receipt log that is final on chain.
type LogSeal struct {
	Size      uint64       `json:"size" doc:"Leaves under it"`
	Root      ionet.Hash   `json:"root"`
	Fees      ionet.Amount `json:"fees" doc:"Of all receipts under it, base units"`
	Position  uint64       `json:"position" doc:"Of the seal lane"`
	Memo      string       `json:"memo" doc:"What the transaction says; proofs/FORMAT.md section 11"`
	Signature string       `json:"signature" doc:"Of the transaction, base58"`
	Slot      uint64       `json:"slot"`
}

// LoggedRecord is a record of the receipt log.
type LoggedRecord struct {
	Index  uint64 `json:"index" doc:"Of its leaf, from 0"`
	Record []byte `json:"record" doc:"proofs/FORMAT.md section 12"`
}

// ReceiptsPage is a part of a renter's receipts, ascending by index.
type ReceiptsPage struct {
	Renter   ionet.Key      `json:"renter"`
	Decimals int            `json:"decimals" doc:"Decimals of the token"`
	Receipts []LoggedRecord `json:"receipts"`
	Next     uint64         `json:"next,omitempty" doc:"The value of after for the page that follows; absent on the last"`
}

// Log is where the receipt log is.
type Log struct {
	Origin    string        `json:"origin" doc:"Its name in checkpoints"`
	Key       string        `json:"key" doc:"Verifier key of its signed notes"`
	Decimals  int           `json:"decimals" doc:"Decimals of the token"`
	Size      uint64        `json:"size" doc:"Leaves that are committed"`
	Fees      ionet.Amount  `json:"fees" doc:"Of all receipts, base units"`
	Jobs      uint64        `json:"jobs" doc:"That all receipts are for"`
	Root      ionet.Hash    `json:"root" doc:"Over all leaves that are committed"`
	Halted    string        `json:"halted,omitempty" doc:"Why nothing is taken into the log"`
	Published *PublishedLog `json:"published,omitempty" doc:"The newest published checkpoint; absent before the first"`
	Sealed    *LogSeal      `json:"sealed,omitempty" doc:"The newest seal that is final; absent before the first"`
}

// PublishedLog is a checkpoint: /files/log/checkpoint is its note.
type PublishedLog struct {
	Size uint64     `json:"size"`
	Root ionet.Hash `json:"root"`
	Note string     `json:"note" doc:"Signed note, C2SP tlog-checkpoint"`
}

// InclusionProof proves that the leaf at Index is in the tree of Size leaves.
type InclusionProof struct {
	Index uint64       `json:"index"`
	Size  uint64       `json:"size"`
	Proof []ionet.Hash `json:"proof" doc:"RFC 6962"`
}

// ConsistencyProof proves that the tree of To leaves begins with that of From.
type ConsistencyProof struct {
	From  uint64       `json:"from"`
	To    uint64       `json:"to"`
	Proof []ionet.Hash `json:"proof" doc:"RFC 6962"`
}

// DisputeSubmission hands in what shows that a worker signed two things of one job.
type DisputeSubmission struct {
	Dispute  []byte `json:"dispute" doc:"Envelope of the dispute, signed by the renter's wallet"`
	Response []byte `json:"response" doc:"Envelope of the worker's job statement that the renter holds"`
}

// Dispute is a dispute that was taken, with both statements of the worker.
type Dispute struct {
	ID        ionet.Hash `json:"id" doc:"Id of the dispute statement, hexadecimal"`
	Renter    ionet.Key  `json:"renter"`
	Worker    ionet.Key  `json:"worker"`
	Job       ionet.Hash `json:"job" doc:"Id of the statement in the receipt"`
	Response  ionet.Hash `json:"response" doc:"Id of the statement that the renter holds"`
	Receipt   uint64     `json:"receipt" doc:"Index of the receipt in the log"`
	State     string     `json:"state" enum:"contradiction,open,answered" doc:"contradiction: the worker signed both; open: the receipt is of a batch, and nobody has shown what that holds; answered: the batch holds the job as the renter has it"`
	Time      int64      `json:"time" doc:"When it was taken, Unix seconds"`
	File      string     `json:"file" doc:"The published evidence, under /files/: dispute, receipt's statement and response, one envelope after the other"`
	Answer    string     `json:"answer,omitempty" doc:"Published likewise: where the job stands in the batch; proofs/FORMAT.md section 13"`
	Statement []byte     `json:"statement" doc:"Envelope of the dispute"`
}

// DisputeAnswer shows where a job stands in a batch. Anybody may give it: the proof is
// all that counts.
type DisputeAnswer struct {
	Index uint32       `json:"index" doc:"Of the job in the batch, from 0"`
	Leaf  []byte       `json:"leaf" doc:"The job's record in the batch: its body with cumulative and voucher zero"`
	Path  []ionet.Hash `json:"path" maxItems:"32" doc:"RFC 6962 inclusion proof to the batch's root"`
}

// States of a dispute.
const (
	DisputeContradiction = "contradiction" // the worker signed both, and they contradict each other
	DisputeOpen          = "open"          // the receipt is of a batch: who shows what it holds ends the dispute
	DisputeAnswered      = "answered"      // the batch holds the job as the renter has it
)
