-- safe while old code runs: yes
-- Events that a feed (0020) could not send, and that those behind them did not wait for.

CREATE TABLE ordermq.refused_events (
    feed       text        NOT NULL,
    position   bigint      NOT NULL,
    source     text        NOT NULL,
    subject    text        NOT NULL,
    number     bigint      NOT NULL,
    reason     text        NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (feed, position)
);
