-- safe while old code runs: yes
-- What placing one order writes. Plain inserts of one document's fields cost PostgreSQL less time than the
-- arrays of shop.place_orders, and the caller half as much (docs/performance.md).

-- The keys of the document: an order, its contact, its first event (e_) and its first message. Each item is
-- an array of product_id, quantity, unit_price_minor and freight_minor, in the order of the lines.
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

-- Adds the order if it is new, with its contact, items, event and message; returns whether it was new.
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
