-- +goose Up
-- Who closes a session writes one row: a channel whose session was asked to close closes with
-- it, whatever its own state says. A session's channels are counted, all that it ever had, and
-- so are its openings and top-ups of the epoch opening_epoch, the last in which it had any.
ALTER TABLE sessions
    ADD COLUMN channels integer NOT NULL DEFAULT 0,
    ADD COLUMN opening_epoch bigint NOT NULL DEFAULT 0,
    ADD COLUMN openings integer NOT NULL DEFAULT 0;
UPDATE sessions s SET channels = n.n FROM (SELECT session, count(*) AS n FROM channels GROUP BY session) n WHERE s.id = n.session;
CREATE INDEX channels_left ON channels (session) WHERE state <> 'over';
