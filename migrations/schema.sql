-- The schema that all migrations make together, printed by internal/schemadump from
-- the catalog. Not edited by hand: `make schema` prints it anew.

CREATE TABLE attempt_steps (
    message bytea NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT attempt_steps_pkey PRIMARY KEY (message, content)
);
CREATE INDEX attempt_steps_by_content ON attempt_steps USING btree (content);

CREATE TABLE attempts (
    message bytea NOT NULL,
    kind smallint NOT NULL,
    state text NOT NULL,
    transaction bytea NOT NULL,
    signature bytea NOT NULL,
    blockhash bytea NOT NULL,
    last_valid_height bigint NOT NULL,
    context_slot bigint NOT NULL,
    lease bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    sent integer NOT NULL DEFAULT 0,
    reason text NOT NULL DEFAULT ''::text,
    offered boolean NOT NULL GENERATED ALWAYS AS ((signature = decode(repeat('00'::text, 64), 'hex'::text))) STORED,
    CONSTRAINT attempts_pkey PRIMARY KEY (message),
    CONSTRAINT attempt_state CHECK ((state = ANY (ARRAY['live'::text, 'won'::text, 'lost'::text, 'dead'::text]))),
    CONSTRAINT message_is_32_bytes CHECK ((octet_length(message) = 32))
);
CREATE INDEX attempts_by_signature ON attempts USING btree (signature);
CREATE INDEX attempts_live ON attempts USING btree (created_at) WHERE (state = 'live'::text);
CREATE INDEX attempts_offered ON attempts USING btree (created_at) WHERE ((state = 'live'::text) AND offered);
CREATE INDEX attempts_swept ON attempts USING btree (created_at) WHERE (offered AND (state = ANY (ARRAY['dead'::text, 'lost'::text])));

CREATE TABLE beacons (
    slot bigint NOT NULL,
    blockhash bytea NOT NULL,
    "time" bigint NOT NULL,
    epoch bigint NOT NULL,
    sample integer NOT NULL,
    CONSTRAINT beacons_pkey PRIMARY KEY (slot),
    CONSTRAINT blockhash_is_32_bytes CHECK ((octet_length(blockhash) = 32))
);
CREATE INDEX beacons_by_sample ON beacons USING btree (epoch, sample);

CREATE TABLE bindings (
    uuid bytea NOT NULL,
    worker bytea NOT NULL,
    since bigint NOT NULL,
    last bigint NOT NULL,
    CONSTRAINT bindings_pkey PRIMARY KEY (uuid),
    CONSTRAINT binding_runs_forward CHECK ((since <= last))
);

CREATE TABLE channels (
    number integer NOT NULL,
    channel bytea NOT NULL,
    session bytea NOT NULL,
    worker bytea NOT NULL,
    renter bytea NOT NULL,
    key bytea NOT NULL,
    provider bytea NOT NULL,
    payee bytea NOT NULL,
    open bytea NOT NULL,
    envelope bytea NOT NULL,
    limit_ bigint NOT NULL,
    spent bigint NOT NULL DEFAULT 0,
    jobs bigint NOT NULL DEFAULT 0,
    waiting integer NOT NULL DEFAULT 0,
    expires bigint NOT NULL,
    state text NOT NULL,
    closing_at bigint NOT NULL DEFAULT 0,
    index bigint NOT NULL,
    CONSTRAINT channels_pkey PRIMARY KEY (channel),
    CONSTRAINT channel_number_is_one_channels UNIQUE (number),
    CONSTRAINT channel_closes_when_asked CHECK (((state <> 'closing'::text) OR (closing_at > 0))),
    CONSTRAINT channel_is_32_bytes CHECK ((octet_length(channel) = 32)),
    CONSTRAINT channel_state CHECK ((state = ANY (ARRAY['open'::text, 'closing'::text, 'over'::text]))),
    CONSTRAINT spent_within_limit CHECK (((spent >= 0) AND (spent <= limit_))),
    CONSTRAINT waiting_not_negative CHECK ((waiting >= 0))
);
CREATE INDEX channels_by_renter ON channels USING btree (renter);
CREATE INDEX channels_by_session ON channels USING btree (session);
CREATE INDEX channels_by_worker ON channels USING btree (worker);
CREATE INDEX channels_closing ON channels USING btree (closing_at) WHERE (state = 'closing'::text);
CREATE INDEX channels_left ON channels USING btree (session) WHERE (state <> 'over'::text);
CREATE INDEX channels_open ON channels USING btree (expires) WHERE (state <> 'over'::text);
CREATE INDEX channels_waiting ON channels USING btree (channel) WHERE (waiting > 0);

