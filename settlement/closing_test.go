package settlement

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/publish"
)

// book reads the published book that a memo commits to.
func (b *books) book(c *Closing) *proofs.Book {
	b.t.Helper()
	m := b.memo(c)
	file, err := b.store.Get(b.t.Context(), publish.BookName(proofs.BookRoot(m.Inputs, m.Verdicts)))
	if err != nil {
		b.t.Fatal(err)
	}
	book, err := proofs.ParseBook(file)
	if err != nil {
		b.t.Fatal(err)
	}
	if book.Inputs.Root() != m.Inputs || book.VerdictsRoot() != m.Verdicts {
		b.t.Fatal("the book is not the one that the memo commits to")
	}
	return book
}

func (b *books) memo(c *Closing) proofs.EpochMemo {
	b.t.Helper()
	m, err := proofs.ParseMemo(c.Memo)
	if err != nil {
		b.t.Fatal(err)
	}
	return m.(proofs.EpochMemo)
}

// judged returns what the book's inputs come to.
func (b *books) judged(book *proofs.Book) *proofs.Judgement {
	b.t.Helper()
	emission, err := b.intake.schedule.Emission(book.Inputs.Epoch)
	if err != nil {
		b.t.Fatal(err)
	}
	j, err := proofs.Judge(book.Inputs, proofs.Terms{Clock: b.clock, Decimals: b.net.Network.Decimals, Emission: emission})
	if err != nil {
		b.t.Fatal(err)
	}
	return j
}

// verdictOf returns the verdict on a host's device.
func verdictOf(t testing.TB, verdicts []proofs.Verdict, h *host, device string) proofs.Verdict {
	t.Helper()
	for _, v := range verdicts {
		if v.UUID == uuidOf(device) && v.Worker == h.worker() {
			return v
		}
	}
	t.Fatalf("no verdict on device %s of worker %s", device, h.worker())
	return proofs.Verdict{}
}
func (b *books) toClose(k uint64) {
	b.t.Helper()
	b.goTo(b.clock.EpochEnd(k) + testGrace)
}

// lead takes or renews the lease.
func (b *books) lead() {
	b.t.Helper()
	if held, err := b.hold(b.t.Context()); err != nil || !held {
		b.t.Fatalf("hold the lease: %v, %v", held, err)
	}
}

// closeDue closes the due epoch, which must be k.
func (b *books) closeDue(k uint64) *Closing {
	b.t.Helper()
	b.toClose(k)
	b.lead()
	c, err := b.CloseDue(b.t.Context())
	if err != nil || c == nil || c.Epoch != k {
		b.t.Fatalf("close epoch %d: %v, %v", k, c, err)
	}
	return c
}

// content is what the epoch lane carries at the position of c.
func (b *books) content(c *Closing) chain.Content {
	lane, _ := b.net.Network.Lane("epoch")
	return chain.Content{Kind: chain.KindEpoch, Lane: lane, N: c.Epoch, C: chain.FirstC(lane), Movements: c.Movements, Memo: c.Memo}
}

// seal does what resolving does with the epoch's winner.
func (b *books) sealAs(c *Closing, how func(ctx context.Context, tx pgx.Tx, content chain.Content) error) {
	b.t.Helper()
	content := b.content(c)
	hash := content.Hash()
	err := pgx.BeginFunc(b.t.Context(), b.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(b.t.Context(), `INSERT INTO contents (hash, lane, position, kind, bytes, state) VALUES ($1, 'epoch', $2, $3, $4, 'won') ON CONFLICT (hash) DO NOTHING`,
			hash[:], int64(c.Epoch), int16(content.Kind), content.Encode())
		if err != nil {
			return err
		}
		if err := how(b.t.Context(), tx, content); err != nil {
			return err
		}
		_, err = tx.Exec(b.t.Context(), `UPDATE lanes SET position = $1 WHERE name = 'epoch'`, int64(c.Epoch)+1)
		return err
	})
	if err != nil {
		b.t.Fatalf("seal epoch %d: %v", c.Epoch, err)
	}
}

var testSignature = chain.Signature{1, 2, 3}

const testSlot = 77

func (b *books) sealNow(c *Closing) {
	b.t.Helper()
	b.sealAs(c, func(ctx context.Context, tx pgx.Tx, _ chain.Content) error {
		return b.sealEpoch(ctx, tx, c.Epoch, testSignature, testSlot)
	})
}

// epochs plays, closes and seals the epochs from..to.
func (b *books) epochs(from, to uint64, hosts ...*host) {
	b.t.Helper()
	for k := from; k <= to; k++ {
		b.play(k, hosts...)
		b.sealNow(b.closeDue(k))
	}
}
