-- safe while old code runs: yes
-- How far the history of all records (0017) was sent: one row for each way out, such as the stream
-- PREFIX.events.log ("events", docs/events.md) or a topic of Kafka ("kafka:orders.events", docs/kafka.md).

CREATE TABLE ordermq.feeds (
    feed          text        PRIMARY KEY,
    next_position bigint      NOT NULL DEFAULT 0 CHECK (next_position >= 0),  -- everything below was sent
    last_event    bigint,                                    -- position that the next event names as the one before
    refused       bigint      NOT NULL DEFAULT 0,            -- rows that were added to refused_events (0021)
    holder        text        NOT NULL DEFAULT '',           -- the process that sends, or was the last to
    held_until    timestamptz NOT NULL DEFAULT '-infinity',  -- no other takes over before
    moved_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
