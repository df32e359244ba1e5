package settlement

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// Strangers who ask for references in very many names keep nobody from paying in: what
// is given out beyond the bound is understood by the transfer that names it, and leaves
// neither row nor file before.
func TestReferencesBeyondTheBound(t *testing.T) {
	m := newMachine(t)
	m.funded()
	early := chain.PublicOf(keyOf("early"))
	m.payIn(early, 5)
	m.exec(`INSERT INTO deposit_references (reference, wallet, nonce, created_at, asked_at)
SELECT sha256(n::text::bytea), sha256(('w' || n)::bytea), substring(sha256(n::text::bytea) FOR 16), $1, $1 FROM generate_series(1, $2::int) AS n`, time.Unix(handTime.Load(), 0), maxReferences)
	network := m.net.Network.ID()
	rows := func() int { return m.count(`SELECT count(*) FROM deposit_references`) }
	before := rows()
	other := chain.PublicOf(keyOf("paid by another"))
	for _, c := range []struct {
		name   string
		wallet ionet.Key
		named  []ionet.Key // beside the reference
	}{
		{"the payer's own", m.alice.payout, nil},
		{"another's, which the transfer names", other, []ionet.Key{other}},
	} {
		r := m.request(c.wallet)
		if r.Reference != proofs.FirstDeposit(network, c.wallet).Reference() || rows() != before {
			t.Fatalf("%s: reference %s, %d rows more", c.name, r.Reference, rows()-before)
		}
		u, err := url.Parse(strings.Replace(r.URL, "solana:", "solana://", 1))
		if err != nil || len(u.Query()["reference"]) != 2 || u.Query()["reference"][1] != c.wallet.String() {
			t.Errorf("%s: %s does not name the wallet, %v", c.name, r.URL, err)
		}
		_, err = m.Deposit(t.Context(), r.Reference)
		wantProblem(t, err, ProblemUnknownReference)
		m.lands(m.wallet[m.alice.payout], false, m.in(m.alice.payout, transfer{m.net.Network.Vaults.Fee, 7, append([]ionet.Key{r.Reference}, c.named...)}))
		m.until(c.name+" is credited", func() bool { return m.renter(c.wallet) == 7 })
		file, err := m.store.Get(t.Context(), publish.DepositName(r.Reference))
		if err != nil {
			t.Fatal(err)
		}
		if d, err := proofs.ParseDeposit(network, r.Reference, file); err != nil || d.Wallet != c.wallet {
			t.Errorf("%s: published is %+v, %v", c.name, d, err)
		}
		if got, err := m.Deposit(t.Context(), r.Reference); err != nil || len(got.Deposits) != 1 {
			t.Errorf("%s: asked again: %+v, %v", c.name, got, err)
		}
		before++
	}
	// Who has used his first one has it again.
	if r := m.request(early); r.Reference != proofs.FirstDeposit(network, early).Reference() || rows() != before {
		t.Errorf("a renter of before gets %s, %d rows more", r.Reference, rows()-before)
	}
	m.goTo(handTime.Load() + 3601)
	m.fenceUp()
	if r := m.request(early); r.Reference == proofs.FirstDeposit(network, early).Reference() {
		t.Error("with room again a renter gets the reference that was used")
	}
	m.checkVaults()
}