CREATE TABLE closing (
    one boolean NOT NULL DEFAULT true,
    epoch bigint NOT NULL,
    ends_at timestamp with time zone NOT NULL,
    CONSTRAINT closing_pkey PRIMARY KEY (one),
    CONSTRAINT closing_is_one CHECK (one)
);

CREATE TABLE contents (
    hash bytea NOT NULL,
    lane text NOT NULL,
    "position" bigint NOT NULL,
    kind smallint NOT NULL,
    bytes bytea NOT NULL,
    state text NOT NULL,
    signature bytea,
    slot bigint,
    CONSTRAINT contents_pkey PRIMARY KEY (hash),
    CONSTRAINT content_hash_is_32_bytes CHECK ((octet_length(hash) = 32)),
    CONSTRAINT content_state CHECK ((state = ANY (ARRAY['open'::text, 'won'::text, 'lost'::text]))),
    CONSTRAINT only_winners_landed CHECK (((state = 'won'::text) OR ((signature IS NULL) AND (slot IS NULL))))
);
CREATE INDEX contents_by_position ON contents USING btree (lane, "position");
CREATE INDEX contents_by_signature ON contents USING btree (signature) WHERE (signature IS NOT NULL);
CREATE UNIQUE INDEX one_winner_per_position ON contents USING btree (lane, "position") WHERE (state = 'won'::text);

CREATE TABLE delegation_workers (
    worker bytea NOT NULL,
    delegation bytea NOT NULL,
    CONSTRAINT delegation_workers_pkey PRIMARY KEY (worker, delegation)
);
CREATE INDEX delegation_workers_by_delegation ON delegation_workers USING btree (delegation);

CREATE TABLE delegations (
    id bytea NOT NULL,
    provider bytea NOT NULL,
    payee bytea NOT NULL,
    issued bigint NOT NULL,
    expires bigint NOT NULL,
    arrival_epoch bigint NOT NULL,
    CONSTRAINT delegations_pkey PRIMARY KEY (id),
    CONSTRAINT delegation_has_a_life CHECK ((issued < expires))
);
CREATE INDEX delegations_by_payee ON delegations USING btree (payee);
CREATE INDEX delegations_by_provider ON delegations USING btree (provider);

CREATE TABLE deposit_references (
    reference bytea NOT NULL,
    wallet bytea NOT NULL,
    nonce bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    looked_at timestamp with time zone,
    CONSTRAINT deposit_references_pkey PRIMARY KEY (reference),
    CONSTRAINT reference_is_32_bytes CHECK ((octet_length(reference) = 32)),
    CONSTRAINT reference_nonce_is_16_bytes CHECK ((octet_length(nonce) = 16)),
    CONSTRAINT reference_wallet_is_32_bytes CHECK ((octet_length(wallet) = 32))
);
CREATE INDEX deposit_references_asked ON deposit_references USING btree (asked_at);
CREATE INDEX deposit_references_by_wallet ON deposit_references USING btree (wallet, created_at);

CREATE TABLE deposits (
    signature bytea NOT NULL,
    outer_index integer NOT NULL,
    inner_index integer NOT NULL,
    sub_index integer NOT NULL,
    account bytea NOT NULL,
    mint bytea NOT NULL,
    amount numeric(20,0) NOT NULL,
    source bytea,
    slot bigint NOT NULL,
    "time" bigint NOT NULL,
    state text NOT NULL,
    renter bytea,
    reference bytea,
    reason text NOT NULL DEFAULT ''::text,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT deposits_pkey PRIMARY KEY (signature, outer_index, inner_index, sub_index),
    CONSTRAINT credited_has_renter CHECK (((state = 'credited'::text) = (renter IS NOT NULL))),
    CONSTRAINT deposit_is_positive CHECK ((amount > (0)::numeric)),
    CONSTRAINT deposit_state CHECK ((state = ANY (ARRAY['credited'::text, 'suspense'::text]))),
    CONSTRAINT suspense_has_reason CHECK (((state = 'suspense'::text) = (reason <> ''::text)))
);
CREATE INDEX deposits_by_reference ON deposits USING btree (reference) WHERE (reference IS NOT NULL);
CREATE INDEX deposits_by_renter ON deposits USING btree (renter, slot) WHERE (renter IS NOT NULL);
CREATE INDEX deposits_by_time ON deposits USING btree (created_at);

CREATE TABLE disputes (
    id bytea NOT NULL,
    renter bytea NOT NULL,
    job bytea NOT NULL,
    envelope bytea NOT NULL,
    response bytea NOT NULL,
    receipt bigint NOT NULL,
    state text NOT NULL,
    answer bytea,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT disputes_pkey PRIMARY KEY (id),
    CONSTRAINT dispute_id_is_32_bytes CHECK ((octet_length(id) = 32))
);
CREATE INDEX disputes_by_receipt ON disputes USING btree (receipt);

