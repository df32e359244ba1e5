package localnet

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/gagliardetto/solana-go/rpc/jsonrpc"
	"github.com/gagliardetto/solana-go/rpc/ws"
)

// goClient is solana-go against a chain, with a payer that has 10 SOL.
type goClient struct {
	*rpc.Client
	t     *testing.T
	ctx   context.Context
	ws    *ws.Client
	payer solana.PrivateKey
}

// useSolanaGo calls the methods that the service uses, as it uses them.
func useSolanaGo(t *testing.T, n *Node) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	sub, err := ws.Connect(ctx, n.WSURL())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	c := &goClient{Client: rpc.New(n.URL()), t: t, ctx: ctx, ws: sub, payer: newKey(t)}
	airdrop := must(c.RequestAirdrop(ctx, c.payer.PublicKey(), 10*solana.LAMPORTS_PER_SOL, rpc.CommitmentConfirmed))(t)
	c.confirm(airdrop)
	c.accounts(n)
	c.history(airdrop)
	c.blocks()
	c.chain(n)
	c.refusals()
}

// must turns a result and an error into the result, or ends the test.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// confirm waits by websocket, as a subscriber who may come late.
func (c *goClient) confirm(sig solana.Signature) {
	c.t.Helper()
	s := must(c.ws.SignatureSubscribe(sig, rpc.CommitmentConfirmed))(c.t)
	defer s.Unsubscribe()
	got := must(s.Recv(c.ctx))(c.t)
	if got.Value.Err != nil {
		c.t.Fatalf("transaction failed: %v", got.Value.Err)
	}
}

// send builds with a confirmed blockhash, sends and confirms.
func (c *goClient) send(keys []solana.PrivateKey, ixs ...solana.Instruction) solana.Signature {
	c.t.Helper()
	latest := must(c.GetLatestBlockhash(c.ctx, rpc.CommitmentConfirmed))(c.t)
	slot := latest.Context.Slot
	tx := buildAt(c.t, latest.Value.Blockhash, append([]solana.PrivateKey{c.payer}, keys...), ixs)
	zero := uint(0)
	sig := must(c.SendTransactionWithOpts(c.ctx, tx, rpc.TransactionOpts{
		PreflightCommitment: rpc.CommitmentConfirmed, MaxRetries: &zero, MinContextSlot: &slot,
	}))(c.t)
	c.confirm(sig)
	return sig
}

func (c *goClient) accounts(n *Node) {
	ctx, t, owner := c.ctx, c.t, c.payer.PublicKey()
	rent := must(c.GetMinimumBalanceForRentExemption(ctx, mintSize, rpc.CommitmentConfirmed))(t)
	if rent != (mintSize+rentOverhead)*DefaultLamportsPerByte {
		t.Errorf("rent: got %d", rent)
	}
	mint, account := newMint(t, n, c.payer, 1_000_000_000)
	for made := n.Slot(); must(c.GetSlot(ctx, rpc.CommitmentConfirmed))(t) < made; {
		time.Sleep(time.Millisecond)
	}
	c.send(nil, token.NewTransferCheckedInstruction(5, 8, account, mint, account, owner, nil).Build(), memoIx("to myself", owner))
	info := must(c.GetAccountInfoWithOpts(ctx, mint, &rpc.GetAccountInfoOpts{Encoding: solana.EncodingBase64, Commitment: rpc.CommitmentConfirmed}))(t)
	if info.Value.Owner != solana.TokenProgramID || len(info.Value.Data.GetBinary()) != mintSize {
		t.Errorf("mint: got %+v", info.Value)
	}
	many := must(c.GetMultipleAccountsWithOpts(ctx, []solana.PublicKey{mint, newKey(t).PublicKey()}, &rpc.GetMultipleAccountsOpts{Commitment: rpc.CommitmentConfirmed}))(t)
	if many.Value[0] == nil || many.Value[1] != nil {
		t.Errorf("accounts: got %v", many.Value)
	}
	balance := must(c.GetTokenAccountBalance(ctx, account, rpc.CommitmentConfirmed))(t)
	supply := must(c.GetTokenSupply(ctx, mint, rpc.CommitmentConfirmed))(t)
	if balance.Value.Amount != "1000000000" || supply.Value.UiAmountString != "10" {
		t.Errorf("token amounts: got %v and %v", balance.Value, supply.Value)
	}
	held := must(c.GetTokenAccountsByOwner(ctx, owner, &rpc.GetTokenAccountsConfig{Mint: &mint}, &rpc.GetTokenAccountsOpts{Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64}))(t)
	if len(held.Value) != 1 || held.Value[0].Pubkey != account {
		t.Errorf("token accounts: got %v", held.Value)
	}
	all := must(c.GetProgramAccountsWithOpts(ctx, solana.TokenProgramID, &rpc.GetProgramAccountsOpts{
		Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64,
		Filters: []rpc.RPCFilter{{DataSize: tokenAccountSize}, {Memcmp: &rpc.RPCFilterMemcmp{Offset: 0, Bytes: mint[:]}}},
	}))(t)
	if len(all) != 1 {
		t.Errorf("program accounts: got %d", len(all))
	}
	if got := must(c.GetBalance(ctx, owner, rpc.CommitmentConfirmed))(t); got.Value == 0 {
		t.Error("balance is 0")
	}
}

