-- +goose Up
-- Policy changes that were announced, with the exact file that each names; the statement row is
-- the truth. epoch is the one whose sealed book has the announcement, sealed_at the block time
-- of that seal, read from the chain before the next epoch closes.
CREATE TABLE policies (
    id            bytea PRIMARY KEY,
    version       bigint NOT NULL,
    first_epoch   bigint NOT NULL,
    hash          bytea NOT NULL CONSTRAINT policy_hash_is_32_bytes CHECK (octet_length(hash) = 32),
    file          bytea NOT NULL,
    arrival_epoch bigint NOT NULL,
    epoch         bigint,
    sealed_at     bigint,
    CONSTRAINT only_sealed_has_time CHECK (sealed_at IS NULL OR (epoch IS NOT NULL AND sealed_at > 0))
);
CREATE INDEX policies_by_arrival ON policies (arrival_epoch);
CREATE INDEX policies_by_hash ON policies (hash);
