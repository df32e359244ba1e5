package client

import (
	"context"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/proofs"
)

// DepositAsk asks for a reference to pay in with.
type DepositAsk struct {
	Wallet ionet.Key `json:"wallet" doc:"Who is credited; anybody may pay"`
}

// DepositRequest is what a wallet needs to pay in, and what came in with it.
type DepositRequest struct {
	Wallet    ionet.Key `json:"wallet" doc:"Who is credited"`
	Reference ionet.Key `json:"reference" doc:"The transfer must name it, as a read-only account that does not sign"`
	Recipient ionet.Key `json:"recipient" doc:"Wallet that owns the fee vault"`
	Vault     ionet.Key `json:"vault" doc:"Its token account, where the tokens go"`
	Mint      ionet.Key `json:"mint"`
	Decimals  int       `json:"decimals"`
	URL       string    `json:"url" doc:"Solana Pay transfer request; add amount= in tokens"`
	Deposits  []Deposit `json:"deposits" doc:"What came in with the reference, finally, the latest first"`
}

// States of a deposit.
const (
	DepositCredited = "credited" // to its renter's balance
	DepositSuspense = "suspense" // kept, but nobody knows whose it is; see reason
)

// Deposit is one credit of an account of the network by others.
type Deposit struct {
	Signature string    `json:"signature" doc:"Of the transaction, base58"`
	Outer     int       `json:"outer" doc:"Index of the instruction; -1: the change of a balance as a whole"`
	Inner     int       `json:"inner" doc:"0: the instruction itself; n: the n-th that it called"`
	Sub       int       `json:"sub" doc:"Index in a batch"`
	Mint      ionet.Key `json:"mint" doc:"Zeros: lamports"`
	Amount    uint64    `json:"amount,string" doc:"Base units of the mint"`
	Slot      uint64    `json:"slot"`
	Time      int64     `json:"time" doc:"Block time, Unix seconds"`
	State     string    `json:"state" enum:"credited,suspense"`
	Renter    ionet.Key `json:"renter" doc:"Zeros in suspense"`
	Reference ionet.Key `json:"reference" doc:"Zeros where it names none"`
	Reason    string    `json:"reason,omitempty" doc:"Why it is in suspense"`
}

// WithdrawalSubmission hands in a withdrawal that a renter's wallet has signed.
type WithdrawalSubmission struct {
	Statement []byte `json:"statement" doc:"Envelope of the withdrawal; proofs/FORMAT.md sections 3 and 4"`
}

// States of a withdrawal.
const (
	WithdrawalIsAccepted = "accepted" // its amount is reserved; to be paid, or on its way
	WithdrawalIsPaid     = "paid"     // final on chain
	WithdrawalIsExpired  = "expired"  // not paid in time: the balance has it again
)

// Withdrawal is where a withdrawal stands.
type Withdrawal struct {
	ID        ID           `json:"id" doc:"What the payment's memo names: the first half of the statement's id"`
	Renter    ionet.Key    `json:"renter"`
	Request   ID           `json:"request" doc:"The id in the statement"`
	Amount    ionet.Amount `json:"amount" doc:"Base units"`
	To        ionet.Key    `json:"to" doc:"Wallet that is paid"`
	Asked     int64        `json:"asked" doc:"When it was accepted, Unix seconds"`
	Expires   int64        `json:"expires" doc:"Unix seconds; it is not signed after that"`
	State     string       `json:"state" enum:"accepted,paid,expired"`
	Signed    bool         `json:"signed" doc:"A signed transaction carries it, whose outcome is open"`
	Reason    string       `json:"reason,omitempty" doc:"Why it is not paid yet"`
	Signature string       `json:"signature,omitempty" doc:"Of the transaction that paid it, base58"`
	Slot      uint64       `json:"slot,omitempty"`
}

// Renter is what a wallet prepaid and has not spent.
type Renter struct {
	Wallet      ionet.Key    `json:"wallet"`
	Balance     ionet.Amount `json:"balance" doc:"May be spent or withdrawn, base units"`
	Reserved    ionet.Amount `json:"reserved" doc:"In sessions and their channels: neither spent nor back yet"`
	Withdrawing ionet.Amount `json:"withdrawing" doc:"Asked back and not final yet"`
	Decimals    int          `json:"decimals" doc:"Decimals of the token"`
	Deposits    []Deposit    `json:"deposits" doc:"The latest first"`
	Withdrawals []Withdrawal `json:"withdrawals" doc:"The latest first"`
	Sessions    []Session    `json:"sessions" doc:"The latest first"`
}

// Health is whether the service settles, and why not.
type Health struct {
	Ready     bool       `json:"ready" doc:"This instance leads, and its lanes are fenced"`
	Halted    string     `json:"halted,omitempty" doc:"Why nothing, or no debt, is signed, whoever leads"`
	Receipts  string     `json:"receipts,omitempty" doc:"Why nothing is taken into the receipt log: it lacks or contradicts what is published or sealed"`
	Standings []Standing `json:"standings" doc:"Vaults that differ from the books, or whose history is not read yet"`
}

// Standing is how a vault stands against the books.
type Standing struct {
	Account ionet.Key    `json:"account"`
	Books   string       `json:"books" doc:"Its account in the ledger"`
	Held    ionet.Amount `json:"held" doc:"By the chain, base units"`
	Booked  ionet.Amount `json:"booked" doc:"By the ledger"`
	Note    string       `json:"note"`
	Slot    uint64       `json:"slot" doc:"Finalized slot at which that was so"`
}

// RequestDeposit returns a reference to pay in with for wallet. While nothing came in
// with it the same wallet gets the same one.
func (c *Client) RequestDeposit(ctx context.Context, wallet ionet.Key) (r DepositRequest, err error) {
	return r, c.post(ctx, DepositAsk{wallet}, &r, "/v1/deposits")
}

// Deposit returns what came in with a reference, or a *Problem UnknownReference.
func (c *Client) Deposit(ctx context.Context, reference ionet.Key) (r DepositRequest, err error) {
	return r, c.get(ctx, &r, "/v1/deposits/%s", reference)
}

// SubmitWithdrawal hands in a signed withdrawal; the same one again is answered with
// where it stands.
func (c *Client) SubmitWithdrawal(ctx context.Context, statement proofs.Envelope) (w Withdrawal, err error) {
	return w, c.post(ctx, WithdrawalSubmission{statement.Append(nil)}, &w, "/v1/withdrawals")
}

// Withdrawal returns where a withdrawal stands, or a *Problem UnknownWithdrawal.
func (c *Client) Withdrawal(ctx context.Context, id ID) (w Withdrawal, err error) {
	return w, c.get(ctx, &w, "/v1/withdrawals/%s", id)
}

// Renter returns what a wallet prepaid and has not spent.
func (c *Client) Renter(ctx context.Context, wallet ionet.Key) (r Renter, err error) {
	return r, c.get(ctx, &r, "/v1/renters/%s", wallet)
}

// Health returns whether the service settles.
func (c *Client) Health(ctx context.Context) (h Health, err error) {
	return h, c.get(ctx, &h, "/v1/health")
}
