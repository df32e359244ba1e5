package settlement

import (
	"fmt"
	"net/http"
	"time"
)

// Problem is an error that somebody outside caused. Type is stable: programs
// branch on it. Detail is a sentence that names the field and the rule. Any
// other error of this package is ours, and says nothing to outsiders.
type Problem struct {
	Type   string
	Status int    // of HTTP
	Title  string // the same for every problem of the type
	Detail string
	Field  string        // the part of the request that broke the rule; "" where it is all of it
	Retry  time.Duration // when asking again may help; 0 where it will not
}

// Error returns the detail.
func (p *Problem) Error() string { return p.Type + ": " + p.Detail }

// The stable types of problems.
const (
	ProblemMalformedEnvelope  = "malformed-envelope"
	ProblemMalformedStatement = "malformed-statement"
	ProblemMalformedJSON      = "malformed-json"
	ProblemBodyTooLarge       = "body-too-large"
	ProblemUnknownKind        = "unknown-kind"
	ProblemWrongSignature     = "wrong-signature"
	ProblemWrongNetwork       = "wrong-network"
	ProblemWrongAck           = "wrong-ack"
	ProblemWeakKey            = "weak-key"
	ProblemUnknownWorker      = "unknown-worker"
	ProblemUnknownDelegation  = "unknown-delegation"
	ProblemForeignDelegation  = "foreign-delegation"
	ProblemDelegationExpired  = "delegation-expired"
	ProblemDelegationRevoked  = "delegation-revoked"
	ProblemUnknownInventory   = "unknown-inventory"
	ProblemWrongDeviceCount   = "wrong-device-count"
	ProblemDeviceBound        = "device-bound"
	ProblemDeviceNotBound     = "device-not-bound"
	ProblemStaleBeacon        = "stale-beacon"
	ProblemForeignBeacon      = "foreign-beacon"
	ProblemBeaconNotReady     = "beacon-not-ready"
	ProblemEpochClosed        = "epoch-closed"
	ProblemFutureSample       = "future-sample"
	ProblemTooManyStatements  = "too-many-statements"
	ProblemNoPriceAsked       = "no-price-asked"
	ProblemForeignPrice       = "foreign-price"
	ProblemOnePriceAnEpoch    = "one-price-an-epoch"
	ProblemUnknownPrice       = "unknown-price"
	ProblemUnknownEpoch       = "unknown-epoch"
	ProblemUnknownDevice      = "unknown-device"
	ProblemNothingToClaim     = "nothing-to-claim"
	ProblemClaimChanged       = "claim-changed"
	ProblemClaimExpired       = "claim-expired"
	ProblemNotYourClaim       = "not-your-claim"
	ProblemUnknownClaim       = "unknown-claim"
	ProblemClaimWouldFail     = "claim-would-fail"
	ProblemClaimPending       = "claim-pending"
	ProblemNoOffers           = "no-offers"
	ProblemMalformedPolicy    = "malformed-policy"
	ProblemPolicyVersion      = "policy-version"
	ProblemPolicyEpoch        = "policy-epoch"
	ProblemForeignPolicy      = "foreign-policy"
	ProblemWrongClock         = "wrong-clock"
	ProblemUnknownReference   = "unknown-reference"
	ProblemUnknownWithdrawal  = "unknown-withdrawal"
	ProblemWithdrawalExpired  = "withdrawal-expired"
	ProblemWithdrawalTaken    = "withdrawal-id-taken"
	ProblemWithdrawalSmall    = "withdrawal-too-small"
	ProblemInsufficient       = "insufficient-balance"
	ProblemUnknownSession     = "unknown-session"
	ProblemForeignSession     = "foreign-session"
	ProblemWrongChannel       = "wrong-channel"
	ProblemNoTopUp            = "no-top-up"
	ProblemAboveReserve       = "above-reserve"
	ProblemOfferPassed        = "offer-passed"
	ProblemModelNotOffered    = "model-not-offered"
	ProblemPriceAboveCap      = "price-above-cap"
	ProblemWrongFee           = "wrong-fee"
	ProblemVoucher            = "voucher"
	ProblemAboveLimit         = "above-limit"
	ProblemExpired            = "expired"
	ProblemClosed             = "closed"
	ProblemReplay             = "replay"
	ProblemNoResponseHash     = "no-response-hash"
	ProblemNoFee              = "no-fee"
	ProblemOverlap            = "overlap"
	ProblemNotLeader          = "not-leader"
	ProblemUnknownChannel     = "unknown-channel"
	ProblemUnknownReceipt     = "unknown-receipt"
	ProblemUnknownDispute     = "unknown-dispute"
	ProblemOtherWorker        = "other-worker"
	ProblemNotYourReceipt     = "not-your-receipt"
	ProblemNothingToDispute   = "nothing-to-dispute"
	ProblemWrongAnswer        = "wrong-answer"
	ProblemRateLimited        = "rate-limited"
	ProblemBusy               = "busy"
)

