-- safe while old code runs: yes
-- Queues that a person has paused, and when: an old consumer does not know of them and goes on.

-- One row for each time a queue was paused; the one that is not resumed holds its consumers back. The rows
-- stay: the age of a message is counted without the time in which its queue was paused.
CREATE TABLE ordermq.pauses (
    pause_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue         text        NOT NULL,
    paused_at     timestamptz NOT NULL DEFAULT now(),
    paused_by     text        NOT NULL,
    pause_reason  text        NOT NULL,
    resumed_at    timestamptz,
    resumed_by    text,
    resume_reason text
);
CREATE INDEX pauses_queue ON ordermq.pauses (queue, pause_id);
CREATE UNIQUE INDEX pauses_open ON ordermq.pauses (queue) WHERE resumed_at IS NULL;
