-- safe while old code runs: yes
-- When maintenance ran last, and how often a handler ran past its deadline: one row for each. And the relay says when
-- a message was due, so that a consumer knows how long it took.

CREATE TABLE ordermq.runs (
    task    text        NOT NULL,
    queue   text        NOT NULL DEFAULT '',
    total   bigint      NOT NULL DEFAULT 1,
    last_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (task, queue)
);

DROP FUNCTION ordermq.claim(bigint, integer, bigint, text[], timestamptz, timestamptz, xid8, boolean);

-- As before, and `due_at` is the time at which a row was due, in seconds since 1970; NULL if the broker refused it, which
-- moves available_at.
-- Takes the lock of the active relay until the transaction ends, and returns the rows that are due, oldest
-- first: at most `most`, and no further row once the bodies before it reach `most_bytes`. If the lock is not
-- free, or the server takes no writes, it returns one row with nothing but the reason in `idle`. Rows
-- published from a server that takes no writes could not be deleted and would go out again and again. With `refusing`
-- the rows are those of `due_beside`.
-- A caller that keeps the mark says whether to `look_below` it, and gets it back in a last row, `idle` = 'mark':
-- `low`, and `next_low` and `next_xid`, T and X of above, until the transactions before X have ended.
CREATE FUNCTION ordermq.claim(
    relay_lock bigint, most integer, most_bytes bigint, refusing text[] DEFAULT NULL,
    low_mark timestamptz DEFAULT NULL, next_mark timestamptz DEFAULT NULL, mark_xid xid8 DEFAULT NULL,
    look_below boolean DEFAULT NULL)
RETURNS TABLE (
    idle            text,
    low             timestamptz,
    next_low        timestamptz,
    next_xid        xid8,
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
    body            bytea,
    due_at          double precision
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
DECLARE
    first timestamptz := coalesce(low_mark, '-infinity');
    has_rows boolean;
BEGIN
    idle := CASE
        WHEN current_setting('transaction_read_only') = 'on' THEN 'read-only'
        WHEN NOT pg_try_advisory_xact_lock(relay_lock) THEN 'standby'
        END;
    IF idle IS NOT NULL THEN
        RETURN NEXT;
        RETURN;
    END IF;
    -- Each of the statements below begins under the lock: it sees the deletions of the relay before.
    IF look_below THEN
        first := least(first, (SELECT min(available_at) FROM ordermq.outbox WHERE available_at < first));
    END IF;
    IF mark_xid < pg_snapshot_xmin(pg_current_snapshot()) THEN
        first := least(next_mark, (SELECT min(available_at) FROM ordermq.outbox WHERE available_at >= first));
        mark_xid := NULL;
    ELSIF mark_xid >= pg_snapshot_xmax(pg_current_snapshot()) THEN
        mark_xid := NULL;  -- of a server that is gone
    END IF;
    IF refusing IS NOT NULL THEN
        RETURN QUERY
        SELECT NULL, NULL::timestamptz, NULL::timestamptz, NULL::xid8, outbox_id, refusals, routing_key,
               message_id, type, version, correlation_id, traceparent, occurred_at, attempt, hop, replay_no,
               first_failed_at, last_error, body,
               CASE WHEN refusals = 0 THEN date_part('epoch', available_at) END
          FROM (
            SELECT *,
                   sum(octet_length(body)) OVER (ORDER BY available_at, outbox_id ROWS UNBOUNDED PRECEDING)
                       - octet_length(body) AS bytes_before
              FROM ordermq.due_beside(refusing, most) AS due (outbox_id) JOIN ordermq.outbox USING (outbox_id)
          ) AS due
         WHERE bytes_before < most_bytes;
    ELSE
        RETURN QUERY
        SELECT NULL, NULL::timestamptz, NULL::timestamptz, NULL::xid8, outbox_id, refusals, routing_key,
               message_id, type, version, correlation_id, traceparent, occurred_at, attempt, hop, replay_no,
               first_failed_at, last_error, body,
               CASE WHEN refusals = 0 THEN date_part('epoch', available_at) END
          FROM (
            SELECT *,
                   sum(octet_length(body)) OVER (ORDER BY available_at, outbox_id ROWS UNBOUNDED PRECEDING)
                       - octet_length(body) AS bytes_before
              FROM ordermq.outbox AS o
             WHERE available_at BETWEEN first AND now()
               AND NOT EXISTS (
                   SELECT FROM ordermq.outbox AS refused
                    WHERE refused.refusals > 0
                      AND refused.correlation_id = o.correlation_id
                      AND refused.correlation_id <> ''
                      AND refused.outbox_id < o.outbox_id)
             ORDER BY available_at, outbox_id
             LIMIT most) AS due
         WHERE bytes_before < most_bytes;
    END IF;
    has_rows := FOUND;
    IF look_below IS NULL THEN
        RETURN;
    END IF;
    -- Rows that were found are about to be deleted, so the transaction needs an xid anyway.
    IF has_rows AND mark_xid IS NULL THEN
        next_mark := now();
        mark_xid := pg_current_xact_id();
    END IF;
    idle := 'mark';
    low := nullif(first, '-infinity');
    next_low := next_mark;
    next_xid := mark_xid;
    RETURN NEXT;
END
$$;