CREATE TABLE epochs (
    epoch bigint NOT NULL,
    state text NOT NULL,
    emission bigint NOT NULL,
    sum bigint NOT NULL,
    unissued bigint NOT NULL,
    policy bytea NOT NULL,
    inputs_root bytea NOT NULL,
    verdicts_root bytea,
    verdicts integer NOT NULL,
    memo text,
    inputs bytea,
    signature bytea,
    slot bigint,
    draw text NOT NULL DEFAULT 'schedule'::text,
    price_epoch bigint,
    price_micro_usd bigint,
    CONSTRAINT epochs_pkey PRIMARY KEY (epoch),
    CONSTRAINT epoch_is_positive CHECK ((epoch > 0)),
    CONSTRAINT epoch_state CHECK ((state = ANY (ARRAY['frozen'::text, 'published'::text, 'sealed'::text]))),
    CONSTRAINT epoch_sum_within_emission CHECK (((sum >= 0) AND (unissued >= 0) AND ((sum + unissued) = emission))),
    CONSTRAINT only_targets_are_priced CHECK (((price_epoch IS NULL) OR (draw = 'target'::text))),
    CONSTRAINT policy_is_a_hash CHECK ((octet_length(policy) = 32)),
    CONSTRAINT price_is_whole CHECK (((price_epoch IS NULL) = (price_micro_usd IS NULL))),
    CONSTRAINT published_has_memo CHECK (((state = 'frozen'::text) OR ((memo IS NOT NULL) AND (verdicts_root IS NOT NULL)))),
    CONSTRAINT unsealed_has_inputs CHECK (((state = 'sealed'::text) OR (inputs IS NOT NULL)))
);

CREATE TABLE halts (
    id bytea NOT NULL,
    kind text NOT NULL,
    object text NOT NULL,
    detail text NOT NULL,
    slot bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    resumed_by bytea,
    CONSTRAINT halts_pkey PRIMARY KEY (id),
    CONSTRAINT halt_id_is_16_bytes CHECK ((octet_length(id) = 16)),
    CONSTRAINT halt_kind CHECK ((kind = ANY (ARRAY['debit'::text, 'authority'::text, 'overpaid'::text])))
);
CREATE UNIQUE INDEX one_halt_of_an_object ON halts USING btree (kind, object) WHERE (resumed_by IS NULL);

CREATE TABLE held_payees (
    payee bytea NOT NULL,
    reason text NOT NULL,
    retry_at timestamp with time zone NOT NULL,
    owed text NOT NULL DEFAULT ''::text,
    CONSTRAINT held_payees_pkey PRIMARY KEY (payee)
);
CREATE INDEX held_payees_by_owed ON held_payees USING btree (owed, retry_at);

CREATE TABLE intake (
    one boolean NOT NULL DEFAULT true,
    frozen_through bigint NOT NULL,
    CONSTRAINT intake_pkey PRIMARY KEY (one),
    CONSTRAINT frozen_through_not_negative CHECK ((frozen_through >= 0)),
    CONSTRAINT intake_is_one CHECK (one)
);

CREATE TABLE inventories (
    id bytea NOT NULL,
    worker bytea NOT NULL,
    delegation bytea NOT NULL,
    simulated boolean NOT NULL,
    devices integer NOT NULL,
    arrival_epoch bigint NOT NULL,
    arrival_sample integer NOT NULL,
    number integer NOT NULL,
    worker_number integer NOT NULL,
    lot bytea NOT NULL,
    CONSTRAINT inventories_pkey PRIMARY KEY (id),
    CONSTRAINT inventory_number_is_one_inventorys UNIQUE (number),
    CONSTRAINT inventory_has_devices CHECK (((devices >= 1) AND (devices <= 64))),
    CONSTRAINT lot_is_16_bytes CHECK ((octet_length(lot) = 16))
);
CREATE INDEX inventories_by_arrival ON inventories USING btree (arrival_epoch);
CREATE INDEX inventories_by_worker ON inventories USING btree (worker, arrival_epoch, arrival_sample);

CREATE TABLE inventory_devices (
    inventory bytea NOT NULL,
    uuid bytea NOT NULL,
    name text NOT NULL,
    CONSTRAINT inventory_devices_pkey PRIMARY KEY (inventory, uuid),
    CONSTRAINT uuid_is_16_bytes CHECK ((octet_length(uuid) = 16))
);
CREATE INDEX inventory_devices_by_uuid ON inventory_devices USING btree (uuid);

