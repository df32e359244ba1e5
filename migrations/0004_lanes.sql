-- +goose Up
-- position and chain are n and C(n) of the last state that was read at finalized, at slot.
-- fenced is the lease number under which an empty content of the leader passed the lane.
CREATE TABLE lanes (
    name     text PRIMARY KEY,
    address  bytea NOT NULL UNIQUE CONSTRAINT lane_address_is_32_bytes CHECK (octet_length(address) = 32),
    position bigint NOT NULL CONSTRAINT lane_position_not_negative CHECK (position >= 0),
    chain    bytea NOT NULL CONSTRAINT lane_chain_is_32_bytes CHECK (octet_length(chain) = 32),
    slot     bigint NOT NULL DEFAULT 0,
    fenced   bigint NOT NULL DEFAULT 0
);

-- Every content that was ever signed or imported. won: the finalized winner of its position.
-- signature and slot are those of the transaction that landed, for display only.
CREATE TABLE contents (
    hash      bytea PRIMARY KEY CONSTRAINT content_hash_is_32_bytes CHECK (octet_length(hash) = 32),
    lane      text NOT NULL REFERENCES lanes (name),
    position  bigint NOT NULL,
    kind      smallint NOT NULL,
    bytes     bytea NOT NULL,
    state     text NOT NULL CONSTRAINT content_state CHECK (state IN ('open', 'won', 'lost')),
    signature bytea,
    slot      bigint,
    CONSTRAINT only_winners_landed CHECK (state = 'won' OR (signature IS NULL AND slot IS NULL))
);
CREATE INDEX contents_by_position ON contents (lane, position);
CREATE UNIQUE INDEX one_winner_per_position ON contents (lane, position) WHERE state = 'won';

-- An attempt is one signed transaction, known by its message hash: a wallet can make another
-- valid signature over the same message. The bytes are here before the first of them goes out.
-- sent is 0 while perhaps none went out; reason tells why a node refused them.
CREATE TABLE attempts (
    message           bytea PRIMARY KEY CONSTRAINT message_is_32_bytes CHECK (octet_length(message) = 32),
    kind              smallint NOT NULL,
    state             text NOT NULL CONSTRAINT attempt_state CHECK (state IN ('live', 'won', 'lost', 'dead')),
    transaction       bytea NOT NULL,
    signature         bytea NOT NULL,
    blockhash         bytea NOT NULL,
    last_valid_height bigint NOT NULL,
    context_slot      bigint NOT NULL,
    lease             bigint NOT NULL,
    created_at        timestamptz NOT NULL,
    sent              integer NOT NULL DEFAULT 0,
    reason            text NOT NULL DEFAULT ''
);
CREATE INDEX attempts_live ON attempts (created_at) WHERE state = 'live';
CREATE TABLE attempt_steps (
    message bytea NOT NULL REFERENCES attempts (message),
    content bytea NOT NULL REFERENCES contents (hash),
    PRIMARY KEY (message, content)
);
CREATE INDEX attempt_steps_by_content ON attempt_steps (content);
