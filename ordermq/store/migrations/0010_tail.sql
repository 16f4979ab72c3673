-- safe while old code runs: yes
-- For 'ordermq tail': who looks on, and what consumers have settled while somebody does. Nothing of it is kept, so
-- none of it is logged.

CREATE UNLOGGED TABLE ordermq.taps (
    tap_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue      text,       -- NULL: every queue
    open_until timestamptz NOT NULL
);

CREATE UNLOGGED TABLE ordermq.tail (
    tail_id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    settled_at     timestamptz NOT NULL,
    queue          text        NOT NULL,
    type           text        NOT NULL,
    correlation_id text        NOT NULL,
    message_id     text        NOT NULL,
    attempt        integer     NOT NULL,
    hop            integer     NOT NULL,
    outcome        text        NOT NULL,
    reason         text        NOT NULL,
    process        text        NOT NULL
);