CREATE TABLE lanes (
    name text NOT NULL,
    address bytea NOT NULL,
    "position" bigint NOT NULL,
    chain bytea NOT NULL,
    slot bigint NOT NULL DEFAULT 0,
    fenced bigint NOT NULL DEFAULT 0,
    CONSTRAINT lanes_pkey PRIMARY KEY (name),
    CONSTRAINT lanes_address_key UNIQUE (address),
    CONSTRAINT lane_address_is_32_bytes CHECK ((octet_length(address) = 32)),
    CONSTRAINT lane_chain_is_32_bytes CHECK ((octet_length(chain) = 32)),
    CONSTRAINT lane_position_not_negative CHECK (("position" >= 0))
);

CREATE TABLE lease (
    name text NOT NULL,
    instance bytea NOT NULL,
    number bigint NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    signings bigint NOT NULL DEFAULT 0,
    CONSTRAINT lease_pkey PRIMARY KEY (name),
    CONSTRAINT lease_instance_is_16_bytes CHECK ((octet_length(instance) = 16)),
    CONSTRAINT lease_number_is_positive CHECK ((number > 0))
);

CREATE TABLE ledger_balances (
    account text NOT NULL,
    balance bigint NOT NULL,
    CONSTRAINT ledger_balances_pkey PRIMARY KEY (account),
    CONSTRAINT debt_not_negative CHECK (((account ~~ 'vault:%'::text) OR (account = 'overpaid'::text) OR (balance >= 0))),
    CONSTRAINT vault_not_overdrawn CHECK ((((account !~~ 'vault:%'::text) AND (account <> 'overpaid'::text)) OR (balance <= 0)))
);
CREATE INDEX ledger_balances_fees ON ledger_balances USING btree (balance DESC, account) WHERE starts_with(account, 'fees:'::text);
CREATE INDEX ledger_balances_owed ON ledger_balances USING btree (balance DESC, account) WHERE starts_with(account, 'owed:'::text);

CREATE TABLE ledger_bundles (
    entry bytea NOT NULL,
    accounts text[] NOT NULL,
    debits integer[] NOT NULL,
    credits integer[] NOT NULL,
    amounts bigint[] NOT NULL,
    CONSTRAINT ledger_bundles_pkey PRIMARY KEY (entry),
    CONSTRAINT bundle_columns_are_one_length CHECK (((cardinality(debits) = cardinality(credits)) AND (cardinality(debits) = cardinality(amounts))))
);

CREATE TABLE ledger_entries (
    id bytea NOT NULL,
    kind text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT ledger_entries_pkey PRIMARY KEY (id),
    CONSTRAINT entry_id_is_32_bytes CHECK ((octet_length(id) = 32))
);

CREATE TABLE ledger_transfers (
    entry bytea NOT NULL,
    n integer NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    amount bigint NOT NULL,
    CONSTRAINT ledger_transfers_pkey PRIMARY KEY (entry, n),
    CONSTRAINT transfer_is_positive CHECK ((amount > 0)),
    CONSTRAINT transfer_moves CHECK ((debit <> credit))
);
CREATE INDEX ledger_transfers_by_credit ON ledger_transfers USING btree (credit);
CREATE INDEX ledger_transfers_by_debit ON ledger_transfers USING btree (debit);

CREATE TABLE log_entries (
    index bigint NOT NULL,
    tag smallint NOT NULL,
    key bytea NOT NULL,
    channel integer,
    arrival_epoch integer NOT NULL,
    arrival_sample smallint NOT NULL,
    record bytea NOT NULL,
    root bytea,
    CONSTRAINT log_entries_pkey PRIMARY KEY (index),
    CONSTRAINT log_key_is_16_bytes CHECK ((octet_length(key) = 16)),
    CONSTRAINT log_root_is_32_bytes CHECK ((octet_length(root) = 32)),
    CONSTRAINT receipts_have_channels CHECK (((tag = 1) = (channel IS NOT NULL)))
);
CREATE INDEX log_entries_by_channel ON log_entries USING btree (channel, index) WHERE (tag = 1);
CREATE INDEX log_entries_by_key ON log_entries USING btree (key) WHERE (tag <> 1);
CREATE UNIQUE INDEX one_receipt_of_a_job ON log_entries USING btree (key, channel) WHERE (tag = 1);
CREATE INDEX receipts_by_statement ON log_entries USING btree (SUBSTRING(sha256((SUBSTRING(record FROM 120 FOR 33) || SUBSTRING(record FROM 219))) FROM 1 FOR 8)) WHERE (tag = 1);

CREATE TABLE log_head (
    one boolean NOT NULL DEFAULT true,
    size bigint NOT NULL,
    fees bigint NOT NULL,
    jobs bigint NOT NULL,
    accepted bigint NOT NULL,
    channels integer NOT NULL,
    frontier bytea NOT NULL,
    CONSTRAINT log_head_pkey PRIMARY KEY (one),
    CONSTRAINT log_head_is_one CHECK (one),
    CONSTRAINT log_size_not_negative CHECK ((size >= 0))
);

