-- safe while old code runs: yes
-- The relay's lock and its claim, as a function: PostgreSQL keeps the plan of a function as long as a
-- connection lives, and planning costs more than finding a few rows.

-- Takes the lock of the active relay until the transaction ends, and returns the rows that are due, oldest
-- first: at most `most`, and no further row once the bodies before it reach `most_bytes`. If the lock is not
-- free, or the server takes no writes, it returns one row with nothing but the reason in `idle`. Rows
-- published from a server that takes no writes could not be deleted and would go out again and again.
CREATE FUNCTION ordermq.claim(relay_lock bigint, most integer, most_bytes bigint)
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
