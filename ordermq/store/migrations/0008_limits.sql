-- safe while old code runs: yes
-- Limits on calls to services outside: an old consumer does not know of them and calls without one.

-- At most `rate` calls a second, after a time of rest `burst` at once; the same for each key, if `key_rate` is set.
CREATE TABLE ordermq.limits (
    dependency text        PRIMARY KEY,
    rate       float8      NOT NULL CHECK (rate > 0),
    burst      float8      NOT NULL CHECK (burst >= 1),
    key_rate   float8      CHECK (key_rate > 0),
    key_burst  float8      CHECK (key_burst >= 1),
    set_at     timestamptz NOT NULL DEFAULT now(),
    set_by     text        NOT NULL,
    reason     text        NOT NULL
);

-- What may still be called now, as of `filled_at`: of a service under the key '', of each of its keys under
-- that key. A key's tokens are negative while slots in the future are given away. Of a service the columns
-- short_since and short_at say from when until when somebody last asked for more than there was.
CREATE TABLE ordermq.buckets (
    dependency  text        NOT NULL,
    limit_key   text        NOT NULL,
    tokens      float8      NOT NULL,
    filled_at   timestamptz NOT NULL,
    short_since timestamptz,
    short_at    timestamptz,
    PRIMARY KEY (dependency, limit_key)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000);

-- When the limit of a service was used up before, for a minute or longer: no part of a message's age.
CREATE TABLE ordermq.metered (
    metered_id  bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dependency  text        NOT NULL,
    short_since timestamptz NOT NULL,
    short_at    timestamptz NOT NULL
);
CREATE INDEX metered_dependency ON ordermq.metered (dependency, metered_id);

-- Messages that were over their key's share and wait in the outbox: each may be called when it comes again.
CREATE TABLE ordermq.slots (
    queue      text        NOT NULL,
    message_id text        NOT NULL,
    slot_at    timestamptz NOT NULL,
    PRIMARY KEY (queue, message_id)
);

-- Takes up to `wanted` tokens of a service. Returns how many it got and, if there were fewer, the seconds
-- until there is another. Without a limit it grants all. A bucket holds what comes in a fifth of a second at
-- least: the processes that share it ask a few times a second.
CREATE FUNCTION ordermq.take_tokens(wanted_of text, wanted integer)
RETURNS TABLE (granted integer, wait_s float8) LANGUAGE plpgsql AS $$
DECLARE
    l ordermq.limits;
    b ordermq.buckets;
    at timestamptz;
    left_over float8;
BEGIN
    granted := wanted;
    wait_s := 0;
    SELECT * INTO l FROM ordermq.limits WHERE dependency = wanted_of;
    IF NOT FOUND THEN
        RETURN NEXT;
        RETURN;
    END IF;
    SELECT * INTO b FROM ordermq.buckets WHERE dependency = wanted_of AND limit_key = '' FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO ordermq.buckets (dependency, limit_key, tokens, filled_at)
        VALUES (wanted_of, '', l.burst, clock_timestamp()) ON CONFLICT DO NOTHING;
        SELECT * INTO b FROM ordermq.buckets WHERE dependency = wanted_of AND limit_key = '' FOR UPDATE;
    END IF;
    at := greatest(clock_timestamp(), b.filled_at);  -- under the lock
    left_over := least(greatest(l.burst, l.rate / 5),
                       b.tokens + l.rate * extract(epoch FROM at - b.filled_at)::float8);
    granted := least(wanted, greatest(floor(left_over + 1e-9), 0)::integer);
    left_over := left_over - granted;
    IF granted < wanted THEN
        wait_s := greatest(0, (1 - left_over) / l.rate);
        IF b.short_at IS NULL OR b.short_at < at - interval '1 minute' THEN
            IF b.short_at > b.short_since + interval '1 minute' THEN
                INSERT INTO ordermq.metered (dependency, short_since, short_at)
                VALUES (wanted_of, b.short_since, b.short_at);
            END IF;
            b.short_since := at;
        END IF;
        b.short_at := at;
    END IF;
    UPDATE ordermq.buckets
       SET tokens = left_over, filled_at = at, short_since = b.short_since, short_at = b.short_at
     WHERE dependency = wanted_of AND limit_key = '';
    RETURN NEXT;
END
$$;

-- Takes a token of its key for each message. Returns those that are over their key's share, with the seconds
-- until the slot that each is given; when it comes again then, it needs no other.
CREATE FUNCTION ordermq.take_key_tokens(wanted_of text, its_queue text, message_ids text[], keys text[])
RETURNS TABLE (message_id text, wait_s float8) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    l ordermq.limits;
    b ordermq.buckets;
    m record;
    at timestamptz := clock_timestamp();
    cap float8;
BEGIN
    SELECT * INTO l FROM ordermq.limits WHERE dependency = wanted_of AND key_rate IS NOT NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    cap := greatest(l.key_burst, 1);
    INSERT INTO ordermq.buckets (dependency, limit_key, tokens, filled_at)
    SELECT DISTINCT wanted_of, k, cap, at FROM unnest(keys) AS k ORDER BY k ON CONFLICT DO NOTHING;
    -- In the order of the keys, as every other such call: two cannot wait for each other.
    FOR m IN
        SELECT v.id, v.k FROM unnest(message_ids, keys) WITH ORDINALITY AS v (id, k, n) ORDER BY v.k, v.n
    LOOP
        DELETE FROM ordermq.slots AS s WHERE s.queue = its_queue AND s.message_id = m.id;
        CONTINUE WHEN FOUND;
        SELECT * INTO b FROM ordermq.buckets WHERE dependency = wanted_of AND limit_key = m.k FOR UPDATE;
        at := greatest(clock_timestamp(), b.filled_at);
        b.tokens := least(cap, b.tokens + l.key_rate * extract(epoch FROM at - b.filled_at)::float8) - 1;
        UPDATE ordermq.buckets SET tokens = b.tokens, filled_at = at
         WHERE dependency = wanted_of AND limit_key = m.k;
        IF b.tokens < -1e-9 THEN
            wait_s := -b.tokens / l.key_rate;
            message_id := m.id;
            INSERT INTO ordermq.slots (queue, message_id, slot_at)
            VALUES (its_queue, m.id, at + wait_s * interval '1 second')
            ON CONFLICT (queue, message_id) DO UPDATE SET slot_at = excluded.slot_at;
            RETURN NEXT;
        END IF;
    END LOOP;
END
$$;
