-- safe while old code runs: no (an old consumer cannot count a start)
-- Starts are counted for a message, not for each hop of it; overdue counts those that ran past the deadline.

DELETE FROM ordermq.starts;
ALTER TABLE ordermq.starts
    DROP CONSTRAINT starts_pkey,
    DROP COLUMN hop,
    ADD COLUMN overdue integer NOT NULL DEFAULT 0,
    ADD PRIMARY KEY (queue, message_id);
