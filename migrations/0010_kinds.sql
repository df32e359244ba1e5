-- +goose Up
-- A release of a genesis category that somebody asked for; one at a time is open. Done once nothing
-- more was due and nothing on its way. reason tells why it waits.
CREATE TABLE unlock_requests (
    id       bytea PRIMARY KEY CONSTRAINT unlock_request_id_is_16_bytes CHECK (octet_length(id) = 16),
    category text NOT NULL,
    asked_at timestamptz NOT NULL,
    done_at  timestamptz,
    reason   text NOT NULL DEFAULT ''
);
CREATE UNIQUE INDEX one_open_unlock_request ON unlock_requests (category) WHERE done_at IS NULL;

-- Checkpoints of the receipt log: what was asked to be sealed, and what the seal lane has. waiting: the
-- newest of them is sealed next. passed: a larger one was sealed instead, which commits to it too.
CREATE TABLE seals (
    size     bigint PRIMARY KEY CONSTRAINT seal_size_not_negative CHECK (size >= 0),
    root     bytea NOT NULL CONSTRAINT seal_root_is_32_bytes CHECK (octet_length(root) = 32),
    fees     bigint NOT NULL CONSTRAINT seal_fees_not_negative CHECK (fees >= 0),
    state    text NOT NULL CONSTRAINT seal_state CHECK (state IN ('waiting', 'sealed', 'passed')),
    position bigint,
    asked_at timestamptz NOT NULL,
    CONSTRAINT sealed_has_position CHECK ((state = 'sealed') = (position IS NOT NULL))
);
CREATE INDEX seals_waiting ON seals (size) WHERE state = 'waiting';
