-- safe while old code runs: yes
-- What a person holds back by its correlation id, as one order: an old consumer does not know of it and goes on.

-- One row for each time; the one that is not released holds the id's messages back. The rows stay.
CREATE TABLE ordermq.holds (
    hold_id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    correlation_id text        NOT NULL,
    held_at        timestamptz NOT NULL DEFAULT now(),
    held_by        text        NOT NULL,
    hold_reason    text        NOT NULL,
    released_at    timestamptz,
    released_by    text,
    release_reason text
);
CREATE UNIQUE INDEX holds_open ON ordermq.holds (correlation_id) WHERE released_at IS NULL;
