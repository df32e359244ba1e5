package settlement

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mr-tron/base58"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// betweenTwo opens the service behind two endpoints, whose answers twist may change; first
// tells which of them answers.
func (m *machine) betweenTwo(twist func(method string, first bool, answer []byte) []byte) {
	m.t.Helper()
	one := m.node.URL()
	two := (&liar{}).serve(m.t.(*testing.T), one)
	client, err := rpc.New(rpc.Config{Endpoints: []string{one, two}, Transport: m.wires, Pause: time.Millisecond, Rounds: 1})
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(client.Close)
	m.wires.Twist(func(method, endpoint string, answer []byte) []byte {
		return twist(method, !strings.HasPrefix(endpoint, two), answer)
	})
	m.openOn(m.wires.pool(m.t, m.url), client)
	m.goTo(handTime.Load() + max(int64(m.cfg.LeaseTime/time.Second), testGrace) + 1)
	m.fenceUp()
}

// later makes passes, each eleven seconds after the last.
func (m *machine) later(passes int) {
	m.t.Helper()
	for range passes {
		m.goTo(handTime.Load() + 11)
		m.pass()
	}
}

// edited lets f change the result of an answer that has one.
func edited(answer []byte, f func(result map[string]any)) []byte {
	var r map[string]any
	if json.Unmarshal(answer, &r) != nil {
		return answer
	}
	result, ok := r["result"].(map[string]any)
	if !ok {
		return answer
	}
	f(result)
	out, err := json.Marshal(r)
	if err != nil {
		return answer
	}
	return out
}

// One endpoint that makes up called instructions, which move tokens out of the vault and
// back, can't make a small deposit a great one.
func TestCalledInstructionsOfOneEndpoint(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	m.payIn(chain.PublicOf(keyOf("somebody else")), 2_000_000)
	n := m.net.Network
	r := m.request(wallet)
	var lies atomic.Bool
	m.betweenTwo(func(method string, first bool, answer []byte) []byte {
		if method != "getTransaction" || !first || !lies.Load() {
			return answer
		}
		return edited(answer, func(result map[string]any) {
			withLoop(t, result, n.Vaults.Fee, chain.TokenAccount(a.payout, n.Mint), r.Reference)
		})
	})
	lies.Store(true)
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{n.Vaults.Fee, 100, []ionet.Key{r.Reference}}))
	m.later(4)
	if got := m.renter(wallet); got != 0 {
		t.Errorf("%d are credited by the word of one endpoint", got)
	}
	if _, err := m.PlanResume(t.Context()); err != nil {
		t.Errorf("what endpoints tell differently can't be put to suspense: %v", err)
	}
	lies.Store(false)
	m.later(3)
	if got := m.renter(wallet); got != 100 || !m.view.isReady() {
		t.Errorf("paid in 100, credited %d, ready %t", got, m.view.isReady())
	}
	m.checkVaults()
}

// withLoop adds called transfers of 1,000,000 from the vault to an account and back.
func withLoop(t *testing.T, result map[string]any, vault, account, reference ionet.Key) {
	raw, err := base64.StdEncoding.DecodeString(result["transaction"].([]any)[0].(string))
	if err != nil {
		t.Error(err)
		return
	}
	tx, err := chain.ParseRaw(raw, nil, nil)
	if err != nil {
		t.Error(err)
		return
	}
	at := map[ionet.Key]int{}
	for i, k := range tx.Keys {
		at[k] = i
	}
	if _, ok := at[reference]; !ok {
		return
	}
	data := binary.LittleEndian.AppendUint64([]byte{3}, 1_000_000)
	one := func(from, to ionet.Key) map[string]any {
		return map[string]any{"programIdIndex": at[chain.TokenProgram()], "accounts": []int{at[from], at[to], 0, at[reference]}, "data": base58.Encode(data)}
	}
	result["meta"].(map[string]any)["innerInstructions"] = []any{map[string]any{"index": 0, "instructions": []any{one(vault, account), one(account, vault)}}}
}

