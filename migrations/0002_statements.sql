-- +goose Up
-- Statements are keyed by epoch first, so that a sealed epoch leaves in one range. epoch and
-- sample are 0 for kinds that have none. The id is H(kind, signer, body).
CREATE TABLE statements (
    epoch          bigint NOT NULL,
    id             bytea NOT NULL CONSTRAINT statement_id_is_32_bytes CHECK (octet_length(id) = 32),
    kind           smallint NOT NULL,
    signer         bytea NOT NULL CONSTRAINT signer_is_32_bytes CHECK (octet_length(signer) = 32),
    sample         integer NOT NULL,
    signature      bytea NOT NULL CONSTRAINT signature_is_64_bytes CHECK (octet_length(signature) = 64),
    body           bytea NOT NULL,
    arrival_epoch  bigint NOT NULL,
    arrival_sample integer NOT NULL,
    PRIMARY KEY (epoch, id)
);
CREATE INDEX statements_by_signer ON statements (signer, kind, epoch, sample);

-- No uptime statement of an epoch at or below frozen_through enters: intake reads the row FOR
-- SHARE in the transaction that stores, a freeze updates it, so every ack precedes the freeze.
CREATE TABLE intake (
    one            boolean PRIMARY KEY DEFAULT true CONSTRAINT intake_is_one CHECK (one),
    frozen_through bigint NOT NULL CONSTRAINT frozen_through_not_negative CHECK (frozen_through >= 0)
);

-- What stores begins none before ends_at while epoch is not frozen: shared locks that overlap
-- without end would keep a freeze from the intake row. It is read without a lock.
CREATE TABLE closing (
    one     boolean PRIMARY KEY DEFAULT true CONSTRAINT closing_is_one CHECK (one),
    epoch   bigint NOT NULL,
    ends_at timestamptz NOT NULL
);

-- Bytes of the delegations and inventories that arrived in an epoch, so that what costs
-- nothing to send is bounded.
CREATE TABLE registered (
    epoch bigint PRIMARY KEY,
    bytes bigint NOT NULL
);

-- What the text and inventory statements say, for lookup; the statement row is the truth.
CREATE TABLE delegations (
    id            bytea PRIMARY KEY,
    provider      bytea NOT NULL,
    payee         bytea NOT NULL,
    issued        bigint NOT NULL,
    expires       bigint NOT NULL,
    arrival_epoch bigint NOT NULL,
    CONSTRAINT delegation_has_a_life CHECK (issued < expires)
);
CREATE INDEX delegations_by_payee ON delegations (payee);
CREATE TABLE delegation_workers (
    worker     bytea NOT NULL,
    delegation bytea NOT NULL REFERENCES delegations (id),
    PRIMARY KEY (worker, delegation)
);
CREATE INDEX delegation_workers_by_delegation ON delegation_workers (delegation);
-- A revocation counts from the epoch after arrival_epoch on.
CREATE TABLE revocations (
    id            bytea PRIMARY KEY,
    delegation    bytea NOT NULL REFERENCES delegations (id),
    arrival_epoch bigint NOT NULL
);
CREATE INDEX revocations_by_delegation ON revocations (delegation, arrival_epoch);
CREATE TABLE releases (
    id            bytea PRIMARY KEY,
    worker        bytea NOT NULL,
    uuid          bytea NOT NULL CONSTRAINT release_uuid_is_16_bytes CHECK (octet_length(uuid) = 16),
    arrival_epoch bigint NOT NULL
);
CREATE INDEX releases_by_arrival ON releases (arrival_epoch);
-- heard is the last epoch whose book holds an uptime statement of the worker; 0: none.
CREATE TABLE workers (
    key   bytea PRIMARY KEY CONSTRAINT worker_is_32_bytes CHECK (octet_length(key) = 32),
    heard bigint NOT NULL
);
CREATE INDEX workers_by_heard ON workers (heard);
CREATE TABLE inventories (
    id             bytea PRIMARY KEY,
    worker         bytea NOT NULL REFERENCES workers (key),
    delegation     bytea NOT NULL REFERENCES delegations (id),
    simulated      boolean NOT NULL,
    devices        integer NOT NULL CONSTRAINT inventory_has_devices CHECK (devices BETWEEN 1 AND 64),
    arrival_epoch  bigint NOT NULL,
    arrival_sample integer NOT NULL
);
CREATE INDEX inventories_by_worker ON inventories (worker, arrival_epoch, arrival_sample);
CREATE INDEX inventories_by_arrival ON inventories (arrival_epoch);
CREATE TABLE inventory_devices (
    inventory bytea NOT NULL REFERENCES inventories (id),
    uuid      bytea NOT NULL CONSTRAINT uuid_is_16_bytes CHECK (octet_length(uuid) = 16),
    name      text NOT NULL,
    PRIMARY KEY (inventory, uuid)
);
CREATE INDEX inventory_devices_by_uuid ON inventory_devices (uuid);

-- Finalized blocks that the service handed out or checked as beacons.
CREATE TABLE beacons (
    slot      bigint PRIMARY KEY,
    blockhash bytea NOT NULL CONSTRAINT blockhash_is_32_bytes CHECK (octet_length(blockhash) = 32),
    time      bigint NOT NULL,
    epoch     bigint NOT NULL,
    sample    integer NOT NULL
);
CREATE INDEX beacons_by_sample ON beacons (epoch, sample);