CREATE TABLE network (
    one boolean NOT NULL DEFAULT true,
    id bytea NOT NULL,
    file bytea NOT NULL,
    policy bytea NOT NULL,
    CONSTRAINT network_pkey PRIMARY KEY (one),
    CONSTRAINT network_id_is_32_bytes CHECK ((octet_length(id) = 32)),
    CONSTRAINT network_is_one CHECK (one)
);

CREATE TABLE numbers (
    one boolean NOT NULL DEFAULT true,
    worker integer NOT NULL,
    inventory integer NOT NULL,
    CONSTRAINT numbers_pkey PRIMARY KEY (one),
    CONSTRAINT numbers_is_one CHECK (one)
);

CREATE TABLE offer_models (
    offer bytea NOT NULL,
    name text NOT NULL,
    unit smallint NOT NULL,
    price bigint NOT NULL,
    per bigint NOT NULL,
    CONSTRAINT offer_models_pkey PRIMARY KEY (offer, name, unit)
);
CREATE INDEX offer_models_by_name ON offer_models USING btree (name, unit);

CREATE TABLE offers (
    id bytea NOT NULL,
    worker bytea NOT NULL,
    ordinal bigint NOT NULL,
    expires bigint NOT NULL,
    endpoint text NOT NULL,
    capacity bigint NOT NULL,
    envelope bytea NOT NULL,
    logged bigint,
    arrival_epoch integer NOT NULL,
    arrival_sample smallint NOT NULL,
    CONSTRAINT offers_pkey PRIMARY KEY (id),
    CONSTRAINT offer_id_is_32_bytes CHECK ((octet_length(id) = 32))
);
CREATE INDEX offers_by_worker ON offers USING btree (worker, ordinal);

CREATE TABLE payments (
    id bytea NOT NULL,
    kind smallint NOT NULL,
    payee bytea NOT NULL,
    account bytea NOT NULL,
    amount bigint NOT NULL,
    content bytea NOT NULL,
    state text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT payments_pkey PRIMARY KEY (id),
    CONSTRAINT payment_id_is_16_bytes CHECK ((octet_length(id) = 16)),
    CONSTRAINT payment_is_positive CHECK ((amount > 0)),
    CONSTRAINT payment_state CHECK ((state = ANY (ARRAY['signed'::text, 'paid'::text, 'freed'::text])))
);
CREATE UNIQUE INDEX one_open_claim_per_wallet ON payments USING btree (payee) WHERE ((kind = 5) AND (state = 'signed'::text));
CREATE INDEX payments_by_content ON payments USING btree (content);
CREATE INDEX payments_by_payee ON payments USING btree (payee, created_at);
CREATE INDEX payments_by_time ON payments USING btree (created_at, id);

CREATE TABLE payout_runs (
    id bytea NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone,
    CONSTRAINT payout_runs_pkey PRIMARY KEY (id),
    CONSTRAINT run_id_is_16_bytes CHECK ((octet_length(id) = 16))
);
CREATE INDEX payout_runs_open ON payout_runs USING btree (asked_at) WHERE (done_at IS NULL);

CREATE TABLE policies (
    id bytea NOT NULL,
    version bigint NOT NULL,
    first_epoch bigint NOT NULL,
    hash bytea NOT NULL,
    file bytea NOT NULL,
    arrival_epoch bigint NOT NULL,
    epoch bigint,
    sealed_at bigint,
    CONSTRAINT policies_pkey PRIMARY KEY (id),
    CONSTRAINT only_sealed_has_time CHECK (((sealed_at IS NULL) OR ((epoch IS NOT NULL) AND (sealed_at > 0)))),
    CONSTRAINT policy_hash_is_32_bytes CHECK ((octet_length(hash) = 32))
);
CREATE INDEX policies_by_arrival ON policies USING btree (arrival_epoch);
CREATE INDEX policies_by_hash ON policies USING btree (hash);

CREATE TABLE prepared_claims (
    message bytea NOT NULL,
    wallet bytea NOT NULL,
    content bytea NOT NULL,
    lane text NOT NULL,
    "position" bigint NOT NULL,
    bytes bytea NOT NULL,
    content_bytes bytea NOT NULL,
    amount bigint NOT NULL,
    blockhash bytea NOT NULL,
    last_valid_height bigint NOT NULL,
    context_slot bigint NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT prepared_claims_pkey PRIMARY KEY (message),
    CONSTRAINT claim_is_positive CHECK ((amount > 0))
);
CREATE INDEX prepared_claims_by_blockhash ON prepared_claims USING btree (blockhash);
CREATE INDEX prepared_claims_by_height ON prepared_claims USING btree (last_valid_height);
CREATE INDEX prepared_claims_by_wallet ON prepared_claims USING btree (wallet, created_at);