func (c *goClient) history(airdrop solana.Signature) {
	ctx, t, owner := c.ctx, c.t, c.payer.PublicKey()
	sig := c.send(nil, transfer(1_000_000, owner, newKey(t).PublicKey()))
	statuses := must(c.GetSignatureStatuses(ctx, true, sig, solana.Signature{1}))(t)
	if statuses.Value[0] == nil || statuses.Value[0].Err != nil || statuses.Value[1] != nil {
		t.Errorf("statuses: got %v", statuses.Value)
	}
	limit := 2
	list := must(c.GetSignaturesForAddressWithOpts(ctx, owner, &rpc.GetSignaturesForAddressOpts{Limit: &limit, Commitment: rpc.CommitmentConfirmed}))(t)
	if len(list) != 2 || list[0].Signature != sig || *list[1].Memo != "[9] to myself" {
		t.Errorf("signatures: got %v", list)
	}
	version := uint64(1)
	got := must(c.GetTransaction(ctx, sig, &rpc.GetTransactionOpts{Encoding: solana.EncodingBase64, Commitment: rpc.CommitmentConfirmed, MaxSupportedTransactionVersion: &version}))(t)
	tx := must(got.Transaction.GetTransaction())(t)
	if tx.Signatures[0] != sig || got.Meta.Fee != 5000 || len(got.Meta.LogMessages) == 0 {
		t.Errorf("transaction: got %+v", got.Meta)
	}
	parsed := must(c.GetParsedTransaction(ctx, airdrop, &rpc.GetParsedTransactionOpts{Commitment: rpc.CommitmentConfirmed, MaxSupportedTransactionVersion: &version}))(t)
	if parsed.Transaction.Message.Instructions[1].Program != "system" {
		t.Errorf("parsed: got %+v", parsed.Transaction.Message.Instructions[1])
	}
}

func (c *goClient) blocks() {
	ctx, t := c.ctx, c.t
	heard := must(c.ws.SlotSubscribe())(t)
	defer heard.Unsubscribe()
	logs := must(c.ws.LogsSubscribeMentions(c.payer.PublicKey(), rpc.CommitmentConfirmed))(t)
	defer logs.Unsubscribe()
	changes := must(c.ws.AccountSubscribe(c.payer.PublicKey(), rpc.CommitmentConfirmed))(t)
	defer changes.Unsubscribe()
	blocks := must(c.ws.BlockSubscribe(ws.NewBlockSubscribeFilterMentionsAccountOrProgram(c.payer.PublicKey()), &ws.BlockSubscribeOpts{
		Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64, TransactionDetails: rpc.TransactionDetailsFull, MaxSupportedTransactionVersion: new(uint64),
	}))(t)
	defer blocks.Unsubscribe()
	must(heard.Recv(ctx))(t)
	sig := c.send(nil, transfer(2_000_000, c.payer.PublicKey(), newKey(t).PublicKey()))
	line := must(logs.Recv(ctx))(t)
	if line.Value.Signature != sig {
		t.Errorf("logs of %s, want %s", line.Value.Signature, sig)
	}
	must(changes.Recv(ctx))(t)
	slot := line.Context.Slot
	for {
		b := must(blocks.Recv(ctx))(t)
		if b.Value.Slot == slot {
			if len(b.Value.Block.Transactions) != 1 {
				t.Errorf("block notice has %d transactions", len(b.Value.Block.Transactions))
			}
			break
		}
	}
	none, version := false, uint64(1)
	block := must(c.GetBlockWithOpts(ctx, slot, &rpc.GetBlockOpts{Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64, Rewards: &none, MaxSupportedTransactionVersion: &version}))(t)
	if len(block.Transactions) != 1 || block.ParentSlot != slot-1 || *block.BlockHeight != slot {
		t.Errorf("block: got %d transactions, parent %d, height %d", len(block.Transactions), block.ParentSlot, *block.BlockHeight)
	}
	if list := must(c.GetBlocks(ctx, slot-1, &slot, rpc.CommitmentConfirmed))(t); len(list) != 2 {
		t.Errorf("blocks: got %v", list)
	}
	if list := must(c.GetBlocksWithLimit(ctx, slot, 1, rpc.CommitmentConfirmed))(t); len(*list) != 1 {
		t.Errorf("blocks with limit: got %v", list)
	}
	if at := must(c.GetBlockTime(ctx, slot))(t); at.Time().Unix() != block.BlockTime.Time().Unix() {
		t.Errorf("block time: got %v, want %v", at, block.BlockTime)
	}
}

