-- +goose Up
-- Offers that nobody can land any more are deleted after a day: strangers decide how many there are.
CREATE INDEX attempts_swept ON attempts (created_at) WHERE offered AND state IN ('dead', 'lost');
