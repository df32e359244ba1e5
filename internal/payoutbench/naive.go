package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/token"
	"golang.org/x/sync/errgroup"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/localnet"
	"github.com/ionet-settlement/ionet/chain/rpc"
)

// payOneByOne pays n payees once more as a program does that keeps a table of debts and
// sends a transaction for each: blockhash, sign, send, wait until it is confirmed, mark
// it as paid. Eight of them go side by side. It makes none of the checks for which the
// settle machine exists.
func (b *bench) payOneByOne(ctx context.Context, n int) (result, error) {
	vault := solana.PublicKey(b.net.Network.Vaults.Reward)
	funds := tokenAccount(solana.PublicKey(b.net.Network.Mint), b.net.Network.Keys.Operator, uint64(n)*debt)
	if err := b.node.SetAccounts(map[solana.PublicKey]localnet.Account{vault: funds}); err != nil {
		return result{}, err
	}
	if err := b.node.Advance(2); err != nil {
		return result{}, err
	}
	if _, err := b.pool.Exec(ctx, `CREATE TABLE naive_debts (payee bytea PRIMARY KEY, signature bytea)`); err != nil {
		return result{}, err
	}
	for part := range slices.Chunk(b.payees[:n], 10_000) {
		keys := make([][]byte, len(part))
		for i := range part {
			keys[i] = part[i][:]
		}
		if _, err := b.pool.Exec(ctx, `INSERT INTO naive_debts (payee) SELECT unnest($1::bytea[])`, keys); err != nil {
			return result{}, err
		}
	}
	before := b.lamports()
	b.meters = meters{}
	r := result{payees: n, transactions: n}
	for part := range slices.Chunk(b.payees[:n], 8) {
		began := time.Now()
		signatures, err := sideBySide(part, func(payee ionet.Key) (chain.Signature, error) { return b.sendOne(ctx, payee) })
		r.took += time.Since(began)
		if err != nil {
			return r, err
		}
		if err := b.node.Advance(2); err != nil { // what was sent is confirmed
			return r, err
		}
		began = time.Now()
		_, err = sideBySide(signatures, func(s chain.Signature) (bool, error) {
			return true, b.markOne(ctx, part[slices.Index(signatures, s)], s)
		})
		r.took += time.Since(began)
		r.passes++
		if err != nil {
			return r, err
		}
	}
	r.database, r.chain, r.ownCode = b.meters.database.busy, b.meters.chain.busy, r.took-b.meters.both.busy
	r.databaseCalls, r.chainCalls = b.meters.database.calls, b.meters.chain.calls
	r.lamports = before - b.lamports()
	return r, nil
}

func sideBySide[T, U any](list []T, f func(T) (U, error)) ([]U, error) {
	out := make([]U, len(list))
	var g errgroup.Group
	for i, v := range list {
		g.Go(func() (err error) {
			out[i], err = f(v)
			return err
		})
	}
	return out, g.Wait()
}

func (b *bench) sendOne(ctx context.Context, payee ionet.Key) (chain.Signature, error) {
	n := b.net.Network
	hash, err := b.client.LatestBlockhash(ctx)
	if err != nil {
		return chain.Signature{}, err
	}
	operator := solana.PublicKey(n.Keys.Operator)
	transfer := token.NewTransferCheckedInstruction(debt, uint8(n.Decimals), solana.PublicKey(n.Vaults.Reward), solana.PublicKey(n.Mint),
		solana.PublicKey(chain.TokenAccount(payee, n.Mint)), operator, nil).Build()
	tx, err := solana.NewTransaction([]solana.Instruction{transfer}, solana.Hash(hash.Hash), solana.TransactionPayer(operator))
	if err != nil {
		return chain.Signature{}, err
	}
	key := solana.PrivateKey(b.net.Keys.Operator)
	signed, err := tx.Sign(func(solana.PublicKey) *solana.PrivateKey { return &key })
	if err != nil {
		return chain.Signature{}, err
	}
	bytes, err := tx.MarshalBinary()
	if err != nil {
		return chain.Signature{}, err
	}
	return chain.Signature(signed[0]), b.client.Send(ctx, bytes, rpc.SendOptions{MinContextSlot: hash.ContextSlot})
}

func (b *bench) markOne(ctx context.Context, payee ionet.Key, signature chain.Signature) error {
	statuses, err := b.client.Statuses(ctx, []chain.Signature{signature})
	if err != nil {
		return err
	}
	if statuses[0] == nil || statuses[0].Err != nil {
		return fmt.Errorf("transfer %s did not land", signature)
	}
	_, err = b.pool.Exec(ctx, `UPDATE naive_debts SET signature = $2 WHERE payee = $1 AND signature IS NULL`, payee[:], signature[:])
	return err
}
