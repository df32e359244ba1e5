package settlement

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ionet-settlement/ionet"
	"github.com/ionet-settlement/ionet/chain"
	"github.com/ionet-settlement/ionet/chain/rpc"
	"github.com/ionet-settlement/ionet/proofs"
	"github.com/ionet-settlement/ionet/settlement/ledger"
)

// SubmitClaim takes a claim that its wallet signed, checks that it is the one
// that was prepared, but for assertions of the Lighthouse program that wallets
// append, checks the debt again, signs, persists and sends it. Handing in the
// same claim again is answered with what became of it.
func (s *Service) SubmitClaim(ctx context.Context, tx []byte) (Claim, error) {
	d, err := chain.Decode(tx)
	if err != nil {
		return Claim{}, whyNoClaim(tx, err)
	}
	if known, ok := s.submitted(ctx, d.MessageHash()); ok {
		return known, nil
	}
	if !s.view.isReady() {
		return Claim{}, s.notReady()
	}
	p, err := s.matchPrepared(ctx, d)
	if err != nil {
		return Claim{}, err
	}
	if !ed25519.Verify(d.FeePayer[:], d.Raw.Message, d.Signatures[0][:]) {
		return Claim{}, NewProblem(ProblemWrongSignature, "transaction", "signature of wallet %s does not verify", d.FeePayer)
	}
	release, err := s.handIns.take(ctx, p.wallet)
	if err != nil {
		return Claim{}, err
	}
	defer release()
	if known, err := s.ClaimStatus(ctx, d.MessageHash()); err == nil && known.State != ClaimPrepared && known.State != ClaimOffered {
		return known, nil // another request handed it in meanwhile
	}
	a, err := s.coSign(ctx, tx, p)
	if err != nil {
		return Claim{}, err
	}
	if err := s.publishContents(ctx, a); err != nil {
		return Claim{}, err
	}
	if err := s.persistClaim(ctx, a, p); errors.Is(err, errHandedIn) {
		return s.ClaimStatus(ctx, a.message)
	} else if err != nil {
		if known, ok := s.submitted(ctx, a.message); ok { // it landed, and a pass has found that meanwhile
			return known, nil
		}
		return Claim{}, err
	}
	if err := s.send(ctx, a); err != nil {
		// It is persisted: passes resend it whatever happened here.
		s.log.Warn("sending a claim", "error", err)
	}
	return s.ClaimStatus(ctx, a.message)
}

// submitted returns what became of a claim that is past being prepared or offered.
func (s *Service) submitted(ctx context.Context, message ionet.Hash) (Claim, bool) {
	c, err := s.ClaimStatus(ctx, message)
	return c, err == nil && c.State != ClaimPrepared && c.State != ClaimOffered
}

// whyNoClaim tells which rule a transaction breaks that is not one of ours, as far as
// wallets are known to break it.
func whyNoClaim(tx []byte, err error) *Problem {
	rule := "sign it as it was prepared"
	raw, rerr := chain.ParseRaw(tx, nil, nil)
	switch {
	case rerr == nil && raw.Version < 0:
		rule = "legacy transactions are refused: keep version 0"
	case rerr == nil && len(raw.Instructions) > 0 && isNonceAdvance(raw.Instructions[0]):
		rule = "durable nonces are refused: a claim lives as long as the blockhash that it was prepared with"
	}
	return NewProblem(ProblemClaimChanged, "transaction", "transaction is not a claim as it was prepared: %v; %s", err, rule)
}

// isNonceAdvance recognizes the System program's AdvanceNonceAccount, u32 4.
func isNonceAdvance(in chain.Instruction) bool {
	return in.Program == ionet.Key{} && len(in.Data) == 4 && in.Data[0] == 4 && in.Data[1] == 0 && in.Data[2] == 0 && in.Data[3] == 0
}

// prepared is a claim as it was handed to its wallet: a row of prepared_claims.
type prepared struct {
	message   ionet.Hash // H of the message bytes
	wallet    ionet.Key
	tx        []byte // no signature on it
	content   chain.Content
	lane      lane
	amount    ionet.Amount
	blockhash rpc.Blockhash
}

