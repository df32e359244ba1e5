package settlement

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// instruction is one of any program; the accounts' names say what they may: s signs, w
// is written.
func instruction(program ionet.Key, data []byte, accounts ...any) solana.Instruction {
	var metas []*solana.AccountMeta
	for i := 0; i < len(accounts); i += 2 {
		may := accounts[i+1].(string)
		metas = append(metas, solana.NewAccountMeta(solana.PublicKey(accounts[i].(ionet.Key)), strings.Contains(may, "w"), strings.Contains(may, "s")))
	}
	return solana.NewInstruction(solana.PublicKey(program), metas, data)
}

var associate = ionet.Key(solana.SPLAssociatedTokenAccountProgramID)

func createAccount(payer, wallet, mint ionet.Key) solana.Instruction {
	return instruction(associate, []byte{1}, payer, "sw", chain.TokenAccount(wallet, mint), "w", wallet, "", mint, "", ionet.Key{}, "", chain.TokenProgram(), "")
}

// A transfer that another program makes is a credit as any other: here the Associated
// Token Account program moves what somebody sent to a nested account of the vault.
func TestDepositByAnotherProgram(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	n := m.net.Network
	fees, fee := n.Keys.Fees, n.Vaults.Fee
	if _, err := m.node.Airdrop(solana.PublicKey(fees), 1_000_000_000); err != nil {
		t.Fatal(err)
	}
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	nested := chain.TokenAccount(fee, n.Mint)
	m.lands(m.wallet[a.payout], false, createAccount(a.payout, fee, n.Mint), m.in(a.payout, transfer{nested, 55, nil}))
	names := instruction(ionet.Key{}, append([]byte{2, 0, 0, 0}, make([]byte, 8)...), fees, "sw", a.payout, "w", r.Reference, "")
	recoverNested := instruction(associate, []byte{2}, nested, "w", n.Mint, "", fee, "w", fee, "", n.Mint, "", fees, "sw", chain.TokenProgram(), "")
	m.lands(m.net.Keys.Fees, false, names, recoverNested)
	m.pass()
	if got := m.renter(wallet); got != 55 {
		t.Errorf("credited %d, want 55", got)
	}
	if n := m.count(`SELECT count(*) FROM deposits WHERE inner_index > 0`); n != 1 {
		t.Errorf("%d credits by a called instruction, want 1", n)
	}
	m.checkVaults()
}

// Another mint's tokens, tokens in another account of the vault's owner, and lamports
// are found by the reference that they name, and kept in sight.
func TestStrays(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	n := m.net.Network
	key, fees := m.wallet[a.payout], n.Keys.Fees
	r := m.request(chain.PublicOf(keyOf("renter")))
	mintKey := keyOf("another mint")
	mint := chain.PublicOf(mintKey)
	rent, err := m.clean.MinimumRent(t.Context(), chain.MintSize)
	if err != nil {
		t.Fatal(err)
	}
	create := binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64([]byte{0, 0, 0, 0}, rent), chain.MintSize)
	program := chain.TokenProgram()
	create = append(create, program[:]...)
	initialize := append(append([]byte{20, 0}, a.payout[:]...), 0)
	m.landsBy([]ed25519.PrivateKey{key, mintKey}, false,
		instruction(ionet.Key{}, create, a.payout, "sw", mint, "sw"),
		instruction(program, initialize, mint, "w"),
		createAccount(a.payout, fees, mint),
		instruction(program, binary.LittleEndian.AppendUint64([]byte{7}, 1<<63+5), mint, "w", chain.TokenAccount(fees, mint), "w", a.payout, "s", r.Reference, ""))
	m.lands(key, false, instruction(ionet.Key{}, binary.LittleEndian.AppendUint64([]byte{2, 0, 0, 0}, 2_000_000), a.payout, "sw", fees, "w", r.Reference, ""))
	m.until("both are found", func() bool {
		m.goTo(handTime.Load() + 11)
		got, err := m.Deposit(t.Context(), r.Reference)
		return err == nil && len(got.Deposits) == 2
	})
	got, err := m.Deposits(t.Context(), false, 10)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range got {
		if d.State != DepositSuspense || d.Reference != r.Reference || d.Mint != mint && !d.Mint.IsZero() || d.Mint == mint && d.Amount != 1<<63+5 {
			t.Errorf("stray %+v", d)
		}
	}
	if b := m.balance(ledger.Suspense()); b != 0 || len(got) != 2 {
		t.Errorf("%d in the ledger's suspense, %d strays; want 0 and 2", b, len(got))
	}
	m.checkVaults()
}

// An endpoint that tells of more than came in, alone, credits nobody and stops nothing.
func TestOneEndpointCreditsNobody(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	var lies atomic.Bool
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		resp, err := http.Post(m.node.URL(), "application/json", req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		answer, err := io.ReadAll(resp.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		if lies.Load() {
			answer = bytes.ReplaceAll(answer, []byte(`"amount":"123"`), []byte(`"amount":"987"`))
		}
		w.Write(answer)
	}))
	t.Cleanup(liar.Close)
	client, err := rpc.New(rpc.Config{Endpoints: []string{liar.URL, m.node.URL()}, Transport: m.wires, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	m.openOn(m.wires.pool(t, m.url), client)
	m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
	m.fenceUp()
	lies.Store(true)
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{m.net.Network.Vaults.Fee, 123, []ionet.Key{r.Reference}}))
	for range 3 {
		if err := m.Settle(t.Context()); err != nil {
			t.Fatal(err)
		}
		m.advance(2)
	}
	if n := m.count(`SELECT count(*) FROM deposits`); n != 0 || !m.view.isReady() {
		t.Errorf("%d credits by the word of one endpoint, ready %t", n, m.view.isReady())
	}
	lies.Store(false)
	m.goTo(handTime.Load() + 11) // what can't be read is tried again after a while
	m.until("it is credited", func() bool { return m.renter(wallet) == 123 })
	m.checkVaults()
}

// A cursor that the endpoint does not know, as after a change to a pruned node, begins
// anew at the first transaction that it has.
func TestUnknownCursor(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	m.payIn(wallet, 10)
	if _, err := m.pool.Exec(t.Context(), `UPDATE scans SET signature = $1`, bytes.Repeat([]byte{9}, 64)); err != nil {
		t.Fatal(err)
	}
	m.reopen()
	m.fenceUp()
	r := m.request(wallet)
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{m.net.Network.Vaults.Fee, 5, []ionet.Key{r.Reference}}))
	m.until("it is credited", func() bool { return m.renter(wallet) == 15 })
	m.checkVaults()
}
