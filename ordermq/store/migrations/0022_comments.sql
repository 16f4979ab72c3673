-- safe while old code runs: yes
-- What each table, view and function is for, where psql shows it (\dt+, \df+) and docs/schema.md is made from.

COMMENT ON SCHEMA ordermq IS 'messages on their way: what every module of ordermq shares';

COMMENT ON TABLE ordermq.migrations IS 'the migrations that this database has, of the framework and of each module';

-- Messages.
COMMENT ON TABLE ordermq.outbox IS
    'messages to publish, written in the transaction that decides them; the relay deletes a row once the broker confirmed it';
COMMENT ON COLUMN ordermq.outbox.available_at IS 'the row is due from then on: a delay, or a retry';
COMMENT ON COLUMN ordermq.outbox.refusals IS 'how often the broker returned or nacked it';
COMMENT ON TABLE ordermq.inbox IS 'messages that were settled, by queue and message_id: a second delivery finds its row and does nothing';
COMMENT ON COLUMN ordermq.inbox.hop IS 'the highest hop that was settled; a retry has the next one';
COMMENT ON TABLE ordermq.dead_letters IS
    'messages that were given up, with the reason; open until they are replayed or discarded';
COMMENT ON COLUMN ordermq.dead_letters.fingerprint IS
    'the same for all that died of one cause: a hash of queue, type and reason without what differs between messages';
COMMENT ON VIEW ordermq.dead_letter_sizes IS 'the length of the body of each dead letter, for those who must not read it';
COMMENT ON TABLE ordermq.death_causes IS
    'open dead letters counted by cause; the letters of a cause are the sum of its rows, so that no consumer waits for another';
COMMENT ON TABLE ordermq.starts IS
    'starts of messages that the broker delivered again: one that kills its process each time is found and given up';
COMMENT ON TABLE ordermq.leases IS
    'which consumer may make the external call of a message now; deleted when the message is settled';

-- What operators do.
COMMENT ON TABLE ordermq.actions IS 'what operators changed: one row for each change, written in its transaction, never altered';
COMMENT ON TABLE ordermq.pauses IS 'each time that a person paused a queue; the one that is not resumed holds its consumers back';
COMMENT ON TABLE ordermq.holds IS
    'each time that a person held back the messages of a correlation id; the one that is not released is in force';

-- Limits on calls to services outside.
COMMENT ON TABLE ordermq.limits IS 'how many calls a second a service outside may get, in all and by key';
COMMENT ON TABLE ordermq.buckets IS 'the tokens of each limit and of each of its keys, as of filled_at';
COMMENT ON TABLE ordermq.metered IS 'when a limit was used up for a minute or longer: no part of the age of a message';
COMMENT ON TABLE ordermq.slots IS 'messages over the share of their key: each may be called when it comes again';

-- Processes and maintenance.
COMMENT ON TABLE ordermq.processes IS 'the processes that run, as each says of itself every few seconds';
COMMENT ON TABLE ordermq.runs IS 'when each maintenance ran last, and how often handlers ran past their deadline';
COMMENT ON TABLE ordermq.taps IS 'who looks at ''ordermq tail'' now; without one, consumers write nothing into tail';
COMMENT ON TABLE ordermq.tail IS 'what consumers settled while somebody looks, for a minute';

-- The history of all records.
COMMENT ON TABLE ordermq.unnumbered IS
    'records that were committed and have no position yet: a row for each statement that added records';
COMMENT ON TABLE ordermq.positions IS
    'the position of each record in one history of all, in the order of commits; a row holds up to 512 positions in a row';
COMMENT ON TABLE ordermq.feeds IS 'how far the history was sent: a row for each way out, such as the stream or a topic of Kafka';
COMMENT ON COLUMN ordermq.feeds.next_position IS 'everything below was sent, or refused';
COMMENT ON COLUMN ordermq.feeds.last_event IS 'the position that the next event names as the one before it';
COMMENT ON COLUMN ordermq.feeds.holder IS 'the process that sends, or was the last to';
COMMENT ON COLUMN ordermq.feeds.held_until IS 'no other process takes over before';
COMMENT ON TABLE ordermq.refused_events IS 'events that a feed could not send; those behind them did not wait';
COMMENT ON TABLE ordermq.checkpoints IS 'what the audit log was signed with: its size, its root and the signed note';

-- Functions.
COMMENT ON FUNCTION ordermq.send IS 'adds a message to the outbox; for other functions in SQL';
COMMENT ON FUNCTION ordermq.claim IS 'takes the lock of the active relay and returns the rows that are due, oldest first';
COMMENT ON FUNCTION ordermq.due_beside IS 'the due rows of queues that do not refuse, while others do; called by claim';
COMMENT ON FUNCTION ordermq.delete_confirmed IS 'deletes rows whose publishing was confirmed';
COMMENT ON FUNCTION ordermq.park IS 'puts off due rows of a queue that refuses';
COMMENT ON FUNCTION ordermq.release IS 'makes refused rows of a queue due again, the fewest refusals first';
COMMENT ON FUNCTION ordermq.take_leases IS 'takes the leases of messages that are free, and says which messages need no more work';
COMMENT ON FUNCTION ordermq.take_tokens IS 'takes tokens of a service''s limit';
COMMENT ON FUNCTION ordermq.take_key_tokens IS 'takes a token of its key for each message, or gives it a slot later';
COMMENT ON FUNCTION ordermq.number_records IS 'gives positions to records that were committed, under the lock of the active relay';
COMMENT ON FUNCTION ordermq.note_actions IS 'trigger: adds new actions to unnumbered';
COMMENT ON FUNCTION ordermq.refuse_change IS 'trigger: refuses to change what is only added to';
COMMENT ON FUNCTION ordermq.death_pattern IS 'a reason without the parts that differ between messages';
COMMENT ON FUNCTION ordermq.count_letters IS 'adds to the count of a cause; called by the triggers on dead_letters';
COMMENT ON FUNCTION ordermq.count_new_letters IS 'trigger: counts letters that were added';
COMMENT ON FUNCTION ordermq.count_changed_letters IS 'trigger: counts letters that were replayed, discarded or opened';
COMMENT ON FUNCTION ordermq.count_gone_letters IS 'trigger: counts letters that were deleted';
COMMENT ON FUNCTION ordermq.count_no_letters IS 'trigger: empties the counts when dead_letters is truncated';