func (c *goClient) chain(n *Node) {
	ctx, t := c.ctx, c.t
	if hash := must(c.GetGenesisHash(ctx))(t); hash != n.GenesisHash() {
		t.Errorf("genesis: got %s", hash)
	}
	epoch := must(c.GetEpochInfo(ctx, rpc.CommitmentFinalized))(t)
	if slot := must(c.GetSlot(ctx, rpc.CommitmentFinalized))(t); slot < epoch.AbsoluteSlot || epoch.BlockHeight != epoch.AbsoluteSlot {
		t.Errorf("slot %d, epoch %+v", slot, epoch)
	}
	latest := must(c.GetLatestBlockhash(ctx, rpc.CommitmentConfirmed))(t)
	if ok := must(c.IsBlockhashValid(ctx, latest.Value.Blockhash, rpc.CommitmentConfirmed))(t); !ok.Value {
		t.Error("newest blockhash is not valid")
	}
	tx := buildAt(t, latest.Value.Blockhash, []solana.PrivateKey{c.payer}, []solana.Instruction{transfer(1, c.payer.PublicKey(), c.payer.PublicKey())})
	if fee := must(c.GetFeeForMessage(ctx, tx.Message.ToBase64(), rpc.CommitmentConfirmed))(t); *fee.Value != 5000 {
		t.Errorf("fee: got %d", *fee.Value)
	}
	sim := must(c.SimulateTransactionWithOpts(ctx, tx, &rpc.SimulateTransactionOpts{SigVerify: true, Commitment: rpc.CommitmentConfirmed}))(t)
	if sim.Value.Err != nil || *sim.Value.UnitsConsumed != 150 {
		t.Errorf("simulation: got %+v", sim.Value)
	}
	if h := must(c.GetHealth(ctx))(t); h != "ok" {
		t.Errorf("health: got %s", h)
	}
	if v := must(c.GetVersion(ctx))(t); v.SolanaCore != apiVersion {
		t.Errorf("version: got %s", v.SolanaCore)
	}
	must(c.GetRecentPrioritizationFees(ctx, solana.PublicKeySlice{c.payer.PublicKey()}))(t)
}

// refusals: what solana-go makes of the error codes.
func (c *goClient) refusals() {
	ctx, t := c.ctx, c.t
	far := uint64(1 << 40)
	_, err := c.GetAccountInfoWithOpts(ctx, c.payer.PublicKey(), &rpc.GetAccountInfoOpts{MinContextSlot: &far})
	wantCode(t, err, codeContextSlot)
	_, err = c.GetSignaturesForAddressWithOpts(ctx, c.payer.PublicKey(), &rpc.GetSignaturesForAddressOpts{Before: solana.Signature{7}})
	wantCode(t, err, codeFilterNotFound)
	_, err = c.GetBlockWithOpts(ctx, 1<<40, &rpc.GetBlockOpts{})
	wantCode(t, err, codeNotAvailable)
	tx := buildAt(t, solana.Hash{1}, []solana.PrivateKey{c.payer}, []solana.Instruction{transfer(1, c.payer.PublicKey(), c.payer.PublicKey())})
	_, err = c.SendTransactionWithOpts(ctx, tx, rpc.TransactionOpts{PreflightCommitment: rpc.CommitmentConfirmed})
	wantCode(t, err, codePreflight)
}

func wantCode(t *testing.T, err error, code int) {
	t.Helper()
	var e *jsonrpc.RPCError
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("got %v, want code %d", err, code)
	}
}
