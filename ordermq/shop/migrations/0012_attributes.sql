-- safe while old code runs: yes
-- What orders are found by: attributes that a shop gives them, and the time at which they were accepted. Building the
-- two indexes stops writers of shop.orders, some seconds for each million orders. Where that is too long, build the
-- second one before: CREATE INDEX CONCURRENTLY orders_accepted ON shop.orders (accepted_at);

ALTER TABLE shop.orders ADD COLUMN attributes jsonb NOT NULL DEFAULT '{}';

-- An index whose building was interrupted exists and is never used.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('shop.orders_accepted') AND NOT indisvalid) THEN
        DROP INDEX shop.orders_accepted;
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS orders_accepted ON shop.orders (accepted_at);

-- Orders without attributes are not in it. No entries are put aside, which one placement would later put in for all.
CREATE INDEX orders_attributes ON shop.orders USING gin (attributes jsonb_path_ops) WITH (fastupdate = off)
    WHERE attributes <> '{}';

-- A key that the document need not have: an object of texts.
ALTER TYPE shop.placement ADD ATTRIBUTE attributes jsonb;

-- Adds the order if it is new, with its contact, items, adjustments, event and message, and the payment of
-- an order that is paid already; returns whether it was new.
CREATE OR REPLACE FUNCTION shop.place_order(
    document            json,
    o_content_sha256    bytea,
    e_body              bytea,
    m_body              bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    new shop.placement := json_populate_record(NULL::shop.placement, document);
BEGIN
    INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
        content_sha256, traceparent, placed_at, charge, notify, attributes)
    VALUES (new.order_id, new.customer_id, new.status, new.pending, 1, new.currency, new.total_minor,
        o_content_sha256, new.traceparent, new.placed_at, coalesce(new.charge, 'card'),
        coalesce(new.notify, 'text'), coalesce(new.attributes, '{}'))
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
    IF new.adjustments IS NOT NULL THEN
        INSERT INTO shop.order_adjustments (order_id, line_no, adjustment_no, kind, amount_minor, label)
        SELECT new.order_id, (each ->> 0)::integer, (each ->> 1)::integer, each ->> 2,
               (each ->> 3)::bigint, each ->> 4
          FROM json_array_elements(new.adjustments) AS each;
    END IF;
    IF new.charge = 'paid' THEN
        INSERT INTO shop.payments (order_id, idempotency_key, amount_minor, currency, state, capture_id)
        VALUES (new.order_id, 'paid:' || new.order_id, new.total_minor, new.currency, 'captured',
            new.paid_reference);
    END IF;
    INSERT INTO shop.order_events (order_id, version, type, occurred_at, body)
    VALUES (new.order_id, 1, new.e_type, new.e_occurred_at, e_body);
    new.message.body := m_body;
    PERFORM ordermq.send(new.message);
    RETURN true;
END
$$;

DROP FUNCTION shop.place_orders;

-- Adds the orders that are new, as shop.place_order does, but for their messages; returns their order_ids.
-- Each array is a column: o_ of orders, contacts and payments, i_ of items, a_ of adjustments, e_ of events.
-- Tables of which no order needs a row are left alone, so that nothing that locks them holds up placing.
CREATE FUNCTION shop.place_orders(
    new_status          text,
    new_pending         text[],
    o_order_id          text[],
    o_customer_id       text[],
    o_currency          text[],
    o_total_minor       bigint[],
    o_content_sha256    bytea[],
    o_traceparent       text[],
    o_placed_at         timestamptz[],
    o_charge            text[],
    o_notify            text[],
    o_paid_reference    text[],
    o_card_token        text[],
    o_phone             text[],
    o_email             text[],
    o_name              text[],
    i_order_id          text[],
    i_line_no           integer[],
    i_product_id        text[],
    i_quantity          bigint[],
    i_unit_price_minor  bigint[],
    i_freight_minor     bigint[],
    e_order_id          text[],
    e_version           integer[],
    e_type              text[],
    e_step              text[],
    e_occurred_at       timestamptz[],
    e_body              bytea[],
    a_order_id          text[],
    a_line_no           integer[],
    a_adjustment_no     integer[],
    a_kind              text[],
    a_amount_minor      bigint[],
    a_label             text[],
    o_attributes        text[] DEFAULT NULL  -- of JSON; NULL if no order has any
) RETURNS SETOF text LANGUAGE plpgsql AS $$
DECLARE
    new_order_id        text[];
BEGIN
    WITH wanted AS (
        SELECT *
          FROM unnest(o_order_id, o_customer_id, o_currency, o_total_minor, o_content_sha256, o_traceparent,
                      o_placed_at, o_charge, o_notify, o_card_token, o_phone, o_email, o_name,
                      o_attributes)
            AS v (order_id, customer_id, currency, total_minor, content_sha256, traceparent,
                  placed_at, charge, notify, card_token, phone, email, name, attributes)
    ), added AS (
        INSERT INTO shop.orders AS o (order_id, customer_id, status, pending, version, currency, total_minor,
            content_sha256, traceparent, placed_at, charge, notify, attributes)
        SELECT order_id, customer_id, new_status, new_pending, 1, currency, total_minor,
               content_sha256, traceparent, placed_at, charge, notify, coalesce(attributes::jsonb, '{}')
          FROM wanted
        ON CONFLICT (order_id) DO NOTHING
        RETURNING o.order_id
    ), contacts AS (
        INSERT INTO shop.contacts (order_id, card_token, phone, email, name)
        SELECT order_id, card_token, phone, email, name FROM wanted JOIN added USING (order_id)
    ), items AS (
        INSERT INTO shop.order_items
            (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor)
        SELECT v.*
          FROM unnest(i_order_id, i_line_no, i_product_id, i_quantity, i_unit_price_minor, i_freight_minor)
            AS v (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor)
          JOIN added USING (order_id)
    ), events AS (
        INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
        SELECT v.*
          FROM unnest(e_order_id, e_version, e_type, e_step, e_occurred_at, e_body)
            AS v (order_id, version, type, step, occurred_at, body)
          JOIN added USING (order_id)
    )
    SELECT array_agg(added.order_id) INTO new_order_id FROM added;
    IF cardinality(a_order_id) > 0 THEN
        INSERT INTO shop.order_adjustments (order_id, line_no, adjustment_no, kind, amount_minor, label)
        SELECT v.*
          FROM unnest(a_order_id, a_line_no, a_adjustment_no, a_kind, a_amount_minor, a_label)
            AS v (order_id, line_no, adjustment_no, kind, amount_minor, label)
         WHERE v.order_id = ANY (new_order_id);
    END IF;
    IF 'paid' = ANY (o_charge) THEN
        INSERT INTO shop.payments (order_id, idempotency_key, amount_minor, currency, state, capture_id)
        SELECT v.order_id, 'paid:' || v.order_id, v.total_minor, v.currency, 'captured', v.paid_reference
          FROM unnest(o_order_id, o_currency, o_total_minor, o_charge, o_paid_reference)
            AS v (order_id, currency, total_minor, charge, paid_reference)
         WHERE v.charge = 'paid' AND v.order_id = ANY (new_order_id);
    END IF;
    RETURN QUERY SELECT unnest(new_order_id);
END
$$;
