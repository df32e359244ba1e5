package web

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/client"
	"github.com/ionet-settlement/ionet/proofs"
)

// ready makes passes until the service may sign.
func (h *house) ready(api *client.Client) {
	h.t.Helper()
	for range 1000 {
		if v, err := api.Health(h.t.Context()); err == nil && v.Ready {
			return
		}
		check(h.t, h.service.Settle(h.t.Context()))
		time.Sleep(5 * time.Millisecond)
	}
	h.t.Fatal("the service does not get ready")
}

func TestRentersDoors(t *testing.T) {
	h := open(t)
	ctx := t.Context()
	api, err := client.New(client.Config{Server: h.url})
	check(t, err)
	h.ready(api)
	secret := keyOf("renter")
	wallet := chain.PublicOf(secret)

	r, err := api.RequestDeposit(ctx, wallet)
	check(t, err)
	if chain.TokenAccount(r.Recipient, h.network.Mint) != h.network.Vaults.Fee || !strings.HasPrefix(r.URL, "solana:"+r.Recipient.String()+"?") ||
		!strings.Contains(r.URL, "reference="+r.Reference.String()) || !strings.Contains(r.URL, "spl-token="+h.network.Mint.String()) {
		t.Errorf("request %+v is not one to pay the fee vault", r)
	}
	file, err := api.File(ctx, "deposits/"+r.Reference.String())
	check(t, err)
	if d, err := proofs.ParseDeposit(h.network.ID(), r.Reference, file); err != nil || d.Wallet != wallet {
		t.Errorf("the published reference is %+v, %v", d, err)
	}
	if again, err := api.Deposit(ctx, r.Reference); err != nil || again.Wallet != wallet || len(again.Deposits) != 0 {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	if _, err := api.Deposit(ctx, ionet.Key{7}); !client.IsProblem(err, client.UnknownReference) {
		t.Errorf("an unknown reference: %v", err)
	}
	if _, err := api.RequestDeposit(ctx, ionet.Key{}); !client.IsProblem(err, client.WeakKey) {
		t.Errorf("a key of small order: %v", err)
	}
	if v, err := api.Renter(ctx, wallet); err != nil || !v.Balance.IsZero() || v.Wallet != wallet {
		t.Errorf("renter %+v, %v", v, err)
	}
	if _, err := api.Withdrawal(ctx, client.ID{1}); !client.IsProblem(err, client.UnknownWithdrawal) {
		t.Errorf("an unknown withdrawal: %v", err)
	}
	text, err := proofs.Withdrawal{Renter: wallet, ID: [16]byte{1}, Amount: ionet.MustAmount(5), To: wallet, Expires: time.Now().Add(time.Hour).Unix()}.Text(h.network.ID())
	check(t, err)
	if _, err := api.SubmitWithdrawal(ctx, proofs.Sign(h.network.ID(), proofs.KindWithdrawal, secret, []byte(text))); !client.IsProblem(err, client.Insufficient) {
		t.Errorf("a withdrawal of one who paid nothing: %v", err)
	}
	if _, err := api.SubmitWithdrawal(ctx, proofs.Sign(h.network.ID(), proofs.KindWithdrawal, secret, []byte("give me all"))); !client.IsProblem(err, client.MalformedStatement) {
		t.Errorf("another text: %v", err)
	}
	if _, err := api.SubmitWithdrawal(ctx, proofs.Sign(h.network.ID(), proofs.KindSession, secret, []byte(text))); !client.IsProblem(err, client.UnknownKind) {
		t.Errorf("another kind: %v", err)
	}
	for body, want := range map[string]string{`{"statement":"AAAA"}`: client.MalformedEnvelope, `{"statement":7}`: client.MalformedJSON, `{`: client.MalformedJSON} {
		answer, err := http.Post(h.url+"/v1/withdrawals", "application/json", strings.NewReader(body))
		check(t, err)
		var b bytes.Buffer
		_, err = b.ReadFrom(answer.Body)
		answer.Body.Close()
		check(t, err)
		if !strings.Contains(b.String(), client.ProblemPrefix+want) {
			t.Errorf("%s: %s, want %s", body, &b, want)
		}
	}
}
