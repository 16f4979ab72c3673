-- safe while old code runs: yes
-- What the relay does with rows of queues that refuse, and with confirmed rows, as functions whose plans do not
-- depend on statistics. Those of a table that fills and empties all day are wrong at any moment.

CREATE INDEX outbox_refused_queue ON ordermq.outbox (routing_key, refusals, outbox_id) WHERE refusals > 0;

-- Deletes confirmed rows. As a statement of its own it once read the whole table for each claim, because the
-- statistics dated from an empty one.
CREATE FUNCTION ordermq.delete_confirmed(outbox_ids bigint[]) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET jit = off
AS $$
BEGIN
    DELETE FROM ordermq.outbox AS o WHERE o.outbox_id = ANY(outbox_ids);
END
$$;

-- Puts off up to `most` due rows of a queue that refuses, and returns how many. Rows that were never tried become
-- refused ones too, so that they hold back the later rows of their correlation ids.
CREATE FUNCTION ordermq.park(refusing text, reason text, put_off interval, most integer)
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
      FROM (SELECT due.outbox_id FROM ordermq.outbox AS due
             WHERE due.available_at <= now() AND due.routing_key = refusing
             ORDER BY due.available_at, due.outbox_id LIMIT most) AS due
     WHERE o.outbox_id = due.outbox_id;
    GET DIAGNOSTICS parked = ROW_COUNT;
    RETURN parked;
END
$$;

-- Makes up to `most` refused rows of a queue due, and returns how many. The fewest refusals come first: one row that
-- is refused for itself does not keep the others waiting. A row waits while an earlier one of its correlation id does.
CREATE FUNCTION ordermq.release(refusing text, most integer)
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
      FROM (SELECT waiting.outbox_id FROM ordermq.outbox AS waiting
             WHERE waiting.refusals > 0 AND waiting.routing_key = refusing AND waiting.available_at > now()
               AND NOT EXISTS (
                   SELECT FROM ordermq.outbox AS earlier
                    WHERE earlier.refusals > 0
                      AND earlier.correlation_id = waiting.correlation_id
                      AND earlier.correlation_id <> ''
                      AND earlier.outbox_id < waiting.outbox_id)
             ORDER BY waiting.refusals, waiting.outbox_id LIMIT most) AS waiting
     WHERE o.outbox_id = waiting.outbox_id;
    GET DIAGNOSTICS released = ROW_COUNT;
    RETURN released;
END
$$;

-- The rows of other queues than those in `refusing` that are due, oldest first, at most `most`, and none with an
-- earlier row of its correlation id that was refused or waits for one of those queues. For the time while not all
-- rows of queues that refuse are put off. It reads the whole table, once for each side of a hash join: what `claim`,
-- which calls it, turns off is on here.
CREATE FUNCTION ordermq.due_beside(refusing text[], most integer) RETURNS SETOF bigint LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan
SET enable_nestloop = off
SET enable_mergejoin = off
SET enable_hashjoin = on
SET enable_seqscan = on
SET max_parallel_workers_per_gather = 0
SET jit = off
SET work_mem = '32MB'
AS $$
BEGIN
    RETURN QUERY
    SELECT o.outbox_id
      FROM ordermq.outbox AS o
     WHERE o.available_at <= now() AND o.routing_key <> ALL(refusing)
       AND NOT EXISTS (
           SELECT FROM ordermq.outbox AS earlier
            WHERE (earlier.refusals > 0 OR earlier.available_at <= now() AND earlier.routing_key = ANY(refusing))
              AND earlier.correlation_id = o.correlation_id
              AND earlier.correlation_id <> ''
              AND earlier.outbox_id < o.outbox_id)
     ORDER BY o.available_at, o.outbox_id
     LIMIT most;
END
$$;

DROP FUNCTION ordermq.claim(bigint, integer, bigint);

-- Takes the lock of the active relay until the transaction ends, and returns the rows that are due, oldest
-- first: at most `most`, and no further row once the bodies before it reach `most_bytes`. If the lock is not
-- free, or the server takes no writes, it returns one row with nothing but the reason in `idle`. Rows
-- published from a server that takes no writes could not be deleted and would go out again and again. With `refusing`
-- the rows are those of `due_beside`.
CREATE FUNCTION ordermq.claim(relay_lock bigint, most integer, most_bytes bigint, refusing text[] DEFAULT NULL)
RETURNS TABLE (
    idle            text,
    outbox_id       bigint,
    refusals        integer,
    routing_key     text,
    message_id      text,
    type            text,
    version         integer,
    correlation_id  text,
    traceparent     text,
    occurred_at     timestamptz,
    attempt         integer,
    hop             integer,
    replay_no       integer,
    first_failed_at timestamptz,
    last_error      text,
    body            bytea
) LANGUAGE plpgsql
-- The plan is kept while the outbox is empty and while an outage fills it. So it must be good for both: it reads
-- the index on available_at up to `most` rows, and looks up each in the index of refused rows. Other plans, which
-- the planner would choose for one of the two, are turned off.
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_bitmapscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_material = off
SET max_parallel_workers_per_gather = 0
SET jit = off
-- RETURN QUERY collects its rows: memory for a claim of the largest bodies.
SET work_mem = '32MB'
AS $$
#variable_conflict use_column
BEGIN
    idle := CASE
        WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only'
        WHEN NOT pg_try_advisory_xact_lock(relay_lock) THEN 'standby'
        END;
    IF idle IS NOT NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    IF refusing IS NOT NULL THEN
        RETURN QUERY
        SELECT NULL, outbox_id, refusals, routing_key, message_id, type, version, correlation_id, traceparent,
               occurred_at, attempt, hop, replay_no, first_failed_at, last_error, body
          FROM (
            SELECT *,
                   sum(octet_length(body)) OVER (ORDER BY available_at, outbox_id ROWS UNBOUNDED PRECEDING)
                       - octet_length(body) AS bytes_before
              FROM ordermq.due_beside(refusing, most) AS due (outbox_id) JOIN ordermq.outbox USING (outbox_id)
          ) AS due
         WHERE bytes_before < most_bytes;
        RETURN;
    END IF;
    -- A statement of its own, begun under the lock: it sees the deletions of the relay before.
    RETURN QUERY
    SELECT NULL, outbox_id, refusals, routing_key, message_id, type, version, correlation_id, traceparent,
           occurred_at, attempt, hop, replay_no, first_failed_at, last_error, body
      FROM (
        SELECT *,
               sum(octet_length(body)) OVER (ORDER BY available_at, outbox_id ROWS UNBOUNDED PRECEDING)
                   - octet_length(body) AS bytes_before
          FROM ordermq.outbox AS o
         WHERE available_at <= now()
           AND NOT EXISTS (
               SELECT FROM ordermq.outbox AS refused
                WHERE refused.refusals > 0
                  AND refused.correlation_id = o.correlation_id
                  AND refused.correlation_id <> ''
                  AND refused.outbox_id < o.outbox_id)
         ORDER BY available_at, outbox_id
         LIMIT most) AS due
     WHERE bytes_before < most_bytes;
END
$$;
