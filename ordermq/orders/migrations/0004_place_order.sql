-- safe while old code runs: yes
-- What place_order writes of one order. For one, plain inserts of values cost PostgreSQL 40 us less than
-- shop.place_orders with its arrays, and whoever calls it 30 us (docs/performance.md).

-- Adds the order if it is new, and what stands below it; returns whether it was. o_ is the order and its
-- contact, i_ a column of its items each, in the order of their lines, e_ its first event, m_ its message.
CREATE FUNCTION shop.place_order(
    new_status          text,
    new_pending         text[],
    o_order_id          text,
    o_customer_id       text,
    o_currency          text,
    o_total_minor       bigint,
    o_content_sha256    bytea,
    o_traceparent       text,
    o_placed_at         timestamptz,
    o_card_token        text,
    o_phone             text,
    o_email             text,
    o_name              text,
    i_product_id        text[],
    i_quantity          bigint[],
    i_unit_price_minor  bigint[],
    i_freight_minor     bigint[],
    e_version           integer,
    e_type              text,
    e_step              text,
    e_occurred_at       timestamptz,
    e_body              bytea,
    m_routing_key       text,
    m_message_id        text,
    m_type              text,
    m_version           integer,
    m_correlation_id    text,
    m_traceparent       text,
    m_occurred_at       timestamptz,
    m_attempt           integer,
    m_hop               integer,
    m_replay_no         integer,
    m_first_failed_at   timestamptz,
    m_last_error        text,
    m_body              bytea
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO shop.orders (order_id, customer_id, status, pending, version, currency, total_minor,
        content_sha256, traceparent, placed_at)
    VALUES (o_order_id, o_customer_id, new_status, new_pending, 1, o_currency, o_total_minor,
        o_content_sha256, o_traceparent, o_placed_at)
    ON CONFLICT (order_id) DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO shop.contacts (order_id, card_token, phone, email, name)
    VALUES (o_order_id, o_card_token, o_phone, o_email, o_name);
    INSERT INTO shop.order_items (order_id, line_no, product_id, quantity, unit_price_minor, freight_minor)
    SELECT o_order_id, v.line_no, v.product_id, v.quantity, v.unit_price_minor, v.freight_minor
      FROM unnest(i_product_id, i_quantity, i_unit_price_minor, i_freight_minor) WITH ORDINALITY
        AS v (product_id, quantity, unit_price_minor, freight_minor, line_no);
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    VALUES (o_order_id, e_version, e_type, e_step, e_occurred_at, e_body);
    INSERT INTO ordermq.outbox (routing_key, message_id, type, version, correlation_id, traceparent,
        occurred_at, attempt, hop, replay_no, first_failed_at, last_error, body)
    VALUES (m_routing_key, m_message_id, m_type, m_version, m_correlation_id, m_traceparent,
        m_occurred_at, m_attempt, m_hop, m_replay_no, m_first_failed_at, m_last_error, m_body);
    RETURN true;
END
$$;
