package settlement

import (
	"context"
	"fmt"
	"math"

	"github.com/ionet-settlement/ionet"
)

// MaxEarned is the largest page of Earned.
const MaxEarned = 5000

// EarnedAt is a place in the rows of Earned: that of a verdict.
type EarnedAt struct {
	Epoch  uint64
	Device ionet.UUID
	Worker ionet.Key
}

// EarnedAsk asks for the verdicts on a wallet's devices in the epochs From..To that are
// sealed; From 0 is the first, To 0 the last one.
type EarnedAsk struct {
	Wallet   ionet.Key
	From, To uint64
	After    EarnedAt // the last row that the caller has; zero: from the beginning
	Limit    int      // 1..MaxEarned
}

// Earned is a page of them.
type Earned struct {
	Rows    []EpochVerdict // ascending by epoch, device and worker
	Through uint64         // the last epoch that is looked at: To, or the last one sealed
	More    bool           // rows follow this page
}

const selectLastSealed = `SELECT coalesce(max(epoch), 0) FROM epochs WHERE state = 'sealed'`

// A wallet's rows are those that pay it and those of devices that work for it and pay
// another; each half is read by its own index, in order.
const selectEarnedRows = `
SELECT ` + verdictColumns + ` FROM (
    (SELECT ` + verdictColumns + ` FROM verdicts
     WHERE payee = $1 AND epoch BETWEEN $2 AND $3 AND (epoch, uuid, worker) > ($4, $5, $6)
     ORDER BY epoch, uuid, worker LIMIT $7)
    UNION ALL
    (SELECT ` + verdictColumns + ` FROM verdicts
     WHERE provider = $1 AND payee <> $1 AND epoch BETWEEN $2 AND $3 AND (epoch, uuid, worker) > ($4, $5, $6)
     ORDER BY epoch, uuid, worker LIMIT $7)
) v ORDER BY epoch, uuid, worker LIMIT $7`

// Earned returns the verdicts of sealed epochs on the devices that pay the wallet, or
// whose provider it is. What it returns once never changes: a later epoch comes after
// it. The amounts of the rows that pay the wallet sum up to Provider.Earned.
func (s *Service) Earned(ctx context.Context, ask EarnedAsk) (Earned, error) {
	var sealed int64
	if err := s.front.QueryRow(ctx, selectLastSealed).Scan(&sealed); err != nil {
		return Earned{}, fmt.Errorf("read the last sealed epoch: %w", err)
	}
	out := Earned{Through: uint64(sealed)}
	if ask.To != 0 {
		out.Through = min(out.Through, ask.To)
	}
	from, limit := max(ask.From, ask.After.Epoch), min(max(ask.Limit, 1), MaxEarned)
	if from > math.MaxInt64 {
		return out, nil
	}
	after, w := ask.After, ask.Wallet
	rows, err := scanVerdicts(ctx, s.front, selectEarnedRows, w[:], int64(from), int64(out.Through), int64(after.Epoch), after.Device[:], after.Worker[:], limit+1)
	if err != nil {
		return Earned{}, fmt.Errorf("read what %s earned: %w", ask.Wallet, err)
	}
	if out.Rows = rows; len(rows) > limit {
		out.Rows, out.More = rows[:limit], true
	}
	return out, nil
}

// Place returns where the row is.
func (v EpochVerdict) Place() EarnedAt { return EarnedAt{v.Epoch, v.UUID, v.Worker} }
