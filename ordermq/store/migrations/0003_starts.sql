-- safe while old code runs: no (an old consumer cannot count a start)
-- A start is a message's, whatever hop it was delivered at; a handler that ran too long is remembered.

DELETE FROM ordermq.starts;
ALTER TABLE ordermq.starts
    DROP CONSTRAINT starts_pkey,
    DROP COLUMN hop,
    ADD COLUMN overdue integer NOT NULL DEFAULT 0,
    ADD PRIMARY KEY (queue, message_id);
