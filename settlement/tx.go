package settlement

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// maxTries bounds how often a transaction that lost to another is run again.
const maxTries = 8

// inTx runs f in one SQL transaction and commits it. It runs f again when the
// database says that it lost against another transaction (40001, 40P01): then
// nothing of it was committed. After any other error of the commit the outcome
// is unknown; the caller's next pass reads what is there.
func (s *Service) inTx(ctx context.Context, f func(pgx.Tx) error) error {
	return inTxOn(ctx, s.pool, f)
}

func inTxOn(ctx context.Context, pool *pgxpool.Pool, f func(pgx.Tx) error) error {
	var err error
	for try := range maxTries {
		if try > 0 {
			pause := time.Duration(1+rand.IntN(5<<try)) * time.Millisecond
			select {
			case <-ctx.Done():
				return errors.Join(err, ctx.Err())
			case <-time.After(pause):
			}
		}
		if err = pgx.BeginFunc(ctx, pool, f); !isContention(err) {
			return err
		}
	}
	return fmt.Errorf("give up after %d tries: %w", maxTries, err)
}

func isContention(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && (pg.Code == "40001" || pg.Code == "40P01")
}
