-- safe while old code runs: yes
-- Every event gets a position in the history of all records (ordermq 0017). While this runs, events that are there
-- already are listed to be numbered too, oldest first: about a second for each half a million. Until then nothing
-- writes events.

CREATE FUNCTION shop.note_events() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO ordermq.unnumbered (source, subjects, numbers, oldest, newest)
    SELECT 'shop.order_events', array_agg(order_id), array_agg(version), min(occurred_at), max(occurred_at)
      FROM added HAVING count(*) > 0;
    RETURN NULL;
END
$$;

CREATE TRIGGER order_events_are_numbered AFTER INSERT ON shop.order_events REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION shop.note_events();

INSERT INTO ordermq.unnumbered (source, subjects, numbers, oldest, newest)
SELECT 'shop.order_events', array_agg(order_id ORDER BY place), array_agg(version ORDER BY place),
       min(occurred_at), max(occurred_at)
  FROM (SELECT order_id, version, occurred_at, row_number() OVER (ORDER BY occurred_at, order_id, version) AS place
          FROM shop.order_events) AS numbered
 GROUP BY (place - 1) / 1000 ORDER BY (place - 1) / 1000;