// debt is what the claim's content carries.
func (p prepared) debt() []payment {
	return []payment{{p.wallet, p.content.Movements[0].Destination, p.amount}}
}

func (p prepared) public() Prepared {
	return Prepared{Transaction: p.tx, Message: p.message, Lane: p.lane.name, Position: p.lane.position, Amount: p.amount, LastValidHeight: p.blockhash.LastValidHeight}
}

// matchPrepared finds the claim that d was prepared as. Blockhash and lane tell
// which ones it can be; then our instructions must be its first, byte for byte.
func (s *Service) matchPrepared(ctx context.Context, d *chain.Decoded) (prepared, error) {
	if d.Plan.Kind != chain.KindClaim || d.Plan.Version != 0 {
		return prepared{}, NewProblem(ProblemClaimChanged, "transaction", "transaction is a %s of version %d, not a claim of version 0", d.Plan.Kind, d.Plan.Version)
	}
	memo, err := proofs.ParseMemo(d.Plan.Memo)
	if err != nil {
		return prepared{}, NewProblem(ProblemClaimChanged, "transaction", "memo: %v", err)
	}
	named, _ := memo.(proofs.ClaimMemo)
	rows, err := s.pool.Query(ctx, selectByBlockhash, d.Blockhash[:], d.FeePayer[:], named.Wallet[:])
	if err != nil {
		return prepared{}, fmt.Errorf("look for a prepared claim: %w", err)
	}
	list, err := pgx.CollectRows(rows, scanPrepared)
	if err != nil {
		return prepared{}, fmt.Errorf("look for a prepared claim: %w", err)
	}
	problem := NewProblem(ProblemUnknownClaim, "transaction", "no claim was prepared for wallet %s with blockhash %s", d.FeePayer, d.Blockhash)
	for _, p := range list {
		same, err := p.isPrefixOf(d)
		if err != nil {
			return prepared{}, err
		}
		switch {
		case same && p.wallet == d.FeePayer:
			return p, nil
		case p.wallet == d.FeePayer:
			problem = NewProblem(ProblemClaimChanged, "transaction", "instructions are not those of the claim that was prepared for %s", p.wallet)
		case d.Plan.Memo == p.content.Memo && problem.Type == ProblemUnknownClaim:
			problem = NewProblem(ProblemNotYourClaim, "transaction", "the claim was prepared for wallet %s, not for %s", p.wallet, d.FeePayer)
		}
	}
	return prepared{}, problem
}

const preparedColumns = `message, wallet, bytes, content_bytes, lane, amount, blockhash, last_valid_height, context_slot`

const selectByBlockhash = `
SELECT ` + preparedColumns + `
FROM prepared_claims WHERE blockhash = $1 AND wallet IN ($2, $3) ORDER BY created_at DESC`

func scanPrepared(row pgx.CollectableRow) (prepared, error) {
	var p prepared
	var message, wallet, content, blockhash []byte
	var amount, height, slot int64
	if err := row.Scan(&message, &wallet, &p.tx, &content, &p.lane.name, &amount, &blockhash, &height, &slot); err != nil {
		return p, err
	}
	var err error
	if p.content, err = chain.ParseContent(content); err != nil {
		return p, err
	}
	p.message = ionet.Hash(message)
	p.wallet, p.lane.address, p.lane.position, p.lane.c = ionet.Key(wallet), p.content.Lane, p.content.N, p.content.C
	p.blockhash = rpc.Blockhash{Hash: ionet.Key(blockhash), LastValidHeight: uint64(height), ContextSlot: uint64(slot)}
	p.amount, err = ionet.NewAmount(uint64(amount))
	return p, err
}

// isPrefixOf compares instructions: programs, addresses and data. What the
// message may do with each address is Decode's matter.
func (p prepared) isPrefixOf(d *chain.Decoded) (bool, error) {
	ours, err := chain.ParseRaw(p.tx, nil, nil)
	if err != nil {
		return false, fmt.Errorf("read a prepared claim: %w", err)
	}
	if len(d.Instructions) < len(ours.Instructions) {
		return false, nil
	}
	return slices.EqualFunc(ours.Instructions, d.Instructions[:len(ours.Instructions)], sameInstruction), nil
}

