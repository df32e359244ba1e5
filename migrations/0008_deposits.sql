-- +goose Up

-- References that were handed out: who is credited with what names one.
CREATE TABLE deposit_references (
    reference bytea PRIMARY KEY,
    wallet bytea NOT NULL,
    nonce bytea NOT NULL,
    created_at timestamptz NOT NULL,
    asked_at timestamptz NOT NULL,  -- when somebody last asked what became of it
    looked_at timestamptz,          -- when its own history was last read
    CONSTRAINT reference_is_32_bytes CHECK (octet_length(reference) = 32),
    CONSTRAINT reference_wallet_is_32_bytes CHECK (octet_length(wallet) = 32),
    CONSTRAINT reference_nonce_is_16_bytes CHECK (octet_length(nonce) = 16)
);
CREATE INDEX deposit_references_by_wallet ON deposit_references (wallet, created_at);
CREATE INDEX deposit_references_asked ON deposit_references (asked_at);

-- Credits of token accounts of ours that no content of ours explains, each by
-- its place in a finalized transaction.
CREATE TABLE deposits (
    signature bytea NOT NULL,
    outer_index integer NOT NULL,   -- -1: the change of a balance as a whole
    inner_index integer NOT NULL,
    sub_index integer NOT NULL,
    account bytea NOT NULL,         -- that was credited
    mint bytea NOT NULL,
    amount numeric(20) NOT NULL,    -- any u64: other mints know no bounds
    source bytea,                   -- token account; NULL: not known
    slot bigint NOT NULL,
    time bigint NOT NULL,
    state text NOT NULL,
    renter bytea,
    reference bytea,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL,
    PRIMARY KEY (signature, outer_index, inner_index, sub_index),
    CONSTRAINT deposit_state CHECK (state IN ('credited', 'suspense')),
    CONSTRAINT credited_has_renter CHECK ((state = 'credited') = (renter IS NOT NULL)),
    CONSTRAINT suspense_has_reason CHECK ((state = 'suspense') = (reason <> '')),
    CONSTRAINT deposit_is_positive CHECK (amount > 0)
);
CREATE INDEX deposits_by_time ON deposits (created_at);
CREATE INDEX deposits_by_reference ON deposits (reference) WHERE reference IS NOT NULL;
CREATE INDEX deposits_by_renter ON deposits (renter, slot) WHERE renter IS NOT NULL;

-- How far the history of each vault is explained.
CREATE TABLE scans (
    account bytea PRIMARY KEY,
    signature bytea,                -- newest transaction up to which all is explained; NULL: none yet
    slot bigint NOT NULL DEFAULT 0  -- finalized slot up to which credits are booked
);

-- How each vault stands against the books, as the leader saw it last. note is empty
-- where they agree; only then may the numbers be old.
CREATE TABLE standings (
    account bytea PRIMARY KEY,
    books text NOT NULL,            -- account of the ledger
    held bigint NOT NULL,
    booked bigint NOT NULL,
    whole boolean NOT NULL,         -- its history was read to the slot
    note text NOT NULL,
    slot bigint NOT NULL
);

-- What renters asked to get back.
CREATE TABLE withdrawals (
    id bytea PRIMARY KEY,           -- first half of the statement's id: what the memo names
    renter bytea NOT NULL,
    request bytea NOT NULL,         -- the id in the statement, made by the renter
    envelope bytea NOT NULL,
    recipient bytea NOT NULL,
    amount bigint NOT NULL,
    expires bigint NOT NULL,
    state text NOT NULL,
    reason text NOT NULL DEFAULT '',
    retry_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT withdrawal_id_is_16_bytes CHECK (octet_length(id) = 16),
    CONSTRAINT withdrawal_is_positive CHECK (amount > 0),
    CONSTRAINT withdrawal_state CHECK (state IN ('accepted', 'paid', 'expired')),
    CONSTRAINT one_withdrawal_per_request UNIQUE (renter, request)
);
CREATE INDEX withdrawals_due ON withdrawals (created_at) WHERE state = 'accepted';

-- Why nothing, or no debt, is signed. A halt ends by a person's decision alone.
CREATE TABLE halts (
    id bytea PRIMARY KEY,
    kind text NOT NULL,
    object text NOT NULL,           -- the vault, or the ledger's account
    detail text NOT NULL,
    slot bigint NOT NULL,
    created_at timestamptz NOT NULL,
    resumed_by bytea,               -- the resumption that ended it
    CONSTRAINT halt_id_is_16_bytes CHECK (octet_length(id) = 16),
    CONSTRAINT halt_kind CHECK (kind IN ('debit', 'authority', 'overpaid'))
);
CREATE UNIQUE INDEX one_halt_of_an_object ON halts (kind, object) WHERE resumed_by IS NULL;

-- What a person decided after a look: the leader carries it out if the books are
-- still as he saw them.
CREATE TABLE resumptions (
    id bytea PRIMARY KEY,
    reason text NOT NULL,
    seen text NOT NULL,             -- the differences that he saw
    asked_at timestamptz NOT NULL,
    ended_at timestamptz,
    refused text NOT NULL DEFAULT '',
    CONSTRAINT resumption_id_is_16_bytes CHECK (octet_length(id) = 16),
    CONSTRAINT resumption_has_a_reason CHECK (reason <> '')
);
CREATE INDEX resumptions_open ON resumptions (asked_at) WHERE ended_at IS NULL;

CREATE INDEX contents_by_signature ON contents (signature) WHERE signature IS NOT NULL;
CREATE INDEX attempts_by_signature ON attempts (signature);
