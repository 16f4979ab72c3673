-- safe while old code runs: yes
-- Rows are looked up by their keys, whatever the statistics say.
--
-- A table of which all rows come and go is empty for the statistics whenever VACUUM or ANALYZE looks between two rows.
-- While a session holds an old snapshot, its indexes then hold every row that was deleted since, and the planner takes
-- them to be empty: to read a whole index looks as cheap as to look up one key. A relay's DELETE read
-- outbox_available from end to end for its outbox_id, 300 ms after three minutes at 2,000 rows a second, and
-- ordermq.take_leases the leases of a whole queue for each message. So no statement is left with that choice here:
-- * An index is found by its first column, or by all columns of a unique one in a subquery of its own (which cannot
--   become a join, and a join can read all of the inner side), or by an array of keys that was made before.
-- * outbox_available is partial, so that only a condition on available_at finds it. IS NOT NULL follows from any.

CREATE INDEX outbox_due ON ordermq.outbox (available_at, outbox_id) WHERE available_at IS NOT NULL;
DROP INDEX ordermq.outbox_available;
ALTER INDEX ordermq.outbox_due RENAME TO outbox_available;

ALTER TABLE ordermq.leases DROP CONSTRAINT leases_pkey, ADD PRIMARY KEY (message_id, queue);
ALTER TABLE ordermq.starts DROP CONSTRAINT starts_pkey, ADD PRIMARY KEY (message_id, queue);

-- Puts off up to `most` due rows of a queue that refuses, and returns how many. Rows that were never tried become
-- refused ones too, so that they hold back the later rows of their correlation ids.
CREATE OR REPLACE FUNCTION ordermq.park(
    refusing text, reason text, put_off interval, most integer, low_mark timestamptz DEFAULT '-infinity')
RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    parked integer;
BEGIN
    UPDATE ordermq.outbox AS o
       SET refusals = greatest(o.refusals, 1), refused_reason = reason, available_at = now() + put_off
     WHERE o.outbox_id = ANY(ARRAY(
           SELECT due.outbox_id FROM ordermq.outbox AS due
            WHERE due.available_at BETWEEN low_mark AND now() AND due.routing_key = refusing
            ORDER BY due.available_at, due.outbox_id LIMIT most));
    GET DIAGNOSTICS parked = ROW_COUNT;
    RETURN parked;
END
$$;

-- Makes up to `most` refused rows of a queue due, and returns how many. The fewest refusals come first: one row that
-- is refused for itself does not keep the others waiting. A row waits while an earlier one of its correlation id does.
CREATE OR REPLACE FUNCTION ordermq.release(refusing text, most integer)
RETURNS integer LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_sort = off
SET max_parallel_workers_per_gather = 0
SET jit = off
AS $$
DECLARE
    released integer;
BEGIN
    UPDATE ordermq.outbox AS o
       SET available_at = now()
     WHERE o.outbox_id = ANY(ARRAY(
           SELECT waiting.outbox_id FROM ordermq.outbox AS waiting
            WHERE waiting.refusals > 0 AND waiting.routing_key = refusing AND waiting.available_at > now()
              AND NOT EXISTS (
                  SELECT FROM ordermq.outbox AS earlier
                   WHERE earlier.refusals > 0
                     AND earlier.correlation_id = waiting.correlation_id
                     AND earlier.correlation_id <> ''
                     AND earlier.outbox_id < waiting.outbox_id)
            ORDER BY waiting.refusals, waiting.outbox_id LIMIT most));
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;

-- Takes the leases of `wanted` that are free or have run out, for `lease_s` seconds, and returns a row for each of
-- `wanted`: 'fresh', 'resumed', or 'foreign' with the seconds that are left on the lease of another. Then, of the
-- messages `asked` with their `hops`, a row 'settled' for each that needs no more work: the inbox is read after the
-- leases were taken, by a statement of its own.
CREATE OR REPLACE FUNCTION ordermq.take_leases(
    of_queue text, wanted text[], taker text, lease_s float8, asked text[], hops integer[])
RETURNS TABLE (kind text, message_id text, left_s float8) LANGUAGE plpgsql
-- The plans are kept while both tables are empty and while they grow.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_material = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    fresh   text[];
    resumed text[];
