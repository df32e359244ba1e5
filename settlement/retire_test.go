package settlement

import (
	"fmt"
	"testing"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/internal/pgtest"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/genesis"
)

// mint reads the token's mint at finalized.
func (m *machine) mintState() chain.MintState {
	m.t.Helper()
	list, _, err := m.clean.Accounts(m.t.Context(), []ionet.Key{m.net.Network.Mint}, rpc.Finalized, 0)
	if err != nil {
		m.t.Fatal(err)
	}
	state, err := chain.ParseMint(list[0].Owner, list[0].Data)
	if err != nil {
		m.t.Fatal(err)
	}
	return state
}

// checkRetired: nobody can mint, the memo says what was minted, the epochs count as
// before, and everybody is still paid.
func (m *machine) checkRetired() {
	m.t.Helper()
	state := m.mintState()
	if !state.Authority.IsZero() {
		m.t.Errorf("the mint's authority is %s, want none", state.Authority)
	}
	contents, err := m.contentsOf(epochLane, shortEpochs+1)
	if err != nil || len(contents) != 1 {
		m.t.Fatalf("%d contents after the last epoch, %v, want 1", len(contents), err)
	}
	memo, err := proofs.ParseMemo(contents[0].Memo)
	if r, ok := memo.(proofs.RetireMemo); err != nil || !ok || r.Epoch != shortEpochs || r.Supply.Base() != state.Supply {
		m.t.Errorf("the memo is %q, %v, the supply %d", contents[0].Memo, err, state.Supply)
	}
	o, err := m.Overview(m.t.Context())
	if err != nil || o.Sealed != shortEpochs {
		m.t.Errorf("%d epochs are sealed, %v, want %d", o.Sealed, err, shortEpochs)
	}
	m.settleAll()
	m.audited()
}

// contentsOf returns the contents of a position that are stored.
func (m *machine) contentsOf(lane string, position uint64) ([]chain.Content, error) {
	rows, err := m.pool.Query(m.t.Context(), `SELECT bytes FROM contents WHERE lane = $1 AND position = $2`, lane, int64(position))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []chain.Content
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return nil, err
		}
		c, err := chain.ParseContent(data)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

func TestRetireAfterTheLastEpoch(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	m.seal(m.alice, m.bob)
	if m.mintState().Authority != m.net.Network.Keys.Operator {
		t.Error("the mint was given up before the last epoch")
	}
	m.lastSealed()
	if !m.saw(EventRetire) {
		t.Error("no event tells of the retire")
	}
	m.checkRetired()
	for range 5 {
		m.pass()
	}
	if m.position(epochLane) != shortEpochs+2 {
		t.Errorf("the epoch lane is at position %d, want %d", m.position(epochLane), shortEpochs+2)
	}
}

// The process dies while it seals the last epoch and retires the mint after it, at every
// third step. Whatever it was, each is done once.
func TestKillRetire(t *testing.T) {
	for n := 7; ; n += 3 {
		m := newUnlocking(t)
		m.fenceUp()
		m.seal(m.alice, m.bob)
		m.playNext(m.alice, m.bob)
		f := []fault{lost, unheard}[n%2]
		m.wires.arm(n, f, true)
		m.until("the mint is retired", func() bool { return m.wires.isCut() || m.position(epochLane) > shortEpochs+1 })
		step := m.wires.disarm()
		m.reopen()
		m.fenceUp()
		m.until("the mint is retired", func() bool { return m.position(epochLane) > shortEpochs+1 })
		m.checkRetired()
		if t.Failed() {
			t.Fatalf("after step %d, %q, was %s", n, step, f)
		}
		if step == "" {
			t.Logf("%d steps", n-1)
			return
		}
	}
}

// An older and an empty database learn of the retire from the chain.
func TestRetireOfAnotherDatabase(t *testing.T) {
	m := newUnlocking(t)
	m.fenceUp()
	for m.position(epochLane) <= shortEpochs {
		m.seal(m.alice, m.bob)
	}
	old := m.backup()
	m.lastSealed()
	for _, url := range []string{old, pgtest.NewURL(t)} {
		m.onDatabase(url)
		m.fenceUp()
		m.lastSealed()
		m.checkRetired()
	}
}

// Two of three members give the mint up as one key does.
func TestRetireByMembers(t *testing.T) {
	three := fmt.Sprintf("2of3:%s,%s,%s", publicOf("member a"), publicOf("member b"), publicOf("member c"))
	m := newUnlockingWith(t, func(c *genesis.Config) {
		var err error
		if c.Mint, err = genesis.ParseAuthority(three); err != nil {
			t.Fatal(err)
		}
	}, keyOf("member a"), keyOf("member c"))
	m.fenceUp()
	m.lastSealed()
	if got := m.landedBy(chain.KindRetire); len(got) != 2 {
		t.Errorf("%d members signed the retire, want 2", len(got))
	}
	m.checkRetired()
}
