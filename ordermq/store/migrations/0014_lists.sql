-- safe while old code runs: yes
-- Lists of dead letters and of what people did answer at once where there are hundreds of thousands. Building the
-- indexes stops writers of dead letters for a second for each million of them.

-- All that is counted and compared of open letters with one cause, so that no letter is read for it.
DROP INDEX ordermq.dead_letters_fingerprint;
CREATE INDEX dead_letters_fingerprint ON ordermq.dead_letters (fingerprint) INCLUDE (dead_letter_id, died_at)
    WHERE replayed_at IS NULL AND discarded_at IS NULL;

CREATE INDEX actions_action ON ordermq.actions (action, action_id);
CREATE INDEX actions_actor ON ordermq.actions (actor, action_id);
