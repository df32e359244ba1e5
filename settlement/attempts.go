package settlement

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/publish"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// attempt is one signed transaction for the open positions of its lanes.
type attempt struct {
	message   ionet.Hash
	kind      chain.Kind
	tx        []byte
	signature chain.Signature
	blockhash rpc.Blockhash
	steps     []step
	sent      bool
	reason    string // why a node refused it; "" where none did
	created   time.Time
}

// step is an attempt's part in one lane.
type step struct {
	lane    lane
	content chain.Content
}

// draft is a transaction before it is signed: what it does, and where.
type draft struct {
	kind      chain.Kind
	movements []chain.Movement
	memo      string
	lanes     []lane
	payments  []payment // the debts that its content carries, one for each movement of a payout
	units     uint32    // compute limit; 0: what suffices for stock programs
}

// errPositionTaken reports a lane that moved, or a position with a live attempt.
var errPositionTaken = errors.New("the position is passed, or has a live attempt")

// launch takes a draft the whole way to the network:
//
//	prepare, sign, read back  nothing is durable; a crash loses nothing
//	publish the contents      files that nobody refers to yet
//	persist                   from the commit on the attempt is live: whoever leads
//	                          resends its bytes until the lane or the dead rule ends it
//	send                      as often as needed, always the same bytes
func (s *Service) launch(ctx context.Context, d draft) (attempt, error) {
	a, err := s.build(ctx, d)
	if err != nil {
		return attempt{}, fmt.Errorf("prepare %s: %w", d.kind, err)
	}
	if err := s.publishContents(ctx, a); err != nil {
		return attempt{}, fmt.Errorf("prepare %s: %w", d.kind, err)
	}
	if err := s.persist(ctx, a, d.payments); err != nil {
		return attempt{}, fmt.Errorf("persist %s: %w", d.kind, err)
	}
	return a, s.send(ctx, &a)
}

// build makes and signs the transaction of d and reads it back.
func (s *Service) build(ctx context.Context, d draft) (attempt, error) {
	blockhash, err := s.cfg.Chain.LatestBlockhash(ctx)
	if err != nil {
		return attempt{}, err
	}
	plan, steps, err := s.plan(d)
	if err != nil {
		return attempt{}, err
	}
	plan.Blockhash, plan.Budget = blockhash.Hash, s.budget(ctx, plan, d)
	message, err := plan.Message()
	if err != nil {
		return attempt{}, err
	}
	tx, missing, err := chain.SignMessage(message, append(s.laneKeys(d.lanes), s.cfg.Keys.Operator)...)
	if err != nil {
		return attempt{}, err
	}
	if len(missing) > 0 {
		return attempt{}, fmt.Errorf("a key to sign with is missing: that of %s", missing[0])
	}
	return readBack(tx, steps, blockhash)
}

// plan makes the chain's view of d; each lane's step follows from its content.
func (s *Service) plan(d draft) (chain.Plan, []step, error) {
	n := s.cfg.Network
	p := chain.Plan{Kind: d.kind, Version: 1, FeePayer: n.Keys.Operator, Movements: d.movements, Memo: d.memo}
	if len(d.movements) > 0 {
		p.Mint, p.Decimals = n.Mint, uint8(n.Decimals)
		p.Owners = map[ionet.Key]ionet.Key{d.movements[0].Source: n.Keys.Operator}
	}
	steps, err := s.addSteps(&p, d.lanes)
	return p, steps, err
}

// addSteps gives p the lane steps from the open positions to the next.
func (s *Service) addSteps(p *chain.Plan, lanes []lane) ([]step, error) {
	var steps []step
	for _, l := range lanes {
		c := chain.Content{Kind: p.Kind, Lane: l.address, N: l.position, C: l.c, Movements: p.Movements, Memo: p.Memo}
		if err := c.Check(); err != nil {
			return nil, err
		}
		p.Steps = append(p.Steps, chain.Step{Lane: l.address, From: s.public(l.c), To: s.public(c.Next())})
		steps = append(steps, step{l, c})
	}
	return steps, nil
}

func (s *Service) laneKeys(lanes []lane) []ed25519.PrivateKey {
	keys := make([]ed25519.PrivateKey, len(lanes))
	for i, l := range lanes {
		keys[i] = s.cfg.Keys.Lane.Key(l.c)
	}
	return keys
}

// maxPriority bounds the priority fee of a transaction of ours, in lamports.
const maxPriority = 100_000

// budget returns p's limits with a priority fee as it lately sufficed; none
// where the chain does not tell.
func (s *Service) budget(ctx context.Context, p chain.Plan, d draft) chain.Budget {
	b := p.DefaultBudget()
	if d.units > 0 {
		b.ComputeUnits = d.units
	}
	accounts := []ionet.Key{p.FeePayer}
	for _, l := range d.lanes {
		accounts = append(accounts, l.address)
	}
	price, err := s.cfg.Chain.RecentPriorityFee(ctx, accounts)
	if err != nil {
		s.log.Debug("no priority fee is known", "error", err)
		return b
	}
	b.PriorityLamports = min(min(price, 1<<32)*uint64(b.ComputeUnits)/1_000_000, maxPriority)
	return b
}