CREATE TABLE prices (
    epoch bigint NOT NULL,
    signer bytea NOT NULL,
    id bytea NOT NULL,
    observed bigint NOT NULL,
    micro_usd bigint NOT NULL,
    CONSTRAINT prices_pkey PRIMARY KEY (epoch, signer),
    CONSTRAINT price_epoch_is_positive CHECK ((epoch > 0)),
    CONSTRAINT price_id_is_32_bytes CHECK ((octet_length(id) = 32)),
    CONSTRAINT price_is_positive CHECK ((micro_usd > 0)),
    CONSTRAINT price_signer_is_32_bytes CHECK ((octet_length(signer) = 32))
);

CREATE TABLE registered (
    epoch bigint NOT NULL,
    bytes bigint NOT NULL,
    CONSTRAINT registered_pkey PRIMARY KEY (epoch)
);

CREATE TABLE releases (
    id bytea NOT NULL,
    worker bytea NOT NULL,
    uuid bytea NOT NULL,
    arrival_epoch bigint NOT NULL,
    CONSTRAINT releases_pkey PRIMARY KEY (id),
    CONSTRAINT release_uuid_is_16_bytes CHECK ((octet_length(uuid) = 16))
);
CREATE INDEX releases_by_arrival ON releases USING btree (arrival_epoch);

CREATE TABLE resumed_credits (
    resumption bytea NOT NULL,
    account bytea NOT NULL,
    slot bigint NOT NULL,
    amount bigint NOT NULL,
    found bigint NOT NULL DEFAULT 0,
    CONSTRAINT resumed_credits_pkey PRIMARY KEY (account, slot, resumption),
    CONSTRAINT resumed_credit_is_found_once CHECK (((found >= 0) AND (found <= amount))),
    CONSTRAINT resumed_credit_is_positive CHECK ((amount > 0))
);

CREATE TABLE resumptions (
    id bytea NOT NULL,
    reason text NOT NULL,
    seen text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    refused text NOT NULL DEFAULT ''::text,
    CONSTRAINT resumptions_pkey PRIMARY KEY (id),
    CONSTRAINT resumption_has_a_reason CHECK ((reason <> ''::text)),
    CONSTRAINT resumption_id_is_16_bytes CHECK ((octet_length(id) = 16))
);
CREATE INDEX resumptions_open ON resumptions USING btree (asked_at) WHERE (ended_at IS NULL);

CREATE TABLE revocations (
    id bytea NOT NULL,
    delegation bytea NOT NULL,
    arrival_epoch bigint NOT NULL,
    CONSTRAINT revocations_pkey PRIMARY KEY (id)
);
CREATE INDEX revocations_by_delegation ON revocations USING btree (delegation, arrival_epoch);

CREATE TABLE scans (
    account bytea NOT NULL,
    signature bytea,
    slot bigint NOT NULL DEFAULT 0,
    CONSTRAINT scans_pkey PRIMARY KEY (account)
);

CREATE TABLE seals (
    size bigint NOT NULL,
    root bytea NOT NULL,
    fees bigint NOT NULL,
    state text NOT NULL,
    "position" bigint,
    asked_at timestamp with time zone NOT NULL,
    CONSTRAINT seals_pkey PRIMARY KEY (size),
    CONSTRAINT seal_fees_not_negative CHECK ((fees >= 0)),
    CONSTRAINT seal_root_is_32_bytes CHECK ((octet_length(root) = 32)),
    CONSTRAINT seal_size_not_negative CHECK ((size >= 0)),
    CONSTRAINT seal_state CHECK ((state = ANY (ARRAY['waiting'::text, 'sealed'::text, 'passed'::text]))),
    CONSTRAINT sealed_has_position CHECK (((state = 'sealed'::text) = ("position" IS NOT NULL)))
);
CREATE INDEX seals_waiting ON seals USING btree (size) WHERE (state = 'waiting'::text);

CREATE TABLE served_jobs (
    epoch bigint NOT NULL,
    worker bytea NOT NULL,
    id bytea NOT NULL,
    envelope bytea NOT NULL,
    arrival_epoch integer NOT NULL,
    arrival_sample smallint NOT NULL,
    CONSTRAINT served_jobs_pkey PRIMARY KEY (epoch, worker)
);

