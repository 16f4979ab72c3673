-- safe while old code runs: yes
-- Events of orders at rest may leave for files (docs/audit.md). What they were is in shop.archives; the order's own row
-- stays, and says which. Only new code archives, so do that once all processes are of it. Each statement needs its
-- table for an instant: there is no index to build, and the constraint is not checked for rows that cannot break it.

CREATE TABLE shop.archives (
    archive_id  bigint      PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    month       date        NOT NULL,  -- in which its orders were accepted
    file        text        NOT NULL,  -- where it was written; it may have been moved since
    sha256      bytea       NOT NULL,  -- of the file
    orders      integer     NOT NULL CHECK (orders > 0),
    events      bigint      NOT NULL CHECK (events >= orders),
    leaves      bytea       NOT NULL,  -- SHA-256 of the hashes of its leaves in the audit log, in their order
    archived_at timestamptz NOT NULL DEFAULT now(),
    archived_by text        NOT NULL
);

CREATE TABLE shop.restored_archives (
    archive_id  bigint      PRIMARY KEY REFERENCES shop.archives,
    restored_at timestamptz NOT NULL DEFAULT now(),
    restored_by text        NOT NULL
);

CREATE TRIGGER archives_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON shop.archives
    FOR EACH STATEMENT EXECUTE FUNCTION shop.refuse_change();
CREATE TRIGGER restored_archives_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON shop.restored_archives
    FOR EACH STATEMENT EXECUTE FUNCTION shop.refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON shop.archives, shop.restored_archives FROM PUBLIC;

-- An archived order gets no event, from old code neither: each event changes the version.
ALTER TABLE shop.orders
    ADD COLUMN archive_id bigint,
    ADD COLUMN archived_version integer,
    ADD CONSTRAINT orders_in_archives_are_at_rest
        CHECK (archive_id IS NULL OR version IS NOT DISTINCT FROM archived_version) NOT VALID;

-- Events are deleted only if an archive has them. Still nothing updates or truncates them.
CREATE FUNCTION shop.refuse_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM gone) OR EXISTS (
        SELECT FROM gone LEFT JOIN shop.orders AS o USING (order_id)
         WHERE o.archive_id IS NULL OR gone.version > o.archived_version)
    THEN
        RAISE EXCEPTION '% on %.% is refused: the history of orders is only added to, and no archive has these',
            TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
    END IF;
    RETURN NULL;
END
$$;

DROP TRIGGER order_events_are_final ON shop.order_events;
CREATE TRIGGER order_events_are_final BEFORE UPDATE OR TRUNCATE ON shop.order_events
    FOR EACH STATEMENT EXECUTE FUNCTION shop.refuse_change();
CREATE TRIGGER order_events_are_archived AFTER DELETE ON shop.order_events REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION shop.refuse_removal();