// readBack decodes the final bytes and compares what they do, lane by lane,
// with what was meant: nothing is published or persisted that does else.
func readBack(tx []byte, steps []step, blockhash rpc.Blockhash) (attempt, error) {
	d, err := chain.Decode(tx)
	if err != nil {
		return attempt{}, fmt.Errorf("read back: %w", err)
	}
	if err := d.VerifySignatures(); err != nil {
		return attempt{}, fmt.Errorf("read back: %w", err)
	}
	if len(d.Plan.Steps) != len(steps) || d.Blockhash != blockhash.Hash {
		return attempt{}, errors.New("read back: steps or blockhash are others than those prepared")
	}
	for _, st := range steps {
		got, err := d.Content(st.lane.address, st.lane.position, st.lane.c)
		if err != nil {
			return attempt{}, fmt.Errorf("read back: %w", err)
		}
		if got.Hash() != st.content.Hash() {
			return attempt{}, fmt.Errorf("read back: content of %s is %s, prepared was %s", st.lane.name, got.Hash(), st.content.Hash())
		}
	}
	return attempt{message: d.MessageHash(), kind: d.Plan.Kind, tx: tx, signature: d.Signature(), blockhash: blockhash, steps: steps}, nil
}

// publishContents makes the contents durable in the published store.
func (s *Service) publishContents(ctx context.Context, a attempt) error {
	for _, st := range a.steps {
		if err := s.cfg.Store.Put(ctx, publish.ContentName(st.content.Hash()), st.content.Encode()); err != nil {
			return fmt.Errorf("publish content: %w", err)
		}
	}
	return nil
}

// persist commits the attempt: its bytes, contents, debts and their ledger
// entry, with the lease and the lanes' positions checked in the same SQL
// transaction. A debt enters once for a content, however often it is signed.
func (s *Service) persist(ctx context.Context, a attempt, debts []payment) error {
	return s.asSigner(ctx, func(tx pgx.Tx, number int64) error {
		for _, st := range slices.SortedFunc(slices.Values(a.steps), func(x, y step) int { return strings.Compare(x.lane.name, y.lane.name) }) {
			open, err := lockLane(ctx, tx, st.lane)
			if err != nil {
				return err
			}
			if !open {
				return fmt.Errorf("%s position %d: %w", st.lane.name, st.lane.position, errPositionTaken)
			}
			if err := s.storeContent(ctx, tx, a.kind, st, debts); err != nil {
				return err
			}
		}
		return insertAttempt(ctx, tx, a, number, s.now())
	})
}

// storeContent stores the content of one step, and its debts where the content
// is new. Payouts and epochs have one live attempt per position; of claims,
// fences and skips several may stand there, of which one wins.
func (s *Service) storeContent(ctx context.Context, tx pgx.Tx, kind chain.Kind, st step, debts []payment) error {
	if kind == chain.KindPayout || kind == chain.KindEpoch {
		var live bool
		if err := tx.QueryRow(ctx, selectLiveAt, st.lane.name, int64(st.lane.position)).Scan(&live); err != nil {
			return fmt.Errorf("look for live attempts: %w", err)
		}
		if live {
			return fmt.Errorf("%s position %d: %w", st.lane.name, st.lane.position, errPositionTaken)
		}
	}
	hash := st.content.Hash()
	tag, err := tx.Exec(ctx, insertContent, hash[:], st.lane.name, int64(st.lane.position), int16(kind), st.content.Encode())
	if err != nil {
		return fmt.Errorf("store content: %w", err)
	}
	if tag.RowsAffected() == 0 || len(debts) == 0 {
		return nil
	}
	return s.bookDebts(ctx, tx, kind, hash, debts)
}

// bookDebts stores the debts of a new content and puts them in flight.
func (s *Service) bookDebts(ctx context.Context, tx pgx.Tx, kind chain.Kind, content ionet.Hash, debts []payment) error {
	if err := insertPayments(ctx, tx, kind, content, "signed", debts, s.now()); err != nil {
		return err
	}
	entry := ledger.Entry{ID: entryID("signed", content), Kind: "signed"}
	for _, p := range debts {
		entry.Transfers = append(entry.Transfers, ledger.Transfer{Debit: ledger.Owed(p.payee), Credit: ledger.InFlight(p.payee), Amount: p.amount})
	}
	_, err := ledger.Post(ctx, tx, entry, s.now())
	return err
}

// insertPayments stores what content pays; ids follow from it, in its order.
func insertPayments(ctx context.Context, tx pgx.Tx, kind chain.Kind, content ionet.Hash, state string, list []payment, now time.Time) error {
	var ids, payees, accounts [][]byte
	var amounts []int64
	for i, p := range list {
		id := ionet.HashOf([]byte("io/payment/1"), content[:], binary.LittleEndian.AppendUint32(nil, uint32(i)))
		ids, payees, accounts, amounts = append(ids, id[:16]), append(payees, p.payee[:]), append(accounts, p.account[:]), append(amounts, p.amount.Int64())
	}
	if _, err := tx.Exec(ctx, insertPaymentRows, ids, int16(kind), payees, accounts, amounts, content[:], state, now); err != nil {
		return fmt.Errorf("store payments: %w", err)
	}
	return nil
}

const selectLiveAt = `
SELECT EXISTS (
    SELECT 1 FROM contents c JOIN attempt_steps p ON p.content = c.hash JOIN attempts a ON a.message = p.message
    WHERE c.lane = $1 AND c.position = $2 AND a.state = 'live')`

const insertContent = `
INSERT INTO contents (hash, lane, position, kind, bytes, state) VALUES ($1, $2, $3, $4, $5, 'open')
ON CONFLICT (hash) DO NOTHING`

const insertPaymentRows = `
INSERT INTO payments (id, kind, payee, account, amount, content, state, created_at)
SELECT t.id, $2, t.payee, t.account, t.amount, $6, $7, $8
FROM unnest($1::bytea[], $3::bytea[], $4::bytea[], $5::bigint[]) AS t (id, payee, account, amount)`
