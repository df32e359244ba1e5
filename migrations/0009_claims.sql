-- +goose Up
-- An offer is a claim that has our signatures and lacks its wallet's. It lands when the wallet
-- signs and sends it; we can't send it.
ALTER TABLE attempts ADD COLUMN offered boolean NOT NULL
    GENERATED ALWAYS AS (signature = decode(repeat('00', 64), 'hex')) STORED;
CREATE INDEX attempts_offered ON attempts (created_at) WHERE state = 'live' AND offered;

-- A wallet has one claim (kind 5) on its way at most, in as many transactions as there are of it.
CREATE UNIQUE INDEX one_open_claim_per_wallet ON payments (payee) WHERE kind = 5 AND state = 'signed';
