-- safe while old code runs: yes
-- What operators did about dead letters, and who did what when.

-- Dead letters of one fingerprint died of the same cause: queue, type and the reason without
-- what differs from message to message (numbers, ids, quoted values).
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

-- One row for each thing an operator changed, written in the transaction that changed it.
CREATE TABLE ordermq.actions (
    action_id bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    acted_at  timestamptz NOT NULL DEFAULT now(),
    actor     text        NOT NULL,
    action    text        NOT NULL,
    subject   text        NOT NULL,
    reason    text        NOT NULL
);
CREATE INDEX actions_subject ON ordermq.actions (subject, action_id);
