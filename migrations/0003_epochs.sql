-- +goose Up
-- frozen: inputs are fixed and judged. published: the book is durable in the published store.
-- sealed: the epoch lane's winner is final; the amounts are owed.
CREATE TABLE epochs (
    epoch         bigint PRIMARY KEY CONSTRAINT epoch_is_positive CHECK (epoch > 0),
    state         text NOT NULL CONSTRAINT epoch_state CHECK (state IN ('frozen', 'published', 'sealed')),
    emission      bigint NOT NULL,
    sum           bigint NOT NULL,
    unissued      bigint NOT NULL,
    policy        bytea NOT NULL CONSTRAINT policy_is_a_hash CHECK (octet_length(policy) = 32),
    inputs_root   bytea NOT NULL,
    verdicts_root bytea,
    verdicts      integer NOT NULL,
    memo          text,
    inputs        bytea, -- a book of the inputs alone, until the epoch is sealed
    signature     bytea,
    slot          bigint,
    CONSTRAINT epoch_sum_within_emission CHECK (sum >= 0 AND unissued >= 0 AND sum + unissued = emission),
    CONSTRAINT published_has_memo CHECK (state = 'frozen' OR (memo IS NOT NULL AND verdicts_root IS NOT NULL)),
    CONSTRAINT unsealed_has_inputs CHECK (state = 'sealed' OR inputs IS NOT NULL)
);

CREATE TABLE verdicts (
    epoch    bigint NOT NULL REFERENCES epochs (epoch),
    uuid     bytea NOT NULL,
    worker   bytea NOT NULL,
    provider bytea NOT NULL,
    payee    bytea NOT NULL,
    rule     smallint NOT NULL,
    samples  integer NOT NULL,
    weight   bigint NOT NULL,
    evidence bytea NOT NULL,
    amount   bigint NOT NULL CONSTRAINT verdict_amount_not_negative CHECK (amount >= 0),
    PRIMARY KEY (epoch, uuid, worker)
);
CREATE INDEX verdicts_by_payee ON verdicts (payee, epoch);
CREATE INDEX verdicts_by_worker ON verdicts (worker, epoch);

-- The bindings in force when the epoch after the last sealed one begins.
CREATE TABLE bindings (
    uuid   bytea PRIMARY KEY,
    worker bytea NOT NULL,
    since  bigint NOT NULL,
    last   bigint NOT NULL,
    CONSTRAINT binding_runs_forward CHECK (since <= last)
);
