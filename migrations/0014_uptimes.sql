-- +goose Up
-- Workers and inventories have numbers inside. Numbers are given in the order of registration and
-- never again, but a database that is put back gives them anew: nothing outside it may keep one
-- without comparing what it stands for.
CREATE TABLE numbers (
    one       boolean PRIMARY KEY DEFAULT true CONSTRAINT numbers_is_one CHECK (one),
    worker    integer NOT NULL, -- the last that was given
    inventory integer NOT NULL
);
ALTER TABLE workers
    ADD COLUMN number integer,
    ADD COLUMN last_sample smallint NOT NULL DEFAULT 0, -- of the last uptime statement of epoch heard
    ADD COLUMN last_statement bytea;
UPDATE workers w SET number = t.n
FROM (SELECT key, row_number() OVER (ORDER BY key) AS n FROM workers) t WHERE t.key = w.key;
ALTER TABLE workers
    ALTER COLUMN number SET NOT NULL,
    ADD CONSTRAINT worker_number_is_one_workers UNIQUE (number),
    ADD CONSTRAINT last_statement_is_32_bytes CHECK (octet_length(last_statement) = 32);
-- lot is drawn at random for each request that is given numbers. Numbers rise in the order of
-- commits, so an inventory that still has the number and lot that it had when it was read proves
-- that all smaller numbers stand for what they stood for then, too.
ALTER TABLE inventories
    ADD COLUMN number integer,
    ADD COLUMN worker_number integer,
    ADD COLUMN lot bytea CONSTRAINT lot_is_16_bytes CHECK (octet_length(lot) = 16);
UPDATE inventories i SET number = t.n, worker_number = w.number, lot = uuid_send(gen_random_uuid())
FROM (SELECT id, row_number() OVER (ORDER BY id) AS n FROM inventories) t, workers w WHERE t.id = i.id AND w.key = i.worker;
ALTER TABLE inventories
    ALTER COLUMN number SET NOT NULL,
    ALTER COLUMN worker_number SET NOT NULL,
    ALTER COLUMN lot SET NOT NULL,
    ADD CONSTRAINT inventory_number_is_one_inventorys UNIQUE (number);
INSERT INTO numbers (worker, inventory)
SELECT (SELECT coalesce(max(number), 0) FROM workers), (SELECT coalesce(max(number), 0) FROM inventories);

-- Uptime statements until their epoch's book is published. The body is made again from the row:
-- the worker's key, the inventory with its delegation, and the beacon's hash are looked up by what
-- the row names. half tells statements of one sample apart: 0 but for equivocations. signed is
-- the signature, the previous statement's id, and what follows the body's head: the devices.
-- Epochs lie in four tables in turn, so that a whole one can be emptied at once.
CREATE TABLE uptimes (
    ring           smallint NOT NULL,
    sample         smallint NOT NULL CONSTRAINT uptime_sample_not_negative CHECK (sample >= 0),
    epoch          integer  NOT NULL,
    worker         integer  NOT NULL,
    inventory      integer  NOT NULL,
    arrival_epoch  integer  NOT NULL,
    arrival_sample smallint NOT NULL,
    half           smallint NOT NULL,
    beacon_slot    bigint   NOT NULL,
    signed         bytea    NOT NULL CONSTRAINT signed_holds_a_device CHECK (octet_length(signed) > 100),
    CONSTRAINT ring_is_that_of_the_epoch CHECK (ring = epoch % 4),
    PRIMARY KEY (ring, epoch, worker, sample, half)
) PARTITION BY LIST (ring);
CREATE TABLE uptimes_0 PARTITION OF uptimes FOR VALUES IN (0);
CREATE TABLE uptimes_1 PARTITION OF uptimes FOR VALUES IN (1);
CREATE TABLE uptimes_2 PARTITION OF uptimes FOR VALUES IN (2);
CREATE TABLE uptimes_3 PARTITION OF uptimes FOR VALUES IN (3);

-- No network has run with uptime statements in this table: their format has changed since.
DELETE FROM statements WHERE kind = 17;
DROP INDEX statements_by_signer;
ALTER TABLE statements DROP COLUMN sample;