// A transaction that really takes from the vault and gives more to it is nobody's deposit.
func TestInAndOutIsSuspense(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	n := m.net.Network
	wallet := chain.PublicOf(keyOf("renter"))
	m.payIn(wallet, 50)
	other := chain.PublicOf(keyOf("another"))
	r := m.request(other)
	m.landsBy([]ed25519.PrivateKey{m.wallet[a.payout], m.net.Keys.Fees}, false,
		m.in(n.Keys.Fees, transfer{chain.TokenAccount(a.payout, n.Mint), 30, nil}),
		m.in(a.payout, transfer{n.Vaults.Fee, 40, []ionet.Key{r.Reference}}))
	m.pass()
	if got := m.balance(ledger.Suspense()); got != 10 || m.renter(other) != 0 {
		t.Errorf("%d in suspense, want the 10 that the vault has more", got)
	}
	m.checkVaults()
}

// What a person put to suspense, and the history comes to know later, moves to its renter
// and is not credited on top.
func TestResumedCreditIsFound(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	m.payIn(wallet, 50)
	r := m.request(wallet)
	fee := m.net.Network.Vaults.Fee
	var hidden atomic.Value
	hidden.Store("")
	m.wires.Twist(func(method, _ string, answer []byte) []byte {
		if s := hidden.Load().(string); method == "getSignaturesForAddress" && s != "" {
			return without(answer, s)
		}
		return answer
	})
	for i, c := range []struct {
		references []ionet.Key
		renter     uint64 // in the end
		suspense   uint64
	}{
		{[]ionet.Key{r.Reference}, 120, 0},
		{nil, 120, 70},
	} {
		hidden.Store(m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 70, c.references})).String())
		m.later(2)
		plan, err := m.PlanResume(t.Context())
		if err != nil || len(plan.Differences) != 1 || plan.Differences[0].What != "credit" {
			t.Fatalf("plan is %+v, %v, want a credit", plan, err)
		}
		m.resumes(plan.Seen, false)
		if got := m.balance(ledger.Suspense()); got != 70 {
			t.Errorf("%d: %d in suspense, want 70", i, got)
		}
		hidden.Store("")
		m.later(5)
		if got, sus := m.renter(wallet), m.balance(ledger.Suspense()); got != c.renter || sus != c.suspense || !m.view.isReady() {
			t.Errorf("%d: renter has %d, %d in suspense, ready %t; want %d, %d", i, got, sus, m.view.isReady(), c.renter, c.suspense)
		}
		m.checkVaults()
	}
	// What lands afterwards is new.
	m.payIn(wallet, 70)
	m.later(1)
	if got := m.renter(wallet); got != 190 {
		t.Errorf("renter has %d, want 190", got)
	}
	m.checkVaults()
}

// without leaves a signature out of a page of history.
func without(answer []byte, signature string) []byte {
	var r struct {
		Version string           `json:"jsonrpc"`
		ID      int              `json:"id"`
		Result  []map[string]any `json:"result"`
	}
	if json.Unmarshal(answer, &r) != nil || r.Result == nil {
		return answer
	}
	rest := []map[string]any{}
	for _, e := range r.Result {
		if e["signature"] != signature {
			rest = append(rest, e)
		}
	}
	r.Result = rest
	out, err := json.Marshal(r)
	if err != nil {
		return answer
	}
	return out
}

// A transaction that one endpoint lacks holds up no other one. A person may put it to
// suspense; it is its renter's once the endpoints agree.
func TestOneUnreadableTransaction(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	one, two := chain.PublicOf(keyOf("one")), chain.PublicOf(keyOf("two"))
	first, second := m.request(one), m.request(two)
	var lacking atomic.Value
	lacking.Store([]byte(nil))
	m.betweenTwo(func(method string, first bool, answer []byte) []byte {
		if s := lacking.Load().([]byte); method != "getTransaction" || first || s == nil || !holds(answer, s) {
			return answer
		}
		return []byte(`{"jsonrpc":"2.0","id":1,"result":null}`)
	})
	fee := m.net.Network.Vaults.Fee
	signature := m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 70, []ionet.Key{first.Reference}}))
	lacking.Store(signature[:])
	m.later(1)
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 80, []ionet.Key{second.Reference}}))
	m.later(2)
	if m.renter(one) != 0 || m.renter(two) != 80 {
		t.Errorf("credited %d and %d, want 0 and 80", m.renter(one), m.renter(two))
	}
	h, err := m.Health(t.Context())
	if err != nil || len(h.Standings) != 1 || !strings.Contains(h.Standings[0].Note, signature.String()) {
		t.Errorf("health is %+v, %v: it does not name the transaction", h, err)
	}
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Differences) != 1 || plan.Differences[0].Amount.Base() != 70 {
		t.Fatalf("plan is %+v, %v, want a credit of 70", plan, err)
	}
	m.resumes(plan.Seen, false)
	m.reopen()
	lacking.Store([]byte(nil))
	m.fenceUp()
	m.later(3)
	if got := m.balance(ledger.Suspense()); m.renter(one) != 70 || got != 0 {
		t.Errorf("credited %d, %d in suspense, want 70 and none", m.renter(one), got)
	}
	if h, err := m.Health(t.Context()); err != nil || len(h.Standings) != 0 {
		t.Errorf("health is %+v, %v, want nothing amiss", h, err)
	}
	m.checkVaults()
}

