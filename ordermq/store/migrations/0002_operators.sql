-- safe while old code runs: yes
-- Discarded dead letters, and a record of every change that an operator made.

-- Dead letters of one fingerprint died of the same cause: it is a hash of queue, type and reason without
-- the parts of the reason that differ between messages (numbers, ids, quoted values).
ALTER TABLE ordermq.dead_letters
    ADD COLUMN discarded_at   timestamptz,
    ADD COLUMN discarded_by   text,
    ADD COLUMN discard_reason text,
    ADD COLUMN fingerprint    text NOT NULL GENERATED ALWAYS AS (
        substr(md5(queue || ' ' || type || ' ' || regexp_replace(
            regexp_replace(reason, '''[^'']*''|"[^"]*"', '?', 'g'),
            '[0-9a-fA-F-]*[0-9][0-9a-fA-F-]*', '#', 'g')), 1, 12)) STORED;

DROP INDEX ordermq.dead_letters_open;
CREATE INDEX dead_letters_open ON ordermq.dead_letters (died_at)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;
CREATE INDEX dead_letters_fingerprint ON ordermq.dead_letters (fingerprint)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;

-- One row for each change by an operator, written in the transaction of the change.
CREATE TABLE ordermq.actions (
    action_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    acted_at  timestamptz NOT NULL DEFAULT now(),
    actor     text        NOT NULL,
    action    text        NOT NULL,
    subject   text        NOT NULL,
    reason    text        NOT NULL
);
CREATE INDEX actions_subject ON ordermq.actions (subject, action_id);
