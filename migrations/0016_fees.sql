-- +goose Up
-- The receipt log: every change of sessions and channels is a leaf, FORMAT.md section 12. Whoever
-- appends holds the one row of log_head until its commit, so that leaves, ledger and head are
-- one; no order but the head's exists.
CREATE TABLE log_head (
    one      boolean PRIMARY KEY DEFAULT true CONSTRAINT log_head_is_one CHECK (one),
    size     bigint  NOT NULL CONSTRAINT log_size_not_negative CHECK (size >= 0),
    fees     bigint  NOT NULL, -- of all receipts
    jobs     bigint  NOT NULL, -- of all receipts, those of batches included
    accepted bigint  NOT NULL, -- of the last record
    channels integer NOT NULL, -- the last number that a channel was given
    frontier bytea   NOT NULL  -- hashes of the complete subtrees, the largest first
);
INSERT INTO log_head (size, fees, jobs, accepted, channels, frontier) VALUES (0, 0, 0, 0, 0, '');

-- key is a job's or a batch's id in a receipt, else the first half of the statement's id; channel
-- is channels.number in a receipt. The arrival is what the statement's ack shows. root is that of
-- the log up to here, in the last row of each transaction: it tells an instance whether what it
-- remembers is what is here, or this database was put back meanwhile.
CREATE TABLE log_entries (
    index          bigint   PRIMARY KEY,
    tag            smallint NOT NULL,
    key            bytea    NOT NULL CONSTRAINT log_key_is_16_bytes CHECK (octet_length(key) = 16),
    channel        integer,
    arrival_epoch  integer  NOT NULL,
    arrival_sample smallint NOT NULL,
    record         bytea    NOT NULL,
    root           bytea    CONSTRAINT log_root_is_32_bytes CHECK (octet_length(root) = 32),
    CONSTRAINT receipts_have_channels CHECK ((tag = 1) = (channel IS NOT NULL))
);
CREATE UNIQUE INDEX one_receipt_of_a_job ON log_entries (key, channel) WHERE tag = 1;
CREATE INDEX log_entries_by_key ON log_entries (key) WHERE tag <> 1;
CREATE INDEX log_entries_by_channel ON log_entries (channel, index) WHERE tag = 1;
-- A receipt by the id of its statement, H(kind ‖ signer ‖ body): FORMAT.md section 12 has these
-- places in its record, 115 bytes before the statement's length.
CREATE INDEX receipts_by_statement ON log_entries (substring(sha256(substring(record FROM 120 FOR 33) || substring(record FROM 219)) FOR 8)) WHERE tag = 1;

-- A session's money lies on its account of the ledger. closing_at is 0 until it was asked
-- to close.
CREATE TABLE sessions (
    id             bytea    PRIMARY KEY CONSTRAINT session_id_is_32_bytes CHECK (octet_length(id) = 32),
    renter         bytea    NOT NULL,
    key            bytea    NOT NULL,
    reserve        bigint   NOT NULL CONSTRAINT reserve_is_positive CHECK (reserve > 0),
    issued         bigint   NOT NULL,
    expires        bigint   NOT NULL,
    envelope       bytea    NOT NULL,
    state          text     NOT NULL CONSTRAINT session_state CHECK (state IN ('open', 'closing', 'over')),
    closing_at     bigint   NOT NULL DEFAULT 0,
    index          bigint   NOT NULL, -- of its record
    arrival_epoch  integer  NOT NULL,
    arrival_sample smallint NOT NULL,
    CONSTRAINT session_closes_when_asked CHECK (state <> 'closing' OR closing_at > 0)
);
CREATE INDEX sessions_by_renter ON sessions (renter, index);
CREATE INDEX sessions_by_key ON sessions (key, index);
CREATE INDEX sessions_open ON sessions (expires) WHERE state <> 'over';
CREATE INDEX sessions_closing ON sessions (closing_at) WHERE state = 'closing';

