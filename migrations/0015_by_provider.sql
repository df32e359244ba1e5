-- +goose Up
-- What a provider's devices earned is read by the provider too, who may not be who is paid; and
-- a worker asks for its own provider's delegations among those that anybody signed.
CREATE INDEX verdicts_by_provider ON verdicts (provider, epoch);
CREATE INDEX delegations_by_provider ON delegations (provider);
