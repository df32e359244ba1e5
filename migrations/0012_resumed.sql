-- +goose Up

-- What a person booked to suspense because no history explained it. A history that tells
-- of credits up to that slot later tells what is in suspense already.
CREATE TABLE resumed_credits (
    resumption bytea NOT NULL,
    account bytea NOT NULL,         -- the vault
    slot bigint NOT NULL,           -- at which it held so much more than the books said
    amount bigint NOT NULL,
    found bigint NOT NULL DEFAULT 0, -- of it, by credits that were read since
    PRIMARY KEY (account, slot, resumption),
    CONSTRAINT resumed_credit_is_positive CHECK (amount > 0),
    CONSTRAINT resumed_credit_is_found_once CHECK (found BETWEEN 0 AND amount)
);