-- limit_ is the greatest that was opened with, by open, a statement in envelope; payee is the
-- payout wallet of the delegation that named the worker then. waiting counts its waiting_jobs.
CREATE TABLE channels (
    number     integer NOT NULL CONSTRAINT channel_number_is_one_channels UNIQUE,
    channel    bytea   PRIMARY KEY CONSTRAINT channel_is_32_bytes CHECK (octet_length(channel) = 32),
    session    bytea   NOT NULL REFERENCES sessions (id),
    worker     bytea   NOT NULL,
    renter     bytea   NOT NULL,
    key        bytea   NOT NULL,
    provider   bytea   NOT NULL,
    payee      bytea   NOT NULL,
    open       bytea   NOT NULL,
    envelope   bytea   NOT NULL,
    limit_     bigint  NOT NULL,
    spent      bigint  NOT NULL DEFAULT 0,
    jobs       bigint  NOT NULL DEFAULT 0,
    waiting    integer NOT NULL DEFAULT 0 CONSTRAINT waiting_not_negative CHECK (waiting >= 0),
    expires    bigint  NOT NULL,
    state      text    NOT NULL CONSTRAINT channel_state CHECK (state IN ('open', 'closing', 'over')),
    closing_at bigint  NOT NULL DEFAULT 0,
    index      bigint  NOT NULL, -- of the record that opened it first
    CONSTRAINT spent_within_limit CHECK (spent BETWEEN 0 AND limit_),
    CONSTRAINT channel_closes_when_asked CHECK (state <> 'closing' OR closing_at > 0)
);
CREATE INDEX channels_by_session ON channels (session);
CREATE INDEX channels_by_renter ON channels (renter);
CREATE INDEX channels_by_worker ON channels (worker);
CREATE INDEX channels_open ON channels (expires) WHERE state <> 'over';
CREATE INDEX channels_waiting ON channels (channel) WHERE waiting > 0;
CREATE INDEX channels_closing ON channels (closing_at) WHERE state = 'closing';

-- An offer is logged when the first receipt names it. Only the one with a worker's greatest
-- ordinal is listed.
CREATE TABLE offers (
    id             bytea    PRIMARY KEY CONSTRAINT offer_id_is_32_bytes CHECK (octet_length(id) = 32),
    worker         bytea    NOT NULL,
    ordinal        bigint   NOT NULL, -- the number by which a worker orders its offers
    expires        bigint   NOT NULL,
    endpoint       text     NOT NULL,
    capacity       bigint   NOT NULL,
    envelope       bytea    NOT NULL,
    logged         bigint, -- index of its record
    arrival_epoch  integer  NOT NULL,
    arrival_sample smallint NOT NULL
);
CREATE INDEX offers_by_worker ON offers (worker, ordinal);
CREATE TABLE offer_models (
    offer bytea    NOT NULL REFERENCES offers (id) ON DELETE CASCADE,
    name  text     NOT NULL,
    unit  smallint NOT NULL,
    price bigint   NOT NULL,
    per   bigint   NOT NULL,
    PRIMARY KEY (offer, name, unit)
);
CREATE INDEX offer_models_by_name ON offer_models (name, unit);

-- Jobs that are ahead of their channel.
CREATE TABLE waiting_jobs (
    channel        bytea    NOT NULL,
    before         bigint   NOT NULL,
    after          bigint   NOT NULL,
    id             bytea    NOT NULL, -- of the statement
    envelope       bytea    NOT NULL,
    arrival_epoch  integer  NOT NULL,
    arrival_sample smallint NOT NULL,
    PRIMARY KEY (channel, before, id)
);

-- Of the jobs of a worker that were served in an epoch, and came before it was frozen, the one
-- with the smallest id: FORMAT.md section 6.
CREATE TABLE served_jobs (
    epoch          bigint   NOT NULL,
    worker         bytea    NOT NULL,
    id             bytea    NOT NULL,
    envelope       bytea    NOT NULL,
    arrival_epoch  integer  NOT NULL,
    arrival_sample smallint NOT NULL,
    PRIMARY KEY (epoch, worker)
);

-- Two signed statements of one job that differ, or a renter's claim that a batch lacks a job.
CREATE TABLE disputes (
    id         bytea PRIMARY KEY CONSTRAINT dispute_id_is_32_bytes CHECK (octet_length(id) = 32),
    renter     bytea NOT NULL,
    job        bytea NOT NULL,
    envelope   bytea NOT NULL,
    response   bytea NOT NULL,
    receipt    bigint NOT NULL, -- index in the log
    state      text NOT NULL,
    answer     bytea,
    created_at timestamptz NOT NULL
);
CREATE INDEX disputes_by_receipt ON disputes (receipt);

-- All transfers of one batch in one row: accounts are named once, debits and credits are
-- places in that list, from 1.
CREATE TABLE ledger_bundles (
    entry    bytea PRIMARY KEY REFERENCES ledger_entries (id),
    accounts text[] NOT NULL,
    debits   integer[] NOT NULL,
    credits  integer[] NOT NULL,
    amounts  bigint[] NOT NULL,
    CONSTRAINT bundle_columns_are_one_length CHECK (cardinality(debits) = cardinality(credits) AND cardinality(debits) = cardinality(amounts))
);