// More transactions that an endpoint lacks than are remembered hold up none of the
// others, however old; an operator is told how many there are, the cursor waits, and all
// are credited once the endpoint has them.
func TestMoreGapsThanAreRemembered(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	oldest, wallet := chain.PublicOf(keyOf("oldest")), chain.PublicOf(keyOf("renter"))
	first, others := m.request(oldest), m.request(wallet)
	fee := m.net.Network.Vaults.Fee
	m.later(1)
	cursor := m.cursorOf(fee)
	sent := m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{fee, 70, []ionet.Key{first.Reference}}))
	const many = maxGaps + 80
	for i := range many {
		m.sendOnly(m.wallet[a.payout], m.in(a.payout, transfer{fee, uint64(1 + i), []ionet.Key{others.Reference}}))
	}
	m.advance(40)
	var lacks atomic.Bool
	lacks.Store(true)
	m.wires.Twist(func(method, _ string, answer []byte) []byte {
		if method != "getTransaction" || !lacks.Load() || holds(answer, sent[:]) {
			return answer
		}
		return []byte(`{"jsonrpc":"2.0","id":1,"result":null}`)
	})
	m.until("the oldest is credited", func() bool { return m.renter(oldest) == 70 })
	m.later(3)
	if m.renter(wallet) != 0 || m.cursorOf(fee) != cursor {
		t.Errorf("%d are credited of what can't be read; the cursor has moved: %t", m.renter(wallet), m.cursorOf(fee) != cursor)
	}
	w := m.scanner.of(fee)
	m.until("a walk is over", func() bool { return w.slot == 0 && w.unkept.n > 0 })
	if len(w.gaps) != maxGaps || w.unkept.n != many-maxGaps {
		t.Errorf("%d gaps are remembered, %d are not, want %d and %d", len(w.gaps), w.unkept.n, maxGaps, many-maxGaps)
	}
	h, err := m.Health(t.Context())
	if err != nil || len(h.Standings) != 1 || !strings.Contains(h.Standings[0].Note, fmt.Sprintf("%d of its transactions can't be read", many)) {
		t.Errorf("health is %+v, %v: it does not say how many", h, err)
	}
	lacks.Store(false)
	m.goTo(handTime.Load() + int64(anewFrom/time.Second))
	m.until("all are credited", func() bool { return m.renter(wallet) == many*(many+1)/2 })
	m.later(2)
	if h, err := m.Health(t.Context()); err != nil || len(h.Standings) != 0 || m.cursorOf(fee) == cursor {
		t.Errorf("health is %+v, %v; the cursor has moved: %t; want nothing amiss", h, err, m.cursorOf(fee) != cursor)
	}
	m.checkVaults()
}

// cursorOf returns how far a vault's history is explained.
func (m *machine) cursorOf(account ionet.Key) chain.Signature {
	m.t.Helper()
	var signature []byte
	if err := m.pool.QueryRow(m.t.Context(), selectCursor, account[:]).Scan(&signature); err != nil {
		m.t.Fatal(err)
	}
	return chain.Signature(signature)
}

// holds reports whether an answer's transaction has these bytes.
func holds(answer, part []byte) bool {
	var r struct {
		Result *struct {
			Transaction [2]string `json:"transaction"`
		} `json:"result"`
	}
	if json.Unmarshal(answer, &r) != nil || r.Result == nil {
		return false
	}
	tx, err := base64.StdEncoding.DecodeString(r.Result.Transaction[0])
	return err == nil && bytes.Contains(tx, part)
}

