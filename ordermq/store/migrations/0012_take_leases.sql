-- safe while old code runs: yes
-- What a consumer asks before its calls to a service, as one function: one round trip, and plans that are kept.

-- Takes the leases of `wanted` that are free or have run out, for `lease_s` seconds, and returns a row for each of
-- `wanted`: 'fresh', 'resumed', or 'foreign' with the seconds that are left on the lease of another. Then, of the
-- messages `asked` with their `hops`, a row 'settled' for each that needs no more work: the inbox is read after the
-- leases were taken, by a statement of its own.
CREATE FUNCTION ordermq.take_leases(
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
         WHERE NOT EXISTS (
            SELECT FROM ordermq.leases AS held
             WHERE held.queue = of_queue AND held.message_id = id AND held.lease_until >= now())
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