func sameInstruction(a, b chain.Instruction) bool {
	return a.Program == b.Program && slices.Equal(a.Data, b.Data) &&
		slices.EqualFunc(a.Accounts, b.Accounts, func(x, y chain.Account) bool { return x.Key == y.Key })
}

// coSign simulates the claim, so that one that would fail takes no position
// and puts nothing in flight, and adds our signatures.
func (s *Service) coSign(ctx context.Context, tx []byte, p prepared) (*attempt, error) {
	if err := s.rehearseClaim(ctx, tx, p, maxRehearsals); err != nil {
		return nil, err
	}
	signed, err := s.signClaim(ctx, tx, p.lane)
	if err != nil {
		return nil, err
	}
	a, err := readBack(signed, []step{{p.lane, p.content}}, p.blockhash)
	a.payments = p.debt()
	return &a, err
}

// How many claims are simulated at once: outsiders decide how many are asked for, and
// the endpoints serve the passes too. A wallet has one of each sort at a time. Offers can
// be asked for in anybody's name, so they leave room for what wallets have signed.
const (
	maxRehearsals      = 16
	maxOfferRehearsals = maxRehearsals / 2
)

// rehearseClaim simulates a claim, signed or not, unless as many are being simulated.
func (s *Service) rehearseClaim(ctx context.Context, tx []byte, p prepared, most int32) error {
	defer s.rehearsed.Add(-1)
	if s.rehearsed.Add(1) > most {
		return NewProblem(ProblemBusy, "transaction", "%d claims are being simulated: try again", most).after(time.Second)
	}
	result, err := s.cfg.Chain.Simulate(ctx, tx, p.blockhash.ContextSlot)
	if err != nil {
		return fmt.Errorf("simulate a claim: %w", err)
	}
	switch {
	case result.Err == nil:
		return nil
	case result.Err.Name == "AlreadyProcessed":
		return nil // an offer that its wallet has sent itself: these very bytes are in a block
	case result.Err.Name == "BlockhashNotFound":
		return NewProblem(ProblemClaimExpired, "transaction", "the claim's blockhash is no longer valid: prepare it again")
	}
	return NewProblem(ProblemClaimWouldFail, "transaction", "the claim would fail: %v; the wallet needs lamports for the fee and for its token account", result.Err)
}

// signClaim adds our signatures: the lane's key, and those of the vault's owner.
func (s *Service) signClaim(ctx context.Context, tx []byte, l lane) ([]byte, error) {
	raw, err := chain.ParseRaw(tx, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("sign a claim: %w", err)
	}
	j := &signing{kind: chain.KindClaim, tx: tx, message: raw.Message, missing: raw.Missing(), lanes: []lane{l}}
	s.complete(ctx, []*signing{j})
	j.missing = slices.DeleteFunc(j.missing, func(k ionet.Key) bool { return k == raw.FeePayer }) // of an offer
	if err := j.lacks(); err != nil {
		return nil, s.notSigned(raw.FeePayer, l, err)
	}
	s.signers.allow([]*signing{j}, []error{nil})
	return j.tx, nil
}

// notSigned is the problem of a claim that the signers did not sign, or can't: why is
// the operator's matter.
func (s *Service) notSigned(wallet ionet.Key, l lane, err error) *Problem {
	s.log.Warn("a claim was not signed", "wallet", wallet.String(), "lane", l.name, "position", l.position, "error", err)
	p := NewProblem(ProblemBusy, "", "claims are not signed at the moment, try again in a while: your debt is untouched").after(claimRetry)
	p.Status = http.StatusServiceUnavailable
	return p
}