CREATE TABLE sessions (
    id bytea NOT NULL,
    renter bytea NOT NULL,
    key bytea NOT NULL,
    reserve bigint NOT NULL,
    issued bigint NOT NULL,
    expires bigint NOT NULL,
    envelope bytea NOT NULL,
    state text NOT NULL,
    closing_at bigint NOT NULL DEFAULT 0,
    index bigint NOT NULL,
    arrival_epoch integer NOT NULL,
    arrival_sample smallint NOT NULL,
    channels integer NOT NULL DEFAULT 0,
    opening_epoch bigint NOT NULL DEFAULT 0,
    openings integer NOT NULL DEFAULT 0,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT reserve_is_positive CHECK ((reserve > 0)),
    CONSTRAINT session_closes_when_asked CHECK (((state <> 'closing'::text) OR (closing_at > 0))),
    CONSTRAINT session_id_is_32_bytes CHECK ((octet_length(id) = 32)),
    CONSTRAINT session_state CHECK ((state = ANY (ARRAY['open'::text, 'closing'::text, 'over'::text])))
);
CREATE INDEX sessions_by_key ON sessions USING btree (key, index);
CREATE INDEX sessions_by_renter ON sessions USING btree (renter, index);
CREATE INDEX sessions_closing ON sessions USING btree (closing_at) WHERE (state = 'closing'::text);
CREATE INDEX sessions_open ON sessions USING btree (expires) WHERE (state <> 'over'::text);

CREATE TABLE standings (
    account bytea NOT NULL,
    books text NOT NULL,
    held bigint NOT NULL,
    booked bigint NOT NULL,
    whole boolean NOT NULL,
    note text NOT NULL,
    slot bigint NOT NULL,
    CONSTRAINT standings_pkey PRIMARY KEY (account)
);

CREATE TABLE statements (
    epoch bigint NOT NULL,
    id bytea NOT NULL,
    kind smallint NOT NULL,
    signer bytea NOT NULL,
    signature bytea NOT NULL,
    body bytea NOT NULL,
    arrival_epoch bigint NOT NULL,
    arrival_sample integer NOT NULL,
    CONSTRAINT statements_pkey PRIMARY KEY (epoch, id),
    CONSTRAINT signature_is_64_bytes CHECK ((octet_length(signature) = 64)),
    CONSTRAINT signer_is_32_bytes CHECK ((octet_length(signer) = 32)),
    CONSTRAINT statement_id_is_32_bytes CHECK ((octet_length(id) = 32))
);

CREATE TABLE unlock_requests (
    id bytea NOT NULL,
    category text NOT NULL,
    asked_at timestamp with time zone NOT NULL,
    done_at timestamp with time zone,
    reason text NOT NULL DEFAULT ''::text,
    CONSTRAINT unlock_requests_pkey PRIMARY KEY (id),
    CONSTRAINT unlock_request_id_is_16_bytes CHECK ((octet_length(id) = 16))
);
CREATE UNIQUE INDEX one_open_unlock_request ON unlock_requests USING btree (category) WHERE (done_at IS NULL);

CREATE TABLE uptimes (
    ring smallint NOT NULL,
    sample smallint NOT NULL,
    epoch integer NOT NULL,
    worker integer NOT NULL,
    inventory integer NOT NULL,
    arrival_epoch integer NOT NULL,
    arrival_sample smallint NOT NULL,
    half smallint NOT NULL,
    beacon_slot bigint NOT NULL,
    signed bytea NOT NULL,
    CONSTRAINT uptimes_pkey PRIMARY KEY (ring, epoch, worker, sample, half),
    CONSTRAINT ring_is_that_of_the_epoch CHECK ((ring = (epoch % 4))),
    CONSTRAINT signed_holds_a_device CHECK ((octet_length(signed) > 100)),
    CONSTRAINT uptime_sample_not_negative CHECK ((sample >= 0))
) PARTITION BY LIST (ring);
CREATE TABLE uptimes_0 PARTITION OF uptimes FOR VALUES IN ('0');
CREATE TABLE uptimes_1 PARTITION OF uptimes FOR VALUES IN ('1');
CREATE TABLE uptimes_2 PARTITION OF uptimes FOR VALUES IN ('2');
CREATE TABLE uptimes_3 PARTITION OF uptimes FOR VALUES IN ('3');

CREATE TABLE verdicts (
    epoch bigint NOT NULL,
    uuid bytea NOT NULL,
    worker bytea NOT NULL,
    provider bytea NOT NULL,
    payee bytea NOT NULL,
    rule smallint NOT NULL,
    samples integer NOT NULL,
    weight bigint NOT NULL,
    evidence bytea NOT NULL,
    amount bigint NOT NULL,
    CONSTRAINT verdicts_pkey PRIMARY KEY (epoch, uuid, worker),
    CONSTRAINT verdict_amount_not_negative CHECK ((amount >= 0))
);
CREATE INDEX verdicts_by_payee ON verdicts USING btree (payee, epoch);
CREATE INDEX verdicts_by_provider ON verdicts USING btree (provider, epoch);
CREATE INDEX verdicts_by_worker ON verdicts USING btree (worker, epoch);

