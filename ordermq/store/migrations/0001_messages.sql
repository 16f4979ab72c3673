-- safe while old code runs: yes
-- Inbox, outbox, dead letters, starts and leases.

CREATE TABLE ordermq.inbox (
    queue       text        NOT NULL,
    message_id  text        NOT NULL,
    hop         integer     NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('done', 'retry', 'postponed', 'dead')),
    settled_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, message_id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_insert_scale_factor = 0.02);

-- A message in the outbox: the queue, the fields of Envelope in their order, and the payload as JSON in UTF-8.
CREATE TYPE ordermq.message AS (
    routing_key     text,
    message_id      text,
    type            text,
    version         integer,
    correlation_id  text,
    traceparent     text,
    occurred_at     timestamptz,
    attempt         integer,
    hop             integer,
    replay_no       integer,
    first_failed_at timestamptz,
    last_error      text,
    body            bytea
);

-- The columns of a message stand first and in its order; the others have defaults.
CREATE TABLE ordermq.outbox (
    routing_key     text        NOT NULL,
    message_id      text        NOT NULL,
    type            text        NOT NULL,
    version         integer     NOT NULL,
    correlation_id  text        NOT NULL,
    traceparent     text        NOT NULL,
    occurred_at     timestamptz NOT NULL,
    attempt         integer     NOT NULL DEFAULT 1,
    hop             integer     NOT NULL DEFAULT 0,
    replay_no       integer     NOT NULL DEFAULT 0,
    first_failed_at timestamptz,
    last_error      text,
    body            bytea       NOT NULL,
    outbox_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    available_at    timestamptz NOT NULL DEFAULT now(),
    refusals        integer     NOT NULL DEFAULT 0,
    refused_reason  text
) WITH (autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

CREATE INDEX outbox_available ON ordermq.outbox (available_at, outbox_id);
CREATE INDEX outbox_refused ON ordermq.outbox (correlation_id, outbox_id) WHERE refusals > 0;

-- Adds a message to the outbox: it is sent if, and only if, the transaction commits. For SQL functions:
-- PostgreSQL keeps the plan of a PL/pgSQL function as long as a connection lives. Python inserts directly.
CREATE FUNCTION ordermq.send(message ordermq.message) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO ordermq.outbox SELECT message.*;
END
$$;

CREATE TABLE ordermq.dead_letters (
    dead_letter_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue           text        NOT NULL,
    message_id      text        NOT NULL,
    replay_no       integer     NOT NULL DEFAULT 0,
    type            text        NOT NULL,
    version         integer     NOT NULL,
    correlation_id  text        NOT NULL,
    traceparent     text        NOT NULL,
    occurred_at     timestamptz NOT NULL,
    attempt         integer     NOT NULL,
    hop             integer     NOT NULL,
    first_failed_at timestamptz,
    body            bytea       NOT NULL,
    reason          text        NOT NULL,
    died_at         timestamptz NOT NULL DEFAULT now(),
    replayed_at     timestamptz,
    replayed_by     text,
    replay_reason   text,
    UNIQUE (queue, message_id, replay_no)
);

CREATE INDEX dead_letters_open ON ordermq.dead_letters (died_at) WHERE replayed_at IS NULL;
CREATE INDEX dead_letters_correlation ON ordermq.dead_letters (correlation_id);

-- Starts of messages that the broker delivered again, so that a start that never ends, because
-- the message kills the process, is counted.
CREATE TABLE ordermq.starts (
    queue       text        NOT NULL,
    message_id  text        NOT NULL,
    hop         integer     NOT NULL,
    starts      integer     NOT NULL DEFAULT 1,
    started_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (queue, message_id, hop)
);

-- Which consumer may make an external call now. A row is deleted when its message is settled.
CREATE TABLE ordermq.leases (
    queue       text        NOT NULL,
    message_id  text        NOT NULL,
    owner       text        NOT NULL,
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (queue, message_id)
);