var problemTypes = map[string]struct {
	status int
	title  string
}{
	ProblemMalformedEnvelope:  {http.StatusBadRequest, "The envelope is malformed"},
	ProblemMalformedStatement: {http.StatusUnprocessableEntity, "The statement's body is malformed"},
	ProblemMalformedJSON:      {http.StatusBadRequest, "The request is not the JSON that is expected"},
	ProblemBodyTooLarge:       {http.StatusRequestEntityTooLarge, "The request is too large"},
	ProblemUnknownKind:        {http.StatusUnprocessableEntity, "The kind of statement is not accepted"},
	ProblemWrongSignature:     {http.StatusForbidden, "The signature does not verify"},
	ProblemWrongNetwork:       {http.StatusConflict, "The statement is of another network"},
	ProblemWrongAck:           {http.StatusUnprocessableEntity, "The presented ack is not ours for this statement"},
	ProblemWeakKey:            {http.StatusUnprocessableEntity, "The key is not fit for signing"},
	ProblemUnknownWorker:      {http.StatusNotFound, "The worker is not known"},
	ProblemUnknownDelegation:  {http.StatusNotFound, "The delegation is not known"},
	ProblemForeignDelegation:  {http.StatusForbidden, "The delegation belongs to somebody else"},
	ProblemDelegationExpired:  {http.StatusForbidden, "The delegation is not in force at this time"},
	ProblemDelegationRevoked:  {http.StatusForbidden, "The delegation was revoked"},
	ProblemUnknownInventory:   {http.StatusNotFound, "The inventory is not known"},
	ProblemWrongDeviceCount:   {http.StatusUnprocessableEntity, "The number of devices differs from the inventory's"},
	ProblemDeviceBound:        {http.StatusConflict, "The device is bound to another worker"},
	ProblemDeviceNotBound:     {http.StatusConflict, "The device is not bound to this worker"},
	ProblemStaleBeacon:        {http.StatusUnprocessableEntity, "The beacon's block is not of this sample"},
	ProblemForeignBeacon:      {http.StatusUnprocessableEntity, "The beacon is not a finalized block of this cluster"},
	ProblemBeaconNotReady:     {http.StatusNotFound, "The sample has no finalized block yet"},
	ProblemEpochClosed:        {http.StatusGone, "The epoch is closed"},
	ProblemFutureSample:       {http.StatusTooEarly, "The sample has not begun"},
	ProblemTooManyStatements:  {http.StatusConflict, "There are too many statements"},
	ProblemNoPriceAsked:       {http.StatusConflict, "The epoch's policy asks for no price"},
	ProblemForeignPrice:       {http.StatusForbidden, "The price is not by the key that the policy names"},
	ProblemOnePriceAnEpoch:    {http.StatusConflict, "The epoch has a price already"},
	ProblemUnknownPrice:       {http.StatusNotFound, "The epoch has no price"},
	ProblemUnknownEpoch:       {http.StatusNotFound, "The epoch has no books yet"},
	ProblemUnknownDevice:      {http.StatusNotFound, "The device is not in the epoch's books"},
	ProblemNothingToClaim:     {http.StatusConflict, "There is nothing to claim"},
	ProblemClaimChanged:       {http.StatusConflict, "The claim is not the one that was prepared"},
	ProblemClaimExpired:       {http.StatusGone, "The claim can no longer land"},
	ProblemNotYourClaim:       {http.StatusForbidden, "The claim is another wallet's"},
	ProblemUnknownClaim:       {http.StatusNotFound, "The claim is not known"},
	ProblemClaimWouldFail:     {http.StatusConflict, "The claim would fail on chain"},
	ProblemClaimPending:       {http.StatusConflict, "A claim of the wallet is on its way"},
	ProblemNoOffers:           {http.StatusConflict, "Claims are signed by their wallets first"},
	ProblemMalformedPolicy:    {http.StatusUnprocessableEntity, "The policy file is not fit"},
	ProblemPolicyVersion:      {http.StatusConflict, "The policy's version was passed already"},
	ProblemPolicyEpoch:        {http.StatusUnprocessableEntity, "The policy can't rule from that epoch on"},
	ProblemForeignPolicy:      {http.StatusForbidden, "Policies are announced by the operator alone"},
	ProblemWrongClock:         {http.StatusServiceUnavailable, "Our clock is not the chain's"},
	ProblemUnknownReference:   {http.StatusNotFound, "The deposit reference is not known"},
	ProblemUnknownWithdrawal:  {http.StatusNotFound, "The withdrawal is not known"},
	ProblemWithdrawalExpired:  {http.StatusGone, "The withdrawal's time has passed"},
	ProblemWithdrawalTaken:    {http.StatusConflict, "The id is another withdrawal's"},
	ProblemWithdrawalSmall:    {http.StatusUnprocessableEntity, "The withdrawal is too small"},
	ProblemInsufficient:       {http.StatusConflict, "The balance does not suffice"},
	ProblemUnknownSession:     {http.StatusNotFound, "The session is not known"},
	ProblemForeignSession:     {http.StatusForbidden, "The session belongs to another key"},
	ProblemWrongChannel:       {http.StatusUnprocessableEntity, "The channel is not the address that its opening derives"},
	ProblemNoTopUp:            {http.StatusConflict, "The channel is open already"},
	ProblemAboveReserve:       {http.StatusConflict, "The session's reserve does not suffice"},
	ProblemOfferPassed:        {http.StatusConflict, "The worker has a newer offer"},
	ProblemModelNotOffered:    {http.StatusConflict, "The worker's offer does not have this model at this price"},
	ProblemPriceAboveCap:      {http.StatusForbidden, "The price is above what the session allows"},
	ProblemWrongFee:           {http.StatusUnprocessableEntity, "The fee is not what the units cost"},
	ProblemVoucher:            {http.StatusForbidden, "The voucher does not pay for the job"},
	ProblemAboveLimit:         {http.StatusConflict, "The channel's limit is spent"},
	ProblemExpired:            {http.StatusGone, "Its time has passed, or has not come"},
	ProblemClosed:             {http.StatusGone, "The channel or session is closed"},
	ProblemReplay:             {http.StatusConflict, "The job was paid already"},
	ProblemNoResponseHash:     {http.StatusUnprocessableEntity, "The job does not name its request and response"},
	ProblemNoFee:              {http.StatusUnprocessableEntity, "A job without a fee has no receipt"},
	ProblemOverlap:            {http.StatusConflict, "Another job spent this part of the channel"},
	ProblemNotLeader:          {http.StatusServiceUnavailable, "Another instance leads at the moment"},
	ProblemUnknownChannel:     {http.StatusNotFound, "The channel is not known"},
	ProblemUnknownReceipt:     {http.StatusNotFound, "There is no such receipt"},
	ProblemUnknownDispute:     {http.StatusNotFound, "The dispute is not known"},
	ProblemOtherWorker:        {http.StatusForbidden, "The channel pays another worker"},
	ProblemNotYourReceipt:     {http.StatusForbidden, "The receipt is another renter's"},
	ProblemNothingToDispute:   {http.StatusConflict, "The statements do not contradict each other"},
	ProblemWrongAnswer:        {http.StatusUnprocessableEntity, "The answer does not prove what the batch holds"},
	ProblemRateLimited:        {http.StatusTooManyRequests, "The worker sends too much"},
	ProblemBusy:               {http.StatusTooManyRequests, "The service is busy"},
}

// NewProblem makes a problem of a type of the table; field may be "".
func NewProblem(kind, field, format string, args ...any) *Problem {
	t := problemTypes[kind]
	return &Problem{Type: kind, Status: t.status, Title: t.title, Detail: fmt.Sprintf(format, args...), Field: field}
}

// after says when asking again may help.
func (p *Problem) after(d time.Duration) *Problem {
	p.Retry = d
	return p
}
