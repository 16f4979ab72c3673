-- safe while old code runs: yes
-- The position of each record in one history of all: of every operator's action, and of what modules add.
--
-- A sequence numbers rows as they are written, which is not the order in which they commit: who remembers the last
-- number it has read skips the rows of a transaction that was slow. So records are numbered after they committed, by one
-- process at a time. What inserts records adds one row for each statement to ordermq.unnumbered, in the same transaction.
-- ordermq.number_records() deletes the rows that it sees, which have committed, and adds positions for their records.
-- Nothing that commits later can get a lower position, and nothing is skipped: a row waits until it is seen.
-- The functions run with the rights of the tables' owner: who may insert a record, and the relay, need no others.

CREATE SEQUENCE ordermq.entries;

-- The xid is taken first and the number second, so that a number that was given belongs to a transaction whose end a
-- later snapshot tells (number_records).
CREATE TABLE ordermq.unnumbered (
    entry    bigint      PRIMARY KEY
        DEFAULT CASE WHEN pg_current_xact_id() IS NOT NULL THEN nextval('ordermq.entries') END,
    source   text        NOT NULL,  -- the table of the records
    subjects text[]      NOT NULL,  -- what each record is about, and its number there: together the key of the record
    numbers  bigint[]    NOT NULL,
    oldest   timestamptz NOT NULL,  -- of the records' own times
    newest   timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
ALTER SEQUENCE ordermq.entries OWNED BY ordermq.unnumbered.entry;

-- A row holds the positions first_position to first_position + records - 1, all of one source: a row for each record,
-- with its indexes, would cost as much as the records themselves.
CREATE TABLE ordermq.positions (
    first_position bigint      PRIMARY KEY,
    records        integer     NOT NULL CHECK (records > 0),
    source         text        NOT NULL,
    subjects       text[]      NOT NULL CHECK (cardinality(subjects) = records),
    numbers        bigint[]    NOT NULL CHECK (cardinality(numbers) = records),
    oldest         timestamptz NOT NULL,
    newest         timestamptz NOT NULL
);

-- Finds the position of a record by its time.
CREATE INDEX positions_times ON ordermq.positions USING gist (tstzrange(oldest, newest, '[]'));

CREATE FUNCTION ordermq.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: it is only added to', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;

CREATE TRIGGER positions_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON ordermq.positions
    FOR EACH STATEMENT EXECUTE FUNCTION ordermq.refuse_change();
CREATE TRIGGER actions_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON ordermq.actions
    FOR EACH STATEMENT EXECUTE FUNCTION ordermq.refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON ordermq.positions, ordermq.actions FROM PUBLIC;

-- What the audit log was signed with: its size, its root, and the signed note. Written before it is published, so that
-- the log continues it, or says why it cannot.
CREATE TABLE ordermq.checkpoints (
    size      bigint      PRIMARY KEY,
    root      bytea       NOT NULL,
    note      bytea       NOT NULL,
    signed_at timestamptz NOT NULL DEFAULT now()
);
CREATE TRIGGER checkpoints_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON ordermq.checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION ordermq.refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON ordermq.checkpoints FROM PUBLIC;

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
CREATE FUNCTION ordermq.number_records(
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
         WHERE entry IN (SELECT entry FROM ordermq.unnumbered WHERE entry >= begin_at ORDER BY entry LIMIT most)
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

CREATE FUNCTION ordermq.note_actions() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO ordermq.unnumbered (source, subjects, numbers, oldest, newest)
    SELECT 'ordermq.actions', array_agg(''::text), array_agg(action_id ORDER BY action_id), min(acted_at), max(acted_at)
      FROM added HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE TRIGGER actions_are_numbered AFTER INSERT ON ordermq.actions REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION ordermq.note_actions();

-- Those that there are already. The trigger's lock lasts until this commits, so none is added twice.
INSERT INTO ordermq.unnumbered (source, subjects, numbers, oldest, newest)
SELECT 'ordermq.actions', array_agg(''::text), array_agg(action_id ORDER BY action_id), min(acted_at), max(acted_at)
  FROM (SELECT action_id, acted_at, (row_number() OVER (ORDER BY action_id) - 1) / 1000 AS part FROM ordermq.actions)
       AS numbered
 GROUP BY part ORDER BY part;