// A signature that is none, in one page of history, holds up nothing, and is forgotten
// when the endpoint does not tell it any more.
func TestMadeUpSignature(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	var lies atomic.Bool
	m.wires.Twist(func(method, _ string, answer []byte) []byte {
		if method != "getSignaturesForAddress" || !lies.Load() {
			return answer
		}
		made := base58.Encode(bytes.Repeat([]byte{7}, 64))
		return []byte(strings.Replace(string(answer), `"result":[{`, `"result":[{"signature":"`+made+`","slot":1,"err":null,"memo":null,"blockTime":1},{`, 1))
	})
	lies.Store(true)
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{m.net.Network.Vaults.Fee, 70, []ionet.Key{r.Reference}}))
	m.later(2)
	if got := m.renter(wallet); got != 70 {
		t.Errorf("credited %d, want 70", got)
	}
	lies.Store(false)
	m.goTo(handTime.Load() + int64(anewFrom/time.Second))
	m.later(3)
	if h, err := m.Health(t.Context()); err != nil || len(h.Standings) != 0 {
		t.Errorf("health is %+v, %v, want nothing amiss", h, err)
	}
	m.checkVaults()
}

// One answer that leaves out what a transaction did is not believed for ever.
func TestOneAnswerWithoutBalances(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	r := m.request(wallet)
	var lies atomic.Bool
	m.wires.Twist(func(method, _ string, answer []byte) []byte {
		if method != "getTransaction" || !lies.Load() {
			return answer
		}
		return edited(answer, func(result map[string]any) {
			meta := result["meta"].(map[string]any)
			meta["preTokenBalances"], meta["postTokenBalances"] = []any{}, []any{}
		})
	})
	lies.Store(true)
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{m.net.Network.Vaults.Fee, 70, []ionet.Key{r.Reference}}))
	m.pass()
	lies.Store(false)
	m.later(2)
	if got := m.renter(wallet); got != 70 {
		t.Errorf("credited %d of 70 once the endpoint tells the truth", got)
	}
	m.checkVaults()
}

// The endpoint that is read from hides a theft: another one shows it, and nothing is
// signed until they agree. Then it is a halt.
func TestOneEndpointHidesATheft(t *testing.T) {
	m := newMachine(t)
	m.funded()
	key, n := keyOf("renter"), m.net.Network
	var hides atomic.Uint64
	m.betweenTwo(func(method string, first bool, answer []byte) []byte {
		if method != "getMultipleAccounts" || !first || hides.Load() == 0 {
			return answer
		}
		return withMore(answer, n.Mint, n.Keys.Fees, hides.Load())
	})
	m.payIn(chain.PublicOf(key), 1000)
	m.later(2)
	hides.Store(40)
	m.takeOut(n.Vaults.Fee, m.net.Keys.Fees, 40)
	for range 3 {
		m.goTo(handTime.Load() + 11)
		if err := m.Settle(t.Context()); err != nil && !strings.Contains(err.Error(), "nothing is signed until they agree") {
			t.Fatal(err)
		}
		m.advance(2)
	}
	h, err := m.Health(t.Context())
	if err != nil || h.Ready || h.Halted != "" || len(h.Standings) != 1 || !strings.Contains(h.Standings[0].Note, "960") {
		t.Errorf("health is %+v, %v, want not ready, and what the other endpoint says", h, err)
	}
	m.refused(m.withdrawal(key, 1, 900, m.bob.payout, hour), ProblemNotLeader)
	hides.Store(0)
	if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
		t.Fatalf("pass once they agree: %v, want ErrHalted", err)
	}
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Differences) != 1 || plan.Differences[0].Amount.Base() != 40 {
		t.Fatalf("plan is %+v, %v, want a debit of 40", plan, err)
	}
	// Endpoints that do not agree resume nothing.
	hides.Store(7)
	m.goTo(handTime.Load() + 11)
	m.resumesLater(plan.Seen, "compare endpoints")
	hides.Store(0)
	m.resumes(plan.Seen, false)
	m.fenceUp()
	m.later(2)
	m.checkVaults()
}

// resumesLater asks to resume, which is refused once it has waited for long enough.
func (m *machine) resumesLater(seen, want string) {
	m.t.Helper()
	id, err := m.AskResume(m.t.Context(), seen, "the test knows why")
	if err != nil {
		m.t.Fatal(err)
	}
	for _, ended := range []bool{false, true} {
		if err := m.Settle(m.t.Context()); err != nil && !errors.Is(err, ErrHalted) {
			m.t.Fatal(err)
		}
		done, refused, err := m.Resumed(m.t.Context(), id)
		if err != nil || done != ended || strings.Contains(refused, want) != ended {
			m.t.Errorf("resumption ended %t, refused with %q, %v; want %t", done, refused, err, ended)
		}
		m.goTo(handTime.Load() + int64(agreeFor/time.Second) + 1)
	}
}

