-- +goose Up
-- signed: a content carries it, the debt is in flight. paid or freed: its position is final.
CREATE TABLE payments (
    id         bytea PRIMARY KEY CONSTRAINT payment_id_is_16_bytes CHECK (octet_length(id) = 16),
    kind       smallint NOT NULL,
    payee      bytea NOT NULL,
    account    bytea NOT NULL,
    amount     bigint NOT NULL CONSTRAINT payment_is_positive CHECK (amount > 0),
    content    bytea NOT NULL REFERENCES contents (hash),
    state      text NOT NULL CONSTRAINT payment_state CHECK (state IN ('signed', 'paid', 'freed')),
    created_at timestamptz NOT NULL
);
CREATE INDEX payments_by_content ON payments (content);
CREATE INDEX payments_by_payee ON payments (payee, created_at);
CREATE INDEX payments_by_time ON payments (created_at, id);

-- A payee that could not be paid stays visible with its reason and is tried again later.
CREATE TABLE held_payees (
    payee    bytea PRIMARY KEY,
    reason   text NOT NULL,
    retry_at timestamptz NOT NULL
);

-- A payout run that somebody asked for; done once no payee was left to pay.
CREATE TABLE payout_runs (
    id       bytea PRIMARY KEY CONSTRAINT run_id_is_16_bytes CHECK (octet_length(id) = 16),
    asked_at timestamptz NOT NULL,
    done_at  timestamptz
);
CREATE INDEX payout_runs_open ON payout_runs (asked_at) WHERE done_at IS NULL;

-- A claim that was handed to a wallet reserves nothing; the same request gives the same
-- message while it lives.
CREATE TABLE prepared_claims (
    message           bytea PRIMARY KEY,
    wallet            bytea NOT NULL,
    content           bytea NOT NULL,
    lane              text NOT NULL REFERENCES lanes (name),
    position          bigint NOT NULL,
    bytes             bytea NOT NULL,
    content_bytes     bytea NOT NULL,
    amount            bigint NOT NULL CONSTRAINT claim_is_positive CHECK (amount > 0),
    blockhash         bytea NOT NULL,
    last_valid_height bigint NOT NULL,
    context_slot      bigint NOT NULL,
    created_at        timestamptz NOT NULL
);
CREATE INDEX prepared_claims_by_wallet ON prepared_claims (wallet, created_at);
CREATE INDEX prepared_claims_by_height ON prepared_claims (last_valid_height);
CREATE INDEX prepared_claims_by_blockhash ON prepared_claims (blockhash);

-- A transfer is a double entry: one account is debited, the other credited. An entry is a set
-- of transfers with one idempotency key.
CREATE TABLE ledger_entries (
    id         bytea PRIMARY KEY CONSTRAINT entry_id_is_32_bytes CHECK (octet_length(id) = 32),
    kind       text NOT NULL,
    created_at timestamptz NOT NULL
);
CREATE TABLE ledger_transfers (
    entry  bytea NOT NULL REFERENCES ledger_entries (id),
    n      integer NOT NULL,
    debit  text NOT NULL,
    credit text NOT NULL,
    amount bigint NOT NULL CONSTRAINT transfer_is_positive CHECK (amount > 0),
    PRIMARY KEY (entry, n),
    CONSTRAINT transfer_moves CHECK (debit <> credit)
);
CREATE INDEX ledger_transfers_by_debit ON ledger_transfers (debit);
CREATE INDEX ledger_transfers_by_credit ON ledger_transfers (credit);

-- balance = credits - debits: never negative for what we owe, never positive for what we hold,
-- of which what was overpaid is a part.
CREATE TABLE ledger_balances (
    account text PRIMARY KEY,
    balance bigint NOT NULL,
    CONSTRAINT debt_not_negative CHECK (account LIKE 'vault:%' OR account = 'overpaid' OR balance >= 0),
    CONSTRAINT vault_not_overdrawn CHECK (account NOT LIKE 'vault:%' AND account <> 'overpaid' OR balance <= 0)
);
