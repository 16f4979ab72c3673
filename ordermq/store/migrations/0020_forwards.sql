-- safe while old code runs: yes
-- How far 'ordermq events forward' came, for each target outside such as a topic of Kafka (docs/kafka.md).

CREATE TABLE ordermq.forwards (
    target        text        PRIMARY KEY,  -- "kafka:orders.events"
    next_position bigint      NOT NULL DEFAULT 0 CHECK (next_position >= 0),
    refused       bigint      NOT NULL DEFAULT 0,
    holder        text        NOT NULL DEFAULT '',           -- the process that forwards, or was the last to
    held_until    timestamptz NOT NULL DEFAULT '-infinity',  -- no other takes over before
    moved_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Events that could not be forwarded, and that those behind them did not wait for.
CREATE TABLE ordermq.unforwarded (
    target     text        NOT NULL,
    position   bigint      NOT NULL,
    source     text        NOT NULL,
    subject    text        NOT NULL,
    number     bigint      NOT NULL,
    reason     text        NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (target, position)
);