// persistClaim checks the debt again and commits the claim as persist does. A
// claim whose content is in flight already, in another message of the same
// wallet, puts nothing in flight a second time: at most one of them lands. An
// offer that comes back with its wallet's signature is live already; from now on
// we send it too.
func (s *Service) persistClaim(ctx context.Context, a *attempt, p prepared) error {
	err := s.asSigner(ctx, func(tx pgx.Tx, number int64) error {
		open, err := lockLanes(ctx, tx, []lane{p.lane})
		if err != nil {
			return err
		}
		if !open[p.lane.name] {
			return NewProblem(ProblemClaimExpired, "transaction", "position %d of %s is passed: prepare the claim again", p.lane.position, p.lane.name)
		}
		if adopted, err := adoptOffer(ctx, tx, a); err != nil || adopted {
			return err
		}
		if err := checkRoom(ctx, tx, a, p); err != nil {
			return err
		}
		if err := checkDebt(ctx, tx, p); err != nil {
			return err
		}
		if a.isOffer() {
			if err := s.storePrepared(ctx, tx, p); err != nil {
				return err
			}
		}
		return s.insertAttempts(ctx, tx, []*attempt{a}, number)
	})
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "23505" && pg.ConstraintName == "attempts_pkey" {
		return errHandedIn
	}
	return s.claimError(err)
}

// errHandedIn reports a claim that another request has persisted meanwhile.
var errHandedIn = errors.New("the claim was handed in already")

// checkDebt checks that the wallet is owed what the claim is for, or that the very
// claim is on its way: a wallet has one at a time.
func checkDebt(ctx context.Context, tx pgx.Tx, p prepared) error {
	o, ok, err := findOpenClaim(ctx, tx, p.wallet)
	switch {
	case err != nil:
		return err
	case ok && o.content.Hash() == p.content.Hash():
		return nil
	case ok && !o.signature.IsZero():
		return o.pending(p.wallet)
	case ok:
		return NewProblem(ProblemClaimExpired, "transaction", "another claim of wallet %s was made meanwhile, for position %d of %s: prepare it again to have that one",
			p.wallet, o.lane.position, o.lane.name)
	}
	owed, err := ledger.Lock(ctx, tx, ledger.Owed(p.wallet), ledger.InFlight(p.wallet)) // both move with the content
	if err != nil {
		return err
	}
	if left := owed[ledger.Owed(p.wallet)]; left.Cmp(p.amount) < 0 {
		return NewProblem(ProblemClaimExpired, "transaction", "wallet %s is owed %s base units now, the claim is for %s: prepare it again", p.wallet, left, p.amount)
	}
	return nil
}

// maxLiveOfContent is how many transactions of one claim that its wallet has signed
// may live at once: a wallet can make any number of messages with one content.
const maxLiveOfContent = 2

// checkRoom refuses a claim that would be one live attempt too many; the lane is
// locked. Other wallets' claims for the position take no room from this one.
func checkRoom(ctx context.Context, tx pgx.Tx, a *attempt, p prepared) error {
	hash := p.content.Hash()
	var signed, offered, offers int
	if err := tx.QueryRow(ctx, countLiveClaims, hash[:]).Scan(&signed, &offered, &offers); err != nil {
		return fmt.Errorf("count live claims: %w", err)
	}
	switch {
	case !a.isOffer() && signed >= maxLiveOfContent:
		return NewProblem(ProblemBusy, "transaction", "%d transactions of this claim are on their way: one of them lands, or all expire", signed).after(claimRetry)
	case a.isOffer() && (offered >= maxOffersOfContent || offers >= maxOffers):
		return NewProblem(ProblemBusy, "account", "%d claims are signed for wallets that have not sent them: try again, or hand the claim in signed by the wallet", offers).after(claimRetry)
	}
	return nil
}

// claimRetry is when to come again with a claim that found no room.
const claimRetry = 5 * time.Second

const countLiveClaims = `
SELECT count(*) FILTER (WHERE NOT a.offered), count(*) FILTER (WHERE a.offered),
    (SELECT count(*) FROM attempts WHERE state = 'live' AND offered)
FROM attempt_steps p JOIN attempts a ON a.message = p.message
WHERE p.content = $1 AND a.state = 'live'`
