package localnet

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/rpc"
)

// shared is a chain without a clock that tests use together; each makes its own keys
// and leaves the rest alone. Tests that fork start their own.
var shared struct {
	once sync.Once
	node *Node
	err  error
}

func TestMain(m *testing.M) {
	code := m.Run()
	nodes := []*Node{shared.node}
	for _, c := range prepared {
		nodes = append(nodes, c.node)
	}
	for _, n := range nodes {
		if n == nil {
			continue
		}
		if err := n.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "close a chain of the tests:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func sharedNode(t testing.TB) *Node {
	t.Helper()
	shared.once.Do(func() { shared.node, shared.err = Start(t.Context(), Config{SlotTime: -1}) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.node
}

// prepared are chains without a clock that tests use one after the other, by their
// finality depth: each begins from the same snapshot.
var prepared = map[int]struct {
	node  *Node
	begin *Snapshot
}{}

// cleanNode is such a chain, as it was when it started.
func cleanNode(t testing.TB, depth int) *Node {
	t.Helper()
	c, ok := prepared[depth]
	if !ok {
		var err error
		if c.node, err = Start(t.Context(), Config{SlotTime: -1, FinalityDepth: depth, Seed: 1}); err != nil {
			t.Fatal(err)
		}
		c.begin = c.node.Snapshot()
		prepared[depth] = c
	}
	if err := c.node.Restore(c.begin); err != nil {
		t.Fatal(err)
	}
	return c.node
}

func ownNode(t testing.TB, c Config) *Node {
	t.Helper()
	n, err := Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return n
}

func newKey(t testing.TB) solana.PrivateKey {
	t.Helper()
	k, err := solana.NewRandomPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// funded is a new key with 10 SOL.
func funded(t testing.TB, n *Node) solana.PrivateKey {
	t.Helper()
	k := newKey(t)
	if _, err := n.Airdrop(k.PublicKey(), 10*solana.LAMPORTS_PER_SOL); err != nil {
		t.Fatal(err)
	}
	return k
}

// build signs a transaction with the newest blockhash; the first key pays.
func build(t testing.TB, n *Node, keys []solana.PrivateKey, ixs []solana.Instruction, opts ...solana.TransactionOption) *solana.Transaction {
	t.Helper()
	n.bank.mu.RLock()
	hash, _ := n.bank.hashFor(n.bank.open())
	n.bank.mu.RUnlock()
	return buildAt(t, hash, keys, ixs, opts...)
}

func buildAt(t testing.TB, hash solana.Hash, keys []solana.PrivateKey, ixs []solana.Instruction, opts ...solana.TransactionOption) *solana.Transaction {
	t.Helper()
	tx, err := solana.NewTransaction(ixs, hash, append(opts, solana.TransactionPayer(keys[0].PublicKey()))...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = tx.Sign(func(k solana.PublicKey) *solana.PrivateKey {
		for i := range keys {
			if keys[i].PublicKey() == k {
				return &keys[i]
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

// ask calls a method as a client's bytes would and decodes the result; it returns the
// error object if there is one.
func ask(t testing.TB, n *Node, result any, method string, args ...any) *rpcError {
	t.Helper()
	if args == nil {
		args = []any{}
	}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": args})
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Result json.RawMessage
		Error  *rpcError
	}
	if err := json.Unmarshal(n.own().answer(body, n.own().call), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Error != nil {
		return answer.Error
	}
	if result != nil {
		if err := json.Unmarshal(answer.Result, result); err != nil {
			t.Fatalf("%s: read result %s: %v", method, answer.Result, err)
		}
	}
	return nil
}

// send sends a transaction with preflight at `processed` and requires that it landed.
func send(t testing.TB, n *Node, tx *solana.Transaction) *record {
	t.Helper()
	if err := ask(t, n, nil, "sendTransaction", tx.MustToBase64(), map[string]any{"encoding": "base64", "preflightCommitment": "processed"}); err != nil {
		t.Fatalf("send: %v %+v", err, err.Data)
	}
	n.bank.mu.RLock()
	defer n.bank.mu.RUnlock()
	r := n.bank.history.byID[tx.Signatures[0]]
	if r == nil {
		t.Fatal("transaction did not land")
	}
	return r
}

func transfer(lamports uint64, from, to solana.PublicKey) solana.Instruction {
	return system.NewTransferInstruction(lamports, from, to).Build()
}

func TestTransferMovesLamportsAndPaysTheFee(t *testing.T) {
	n := sharedNode(t)
	from, to := funded(t, n), newKey(t).PublicKey()
	r := send(t, n, build(t, n, []solana.PrivateKey{from}, []solana.Instruction{transfer(1_000_000_000, from.PublicKey(), to)}))
	if r.err != nil || r.fee != 5000 {
		t.Errorf("got err %v fee %d, want none and 5000", r.err, r.fee)
	}
	got, want := fmt.Sprint(r.pre, r.post), "[10000000000 0 1] [8999995000 1000000000 1]"
	if got != want {
		t.Errorf("balances: got %s, want %s", got, want)
	}
	client := rpc.New(n.URL())
	balance, err := client.GetBalance(t.Context(), to, rpc.CommitmentProcessed)
	if err != nil || balance.Value != 1_000_000_000 {
		t.Errorf("balance over HTTP: got %v, %v", balance, err)
	}
}
