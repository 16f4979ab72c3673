-- safe while old code runs: yes
-- What place_order writes of one order. Plain inserts of one document's fields cost PostgreSQL less than
-- shop.place_orders with its arrays, and whoever calls it half (docs/performance.md).

-- An order, its contact, its first event (e_) and its first message: the keys of the document. The
-- items are arrays of product_id, quantity, unit_price_minor and freight_minor, in the order of their lines.
CREATE TYPE shop.placement AS (
    order_id        text,
    customer_id     text,
    status          text,
    pending         text[],
    currency        text,
    total_minor     bigint,
    traceparent     text,
    placed_at       timestamptz,
    card_token      text,
    phone           text,
    email           text,
    name            text,
    items           json,
    e_type          text,
    e_occurred_at   timestamptz,
    message         ordermq.message
);

-- Adds the order if it is new, and what stands below it; returns whether it was.
CREATE FUNCTION shop.place_order(
    document            json,
    o_content_sha256    bytea,
    e_body              bytea,
    m_body              bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    new shop.placement := json_populate_record(NULL::shop.placement, document);
BEGIN
    INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
        content_sha256, traceparent, placed_at)
    VALUES (new.order_id, new.customer_id, new.status, new.pending, 1, new.currency, new.total_minor,
        o_content_sha256, new.traceparent, new.placed_at)
    ON CONFLICT (order_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO shop.contacts (order_id, card_token, phone, email, name)
    VALUES (new.order_id, new.card_token, new.phone, new.email, new.name);
    INSERT INTO shop.order_items (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor)
    SELECT new.order_id, v.line_no, v.item ->> 0,
           (v.item ->> 1)::bigint, (v.item ->> 2)::bigint, (v.item ->> 3)::bigint
      FROM json_array_elements(new.items) WITH ORDINALITY AS v (item, line_no);
    INSERT INTO shop.order_events (order_id, version, type, occurred_at, body)
    VALUES (new.order_id, 1, new.e_type, new.e_occurred_at, e_body);
    new.message.body := m_body;
    PERFORM ordermq.send(new.message);
    RETURN true;
END
$$;
