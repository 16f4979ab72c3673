-- safe while old code runs: yes
-- How far the history of all records (0017) was sent to others: one row for each way out.

CREATE TABLE ordermq.feeds (
    feed          text        PRIMARY KEY,
    next_position bigint      NOT NULL DEFAULT 0 CHECK (next_position >= 0),  -- everything below was sent
    last_event    bigint,                                                     -- position of the newest that was
    moved_at      timestamptz NOT NULL DEFAULT now()
);

-- The stream PREFIX.events.log, fed by the active relay.
INSERT INTO ordermq.feeds (feed) VALUES ('events');