CREATE TABLE waiting_jobs (
    channel bytea NOT NULL,
    before bigint NOT NULL,
    after bigint NOT NULL,
    id bytea NOT NULL,
    envelope bytea NOT NULL,
    arrival_epoch integer NOT NULL,
    arrival_sample smallint NOT NULL,
    CONSTRAINT waiting_jobs_pkey PRIMARY KEY (channel, before, id)
);

CREATE TABLE withdrawals (
    id bytea NOT NULL,
    renter bytea NOT NULL,
    request bytea NOT NULL,
    envelope bytea NOT NULL,
    recipient bytea NOT NULL,
    amount bigint NOT NULL,
    expires bigint NOT NULL,
    state text NOT NULL,
    reason text NOT NULL DEFAULT ''::text,
    retry_at timestamp with time zone NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT withdrawals_pkey PRIMARY KEY (id),
    CONSTRAINT one_withdrawal_per_request UNIQUE (renter, request),
    CONSTRAINT withdrawal_id_is_16_bytes CHECK ((octet_length(id) = 16)),
    CONSTRAINT withdrawal_is_positive CHECK ((amount > 0)),
    CONSTRAINT withdrawal_state CHECK ((state = ANY (ARRAY['accepted'::text, 'paid'::text, 'expired'::text])))
);
CREATE INDEX withdrawals_due ON withdrawals USING btree (created_at) WHERE (state = 'accepted'::text);

CREATE TABLE workers (
    key bytea NOT NULL,
    heard bigint NOT NULL,
    number integer NOT NULL,
    last_sample smallint NOT NULL DEFAULT 0,
    last_statement bytea,
    CONSTRAINT workers_pkey PRIMARY KEY (key),
    CONSTRAINT worker_number_is_one_workers UNIQUE (number),
    CONSTRAINT last_statement_is_32_bytes CHECK ((octet_length(last_statement) = 32)),
    CONSTRAINT worker_is_32_bytes CHECK ((octet_length(key) = 32))
);
CREATE INDEX workers_by_heard ON workers USING btree (heard);

ALTER TABLE attempt_steps ADD CONSTRAINT attempt_steps_content_fkey FOREIGN KEY (content) REFERENCES contents(hash);
ALTER TABLE attempt_steps ADD CONSTRAINT attempt_steps_message_fkey FOREIGN KEY (message) REFERENCES attempts(message);
ALTER TABLE channels ADD CONSTRAINT channels_session_fkey FOREIGN KEY (session) REFERENCES sessions(id);
ALTER TABLE contents ADD CONSTRAINT contents_lane_fkey FOREIGN KEY (lane) REFERENCES lanes(name);
ALTER TABLE delegation_workers ADD CONSTRAINT delegation_workers_delegation_fkey FOREIGN KEY (delegation) REFERENCES delegations(id);
ALTER TABLE inventories ADD CONSTRAINT inventories_delegation_fkey FOREIGN KEY (delegation) REFERENCES delegations(id);
ALTER TABLE inventories ADD CONSTRAINT inventories_worker_fkey FOREIGN KEY (worker) REFERENCES workers(key);
ALTER TABLE inventory_devices ADD CONSTRAINT inventory_devices_inventory_fkey FOREIGN KEY (inventory) REFERENCES inventories(id);
ALTER TABLE ledger_bundles ADD CONSTRAINT ledger_bundles_entry_fkey FOREIGN KEY (entry) REFERENCES ledger_entries(id);
ALTER TABLE ledger_transfers ADD CONSTRAINT ledger_transfers_entry_fkey FOREIGN KEY (entry) REFERENCES ledger_entries(id);
ALTER TABLE offer_models ADD CONSTRAINT offer_models_offer_fkey FOREIGN KEY (offer) REFERENCES offers(id) ON DELETE CASCADE;
ALTER TABLE payments ADD CONSTRAINT payments_content_fkey FOREIGN KEY (content) REFERENCES contents(hash);
ALTER TABLE prepared_claims ADD CONSTRAINT prepared_claims_lane_fkey FOREIGN KEY (lane) REFERENCES lanes(name);
ALTER TABLE revocations ADD CONSTRAINT revocations_delegation_fkey FOREIGN KEY (delegation) REFERENCES delegations(id);
ALTER TABLE verdicts ADD CONSTRAINT verdicts_epoch_fkey FOREIGN KEY (epoch) REFERENCES epochs(epoch);
