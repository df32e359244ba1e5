-- +goose Up
-- One database belongs to one network; a service started with another refuses to run.
CREATE TABLE network (
    one    boolean PRIMARY KEY DEFAULT true CONSTRAINT network_is_one CHECK (one),
    id     bytea NOT NULL CONSTRAINT network_id_is_32_bytes CHECK (octet_length(id) = 32),
    file   bytea NOT NULL,
    policy bytea NOT NULL
);

-- The leader holds the lease row by compare and swap; every settle write carries its number.
-- signings counts what was ever signed: a copy of the database that forgot some has a lower one.
CREATE TABLE lease (
    name       text PRIMARY KEY,
    instance   bytea NOT NULL CONSTRAINT lease_instance_is_16_bytes CHECK (octet_length(instance) = 16),
    number     bigint NOT NULL CONSTRAINT lease_number_is_positive CHECK (number > 0),
    expires_at timestamptz NOT NULL,
    signings   bigint NOT NULL DEFAULT 0
);
