package rpc

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
)

// node is one local chain for all tests of this package, with fast slots.
var node *localnet.Node

func TestMain(m *testing.M) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	var err error
	if node, err = localnet.Start(ctx, localnet.Config{SlotTime: 5 * time.Millisecond}); err != nil {
		fmt.Fprintln(os.Stderr, "start local chain:", err)
		os.Exit(1)
	}
	code := m.Run()
	cancel()
	if err := node.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stop local chain:", err)
		code = 1
	}
	os.Exit(code)
}

func newClient(t testing.TB, cfg Config) *Client {
	t.Helper()
	if cfg.Endpoints == nil {
		cfg.Endpoints = []string{node.URL()}
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// wallet returns a new key with a SOL.
func wallet(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := node.Airdrop(solana.PublicKey(chain.PublicOf(key)), 1e9); err != nil {
		t.Fatal(err)
	}
	if err := node.Advance(3); err != nil { // so that it is confirmed
		t.Fatal(err)
	}
	return key
}

// mintTransaction signs the creation of a mint: a transaction that lands once.
func mintTransaction(t testing.TB, c *Client, key ed25519.PrivateKey, name string) ([]byte, Blockhash, ionet.Key) {
	t.Helper()
	ctx := context.Background()
	hash, err := c.LatestBlockhash(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rent, err := c.MinimumRent(ctx, chain.MintSize)
	if err != nil {
		t.Fatal(err)
	}
	operator, lane := chain.PublicOf(key), chain.LaneAddress(chain.PublicOf(key), name)
	message, err := chain.MintCreation{FeePayer: operator, EpochLane: lane, Decimals: 8, Lamports: rent, Blockhash: hash.Hash,
		Budget: chain.Budget{ComputeUnits: 20_000, LoadedBytes: 1 << 20}}.Message()
	if err != nil {
		t.Fatal(err)
	}
	tx, missing, err := chain.SignMessage(message, key)
	if err != nil || len(missing) > 0 {
		t.Fatalf("sign: %v, missing %v", err, missing)
	}
	return tx, hash, chain.MintAddress(operator, lane)
}

func signatureOf(t testing.TB, tx []byte) chain.Signature {
	t.Helper()
	raw, err := chain.ParseRaw(tx, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw.Signature()
}

// awaitFinalized polls the account until it exists at finalized.
func awaitFinalized(t testing.TB, c *Client, key ionet.Key) (Account, uint64) {
	t.Helper()
	for range 2000 {
		list, slot, err := c.Accounts(context.Background(), []ionet.Key{key}, Finalized, 0)
		if err != nil {
			t.Fatal(err)
		}
		if list[0].Exists() {
			return list[0], slot
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("%s does not exist at finalized", key)
	return Account{}, 0
}

func TestEveryMethodOnLocalnet(t *testing.T) {
	ctx, c, key := context.Background(), newClient(t, Config{}), wallet(t)
	cluster, err := c.GenesisHash(ctx)
	if err != nil || cluster != ionet.Key(node.GenesisHash()) {
		t.Errorf("GenesisHash: got %s, %v, want %s", cluster, err, node.GenesisHash())
	}
	tx, hash, mint := mintTransaction(t, c, key, "all")
	sim, err := c.Simulate(ctx, tx, hash.ContextSlot)
	if err != nil || sim.Err != nil || sim.Units == 0 {
		t.Fatalf("Simulate: got %+v, %v", sim, err)
	}
	if err := c.Send(ctx, tx, SendOptions{MinContextSlot: hash.ContextSlot}); err != nil {
		t.Fatal(err)
	}
	account, slot := awaitFinalized(t, c, mint)
	state, err := chain.ParseMint(account.Owner, account.Data)
	if err != nil || state.Authority != chain.PublicOf(key) || state.Decimals != 8 {
		t.Errorf("mint: got %+v, %v", state, err)
	}
	if err := c.Send(ctx, tx, SendOptions{MinContextSlot: hash.ContextSlot}); !errors.Is(err, ErrAlreadyProcessed) {
		t.Errorf("second Send: got %v, want ErrAlreadyProcessed", err)
	}
	signature := signatureOf(t, tx)
	statuses, err := c.Statuses(ctx, []chain.Signature{signature, {1}})
	if err != nil || statuses[0] == nil || statuses[0].Commitment != "finalized" || statuses[0].Err != nil || statuses[1] != nil {
		t.Errorf("Statuses: got %v, %v", statuses, err)
	}
	landed, err := c.Transaction(ctx, signature)
	if err != nil || landed.Err != nil || landed.Slot == 0 || landed.Slot > slot || landed.Fee == 0 || string(landed.Bytes) != string(tx) {
		t.Errorf("Transaction: got %+v, %v", landed, err)
	}
	if _, err := c.Transaction(ctx, chain.Signature{1}); !errors.Is(err, ErrNotFound) {
		t.Errorf("Transaction of nothing: got %v, want ErrNotFound", err)
	}
	var entries []Entry
	for e, err := range c.History(ctx, mint, chain.Signature{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
	}
	if len(entries) != 1 || entries[0].Signature != signature || entries[0].Slot != landed.Slot || entries[0].Time != landed.Time {
		t.Errorf("History: got %+v", entries)
	}
	block, err := c.Block(ctx, landed.Slot)
	if err != nil || block.Time != landed.Time || block.Hash.IsZero() || block.Height == 0 {
		t.Errorf("Block: got %+v, %v", block, err)
	}
	if _, err := c.Block(ctx, node.Slot()+1000); !errors.Is(err, ErrNotYet) {
		t.Errorf("Block of the future: got %v, want ErrNotYet", err)
	}
	if _, err := c.RecentPriorityFee(ctx, []ionet.Key{mint}); err != nil {
		t.Errorf("RecentPriorityFee: %v", err)
	}
	if _, _, err := c.TokenBalance(ctx, mint, mint, Finalized, 0); err == nil {
		t.Error("TokenBalance of a mint is accepted")
	}
	if _, _, err := c.TokenBalance(ctx, chain.TokenAccount(mint, mint), mint, Finalized, 0); !errors.Is(err, chain.ErrNoAccount) {
		t.Errorf("TokenBalance of nothing: got %v, want ErrNoAccount", err)
	}
}

func chainKey(key ed25519.PrivateKey) ionet.Key { return chain.PublicOf(key) }