// withMore lets a wallet's token accounts hold more in an answer.
func withMore(answer []byte, mint, owner ionet.Key, more uint64) []byte {
	words := strings.Split(string(answer), `"`)
	for i, w := range words {
		data, err := base64.StdEncoding.DecodeString(w)
		if err != nil || len(data) != 165 || ionet.Key(data[:32]) != mint || ionet.Key(data[32:64]) != owner {
			continue
		}
		binary.LittleEndian.PutUint64(data[64:], binary.LittleEndian.Uint64(data[64:])+more)
		words[i] = base64.StdEncoding.EncodeToString(data)
	}
	return []byte(strings.Join(words, `"`))
}

// Dust that strangers send to an allocation account refuses no resumption, and is booked.
func TestDustRefusesNoResumption(t *testing.T) {
	m := newUnlocking(t)
	a := m.funded()
	m.payIn(chain.PublicOf(keyOf("renter")), 1000)
	seed, _ := m.net.Network.AllocationOf("seed")
	for n := range uint64(2) {
		m.takeOut(m.net.Network.Vaults.Fee, m.net.Keys.Fees, 40)
		if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
			t.Fatal(err)
		}
		plan, err := m.PlanResume(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{seed.Account, 1, nil}))
		m.resumes(plan.Seen, false)
		if got := m.balance(ledger.Suspense()); got != n+1 {
			t.Errorf("%d in suspense, want the dust", got)
		}
		m.checkVaults()
	}
	m.lands(m.wallet[a.payout], false, m.in(a.payout, transfer{seed.Account, 5, nil}))
	m.later(1)
	plan, err := m.PlanResume(t.Context())
	if err != nil || plan.Seen != "" || len(plan.Gifts) != 1 || plan.Gifts[0].Amount.Base() != 5 {
		t.Errorf("plan is %+v, %v, want a gift of 5", plan, err)
	}
}

// A plan names the credits that a debit may be the absence of.
func TestPlanNamesCredits(t *testing.T) {
	m := newMachine(t)
	m.funded()
	wallet := chain.PublicOf(keyOf("renter"))
	m.payIn(wallet, 40)
	m.payIn(wallet, 1000)
	m.takeOut(m.net.Network.Vaults.Fee, m.net.Keys.Fees, 40)
	if err := m.Settle(t.Context()); !errors.Is(err, ErrHalted) {
		t.Fatal(err)
	}
	plan, err := m.PlanResume(t.Context())
	if err != nil || len(plan.Differences) != 1 || len(plan.Differences[0].Credits) != 1 || plan.Differences[0].Credits[0].Renter != wallet {
		t.Errorf("plan is %+v, %v, want a debit that names the credit of 40", plan, err)
	}
}

// A reference whose history does not tell holds up no other one.
func TestStrayThatCanNotBeRead(t *testing.T) {
	m := newMachine(t)
	a := m.funded()
	n := m.net.Network
	var broken atomic.Value
	broken.Store([]byte(nil))
	m.betweenTwo(func(method string, first bool, answer []byte) []byte {
		if s := broken.Load().([]byte); method != "getTransaction" || first || s == nil || !holds(answer, s) {
			return answer
		}
		return []byte(`{"jsonrpc":"2.0","id":1,"result":null}`)
	})
	var references []ionet.Key
	for i := range strayReferences + 1 {
		r := m.request(chain.PublicOf(keyOf(string(rune('a' + i)))))
		references = append(references, r.Reference)
		lamports := instruction(ionet.Key{}, binary.LittleEndian.AppendUint64([]byte{2, 0, 0, 0}, 2_000_000), a.payout, "sw", n.Keys.Fees, "w", r.Reference, "")
		signature := m.lands(m.wallet[a.payout], false, lamports)
		if i == 0 {
			broken.Store(signature[:])
		}
	}
	m.until("all others are found", func() bool {
		m.goTo(handTime.Load() + 11)
		for _, r := range references {
			if _, err := m.Deposit(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
		return m.count(`SELECT count(*) FROM deposits`) == strayReferences
	})
	broken.Store([]byte(nil))
	m.until("and the last one", func() bool {
		m.goTo(handTime.Load() + 11)
		return m.count(`SELECT count(*) FROM deposits`) == strayReferences+1
	})
}
