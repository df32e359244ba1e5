package web

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/settlement"
)

type depositInput struct{ Body client.DepositAsk }

type referenceInput struct {
	Reference ionet.Key `path:"reference" doc:"base58"`
}

type withdrawalInput struct{ Body client.WithdrawalSubmission }

type idInput struct {
	ID client.ID `path:"id" doc:"32 hexadecimal digits"`
}

// renters registers what renters ask for, and how the service is.
func (h *handler) renters(api huma.API) {
	register(h, api, http.MethodPost, "/v1/deposits", "Get a reference to pay in with", h.requestDeposit)
	get(h, api, "/v1/deposits/{reference}", "What came in with a reference", h.deposit)
	register(h, api, http.MethodPost, "/v1/withdrawals", "Hand in a signed withdrawal", h.submitWithdrawal)
	get(h, api, "/v1/withdrawals/{id}", "Where a withdrawal stands", h.withdrawal)
	get(h, api, "/v1/renters/{key}", "What a wallet prepaid and has not spent", h.renter)
	get(h, api, "/v1/health", "Whether the service settles, and why not", h.health)
}

func (h *handler) requestDeposit(ctx context.Context, in *depositInput) (client.DepositRequest, error) {
	r, err := h.service.RequestDeposit(ctx, in.Body.Wallet)
	return h.wireRequest(r), err
}

func (h *handler) deposit(ctx context.Context, in *referenceInput) (client.DepositRequest, error) {
	r, err := h.service.Deposit(ctx, in.Reference)
	return h.wireRequest(r), err
}

func (h *handler) wireRequest(r settlement.DepositRequest) client.DepositRequest {
	n := h.service.Network()
	return client.DepositRequest{
		Wallet: r.Wallet, Reference: r.Reference, Recipient: r.Recipient, Vault: r.Vault, Mint: n.Mint, Decimals: n.Decimals, URL: r.URL,
		Deposits: wireDeposits(r.Deposits),
	}
}

func wireDeposits(list []settlement.Deposit) []client.Deposit {
	out := make([]client.Deposit, len(list))
	for i, d := range list {
		out[i] = client.Deposit{
			Signature: d.Signature.String(), Outer: d.Place.Outer, Inner: d.Place.Inner, Sub: d.Place.Sub, Mint: d.Mint, Amount: d.Amount,
			Slot: d.Slot, Time: d.Time, State: string(d.State), Renter: d.Renter, Reference: d.Reference, Reason: d.Reason,
		}
	}
	return out
}

func (h *handler) submitWithdrawal(ctx context.Context, in *withdrawalInput) (client.Withdrawal, error) {
	e, err := oneEnvelope("statement", in.Body.Statement)
	if err != nil {
		return client.Withdrawal{}, err
	}
	w, err := h.service.SubmitWithdrawal(ctx, e)
	return wireWithdrawal(w), err
}

func (h *handler) withdrawal(ctx context.Context, in *idInput) (client.Withdrawal, error) {
	w, err := h.service.WithdrawalOf(ctx, in.ID)
	return wireWithdrawal(w), err
}

func wireWithdrawal(w settlement.Withdrawal) client.Withdrawal {
	out := client.Withdrawal{
		ID: w.Payment, Renter: w.Renter, Request: w.ID, Amount: w.Amount, To: w.To, Asked: w.Asked.Unix(), Expires: w.Expires,
		State: string(w.State), Signed: w.Signed, Reason: w.Reason, Slot: w.Slot,
	}
	if !w.Signature.IsZero() {
		out.Signature = w.Signature.String()
	}
	return out
}

func (h *handler) renter(ctx context.Context, in *keyInput) (client.Renter, error) {
	r, err := h.service.Renter(ctx, in.Key)
	if err != nil {
		return client.Renter{}, err
	}
	withdrawals, err := h.service.WithdrawalsOf(ctx, in.Key)
	if err != nil {
		return client.Renter{}, err
	}
	sessions, err := h.service.SessionsOf(ctx, in.Key)
	out := client.Renter{
		Wallet: in.Key, Balance: r.Balance, Reserved: r.Reserved, Withdrawing: r.Withdrawing, Decimals: h.service.Network().Decimals,
		Deposits: wireDeposits(r.Deposits), Withdrawals: make([]client.Withdrawal, len(withdrawals)), Sessions: []client.Session{},
	}
	for i, w := range withdrawals {
		out.Withdrawals[i] = wireWithdrawal(w)
	}
	for _, s := range sessions {
		if s.Renter == in.Key { // not those that the wallet is a key of alone
			out.Sessions = append(out.Sessions, wireSession(s))
		}
	}
	return out, err
}

func (h *handler) health(ctx context.Context, _ *nothing) (client.Health, error) {
	v, err := h.service.Health(ctx)
	out := client.Health{Ready: v.Ready, Halted: v.Halted, Receipts: v.Receipts, Standings: make([]client.Standing, len(v.Standings))}
	for i, st := range v.Standings {
		out.Standings[i] = client.Standing{Account: st.Account, Books: st.Books, Held: st.Held, Booked: st.Booked, Note: st.Note, Slot: st.Slot}
	}
	return out, err
}
