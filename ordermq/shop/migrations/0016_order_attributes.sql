-- safe while old code runs: yes
-- The newest orders with an attribute are read from an index, however many have it. An order without attributes costs
-- nothing for that. Reads shop.orders once, and stops its writers for some seconds for each million orders with
-- attributes. Migration 0018 drops the index whose place this takes: its lock, on top of those here, would
-- deadlock with a consumer that has read an order and is about to change it.

CREATE TABLE shop.order_attributes (
    name        text        NOT NULL,
    value       text        NOT NULL,
    accepted_at timestamptz NOT NULL,
    order_id    text        NOT NULL
);

-- An order's attributes are written with it and never change.
CREATE FUNCTION shop.keep_attributes() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO shop.order_attributes (name, value, accepted_at, order_id)
    SELECT key, value, NEW.accepted_at, NEW.order_id FROM jsonb_each_text(NEW.attributes);
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_attributes AFTER INSERT ON shop.orders
    FOR EACH ROW WHEN (NEW.attributes <> '{}') EXECUTE FUNCTION shop.keep_attributes();

INSERT INTO shop.order_attributes (name, value, accepted_at, order_id)
SELECT key, value, accepted_at, order_id FROM shop.orders, jsonb_each_text(attributes) WHERE attributes <> '{}';
CREATE UNIQUE INDEX order_attributes_newest ON shop.order_attributes (name, value, accepted_at DESC, order_id);
