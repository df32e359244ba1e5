-- +goose Up
-- The price that was observed for an epoch by the key that its policy names: the first that was
-- acked, unless the chain sealed a book with another.
CREATE TABLE prices (
    epoch     bigint NOT NULL CONSTRAINT price_epoch_is_positive CHECK (epoch > 0),
    signer    bytea NOT NULL CONSTRAINT price_signer_is_32_bytes CHECK (octet_length(signer) = 32),
    id        bytea NOT NULL CONSTRAINT price_id_is_32_bytes CHECK (octet_length(id) = 32),
    observed  bigint NOT NULL,
    micro_usd bigint NOT NULL CONSTRAINT price_is_positive CHECK (micro_usd > 0),
    PRIMARY KEY (epoch, signer)
);

-- How an epoch draws from the schedule, and the price that it was judged by: null where there
-- was none. Its book says the same.
ALTER TABLE epochs
    ADD COLUMN draw text NOT NULL DEFAULT 'schedule',
    ADD COLUMN price_epoch bigint,
    ADD COLUMN price_micro_usd bigint,
    ADD CONSTRAINT only_targets_are_priced CHECK (price_epoch IS NULL OR draw = 'target'),
    ADD CONSTRAINT price_is_whole CHECK ((price_epoch IS NULL) = (price_micro_usd IS NULL));