BEGIN
    -- Leases that are held are left out before the insertion. A conflict would lock their rows even without changing
    -- them, and the transaction that completes a message locks the inbox first.
    WITH taken AS (
        INSERT INTO ordermq.leases AS lease (queue, message_id, owner, lease_until)
        SELECT of_queue, id, taker, now() + lease_s * interval '1 second'
          FROM unnest(wanted) AS id
         WHERE coalesce((SELECT held.lease_until < now() FROM ordermq.leases AS held
                          WHERE held.queue = of_queue AND held.message_id = id), true)
        ON CONFLICT (queue, message_id) DO UPDATE
           SET owner = excluded.owner, lease_until = excluded.lease_until
         WHERE lease.lease_until < now()
        RETURNING message_id, xmax = 0 AS is_fresh
    )
    SELECT coalesce(array_agg(message_id) FILTER (WHERE is_fresh), '{}'),
           coalesce(array_agg(message_id) FILTER (WHERE NOT is_fresh), '{}')
      INTO fresh, resumed
      FROM taken;
    RETURN QUERY
    SELECT 'fresh', id, NULL::float8 FROM unnest(fresh) AS id
     UNION ALL
    SELECT 'resumed', id, NULL FROM unnest(resumed) AS id;
    IF cardinality(fresh) + cardinality(resumed) < cardinality(wanted) THEN
        RETURN QUERY
        SELECT 'foreign', id, greatest(extract(epoch FROM (
                   SELECT lease_until FROM ordermq.leases WHERE queue = of_queue AND message_id = id) - now()), 0)::float8
          FROM unnest(wanted) AS id
         WHERE id <> ALL(fresh) AND id <> ALL(resumed);
    END IF;
    -- LATERAL and OFFSET 0 leave no other way than to look up each of them.
    RETURN QUERY
    SELECT 'settled', asking.message_id, NULL::float8
      FROM unnest(asked, hops) AS asking (message_id, hop),
           LATERAL (SELECT outcome, hop FROM ordermq.inbox
                     WHERE queue = of_queue AND message_id = asking.message_id OFFSET 0) AS seen
     WHERE seen.outcome = 'done' OR seen.hop >= asking.hop;
END
$$;

-- Gives positions to records that have committed, those of at most `most` statements, and returns how many records
-- there were; NULL if another process holds the lock or the server takes no writes. Within one call the records of a
-- source stay together; those of one source are in the order in which their statements were run.
--
-- While a session holds an old snapshot, PostgreSQL keeps the index entries of deleted rows. So a call begins at
-- `low`: no row is below it and none will be. `next_low` is a number that no row had before this transaction got the xid
-- `next_xid`, so a lower number belongs to a lower xid (the xmax of a snapshot may be below those that run). Once all of
-- those have ended, every row below `next_low` is seen or will never be. As nothing must rest on that alone (a standby
-- that was promoted may give numbers a second time), a call with `look_below` looks at all rows. Migration 0011 does the
-- same for the outbox.
CREATE OR REPLACE FUNCTION ordermq.number_records(
    relay_lock bigint, most integer, low bigint, next_low bigint, next_xid xid8, look_below boolean)
RETURNS TABLE (numbered bigint, has_more boolean, new_low bigint, new_next_low bigint, new_next_xid xid8)
LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET jit = off
AS $$
#variable_conflict use_column
DECLARE
    begin_at bigint := low;
    next_position bigint;
    statements bigint;
    upcoming bigint;
BEGIN
    IF current_setting('transaction_read_only') = 'on' OR NOT pg_try_advisory_xact_lock(relay_lock) THEN
        RETURN;
    END IF;
    -- Each of the statements below begins under the lock: it sees what the process before has done.
    IF look_below THEN
        begin_at := least(begin_at, (SELECT min(entry) FROM ordermq.unnumbered WHERE entry < begin_at));
    END IF;
    IF next_xid < pg_snapshot_xmin(pg_current_snapshot()) THEN
        begin_at := least(next_low, (SELECT min(entry) FROM ordermq.unnumbered WHERE entry >= begin_at));
        next_xid := NULL;
    ELSIF next_xid >= pg_snapshot_xmax(pg_current_snapshot()) THEN
        next_xid := NULL;  -- of a server that is gone
    END IF;
    SELECT coalesce(max(first_position + records), 0) INTO next_position
      FROM (SELECT first_position, records FROM ordermq.positions
             ORDER BY first_position DESC LIMIT 1) AS newest;
    upcoming := (SELECT last_value + is_called::integer FROM ordermq.entries);  -- before the deletion gets an xid
    WITH taken AS (
        DELETE FROM ordermq.unnumbered
         WHERE entry = ANY(ARRAY(
               SELECT entry FROM ordermq.unnumbered WHERE entry >= begin_at ORDER BY entry LIMIT most))
        RETURNING *
    ), placed AS (
        SELECT source, subject, number, oldest, newest,
               row_number() OVER (ORDER BY source, entry, place) - 1 AS n
          FROM taken, unnest(subjects, numbers) WITH ORDINALITY AS each (subject, number, place)
    ), added AS (
        INSERT INTO ordermq.positions (first_position, records, source, subjects, numbers, oldest, newest)
        SELECT next_position + min(n), count(*), source, array_agg(subject ORDER BY n),
               array_agg(number ORDER BY n), min(oldest), max(newest)
          FROM placed GROUP BY source, n / 512
        RETURNING records
    )
    SELECT (SELECT coalesce(sum(records), 0) FROM added), (SELECT count(*) FROM taken)
      INTO numbered, statements;
    IF next_xid IS NULL AND statements > 0 THEN
        next_low := upcoming;
        next_xid := pg_current_xact_id();
    END IF;
    has_more := statements = most;
    new_low := begin_at;
    new_next_low := next_low;
    new_next_xid := next_xid;
    RETURN NEXT;
END
$$;
