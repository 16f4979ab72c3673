-- safe while old code runs: yes
-- What the steps of orders read and write, as functions: PostgreSQL keeps the plans of a function as long as the
-- connection lives, and several statements are one round trip (docs/performance.md). The plans are kept for one order
-- and for hundreds, while the tables are empty and while they grow: each row is looked up by its key.

-- Adds events, and sets the state of their orders, whose rows the caller has locked. Each array is a column: o_ of
-- orders, e_ of events. An order's pending steps are one text, with blanks between.
CREATE FUNCTION shop.write_journal(
    o_order_id          text[],
    o_status            text[],
    o_pending           text[],
    o_version           integer[],
    o_refunded_minor    bigint[],
    o_attention_reason  text[],
    o_is_resolved       boolean[],
    e_order_id          text[],
    e_version           integer[],
    e_type              text[],
    e_step              text[],
    e_occurred_at       timestamptz[],
    e_body              bytea[]
) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO shop.order_events (order_id, version, type, step, occurred_at, body)
    SELECT * FROM unnest(e_order_id, e_version, e_type, e_step, e_occurred_at, e_body);
    UPDATE shop.orders AS o
       SET status = v.status, pending = string_to_array(v.pending, ' '), version = v.version,
           refunded_minor = v.refunded_minor, updated_at = clock_timestamp(),
           attention_reason = coalesce(
               CASE WHEN NOT v.is_resolved THEN o.attention_reason END, v.attention_reason),
           terminal_at = CASE
               WHEN o.status = v.status THEN o.terminal_at
               WHEN v.status IN ('completed', 'cancelled', 'refunded') THEN clock_timestamp()
           END
      FROM unnest(o_order_id, o_status, o_pending, o_version, o_refunded_minor, o_attention_reason, o_is_resolved)
           AS v (order_id, status, pending, version, refunded_minor, attention_reason, is_resolved)
     WHERE o.order_id = v.order_id;
END
$$;

-- Reserves units of products for orders. The caller has locked the rows of the orders and of the stock.
CREATE FUNCTION shop.reserve(r_order_id text[], r_product_id text[], r_quantity bigint[])
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    INSERT INTO shop.reservations (order_id, product_id, quantity)
    SELECT * FROM unnest(r_order_id, r_product_id, r_quantity);
    UPDATE shop.stock AS s SET on_hand = s.on_hand - v.units, reserved = s.reserved + v.units
      FROM (SELECT product_id, sum(quantity)::bigint AS units
              FROM unnest(r_product_id, r_quantity) AS r (product_id, quantity) GROUP BY product_id) AS v
     WHERE s.product_id = v.product_id;
END
$$;

-- Releases ('released') or ships ('shipped') what is still reserved for orders, whose rows the caller has locked. The
-- rows of the stock are locked here, sorted by product_id (STK1).
CREATE FUNCTION shop.end_reservations(order_ids text[], how text)
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
DECLARE
    products text[];
    quantities bigint[];
BEGIN
    SELECT array_agg(product_id), array_agg(units) INTO products, quantities
      FROM (SELECT product_id, sum(quantity)::bigint AS units FROM shop.reservations
             WHERE order_id = ANY(order_ids) AND state = 'reserved' GROUP BY product_id) AS held;
    IF products IS NULL THEN
        RETURN;
    END IF;
    PERFORM FROM shop.stock
      WHERE product_id = ANY(products) ORDER BY product_id COLLATE "C" FOR NO KEY UPDATE;
    UPDATE shop.reservations SET state = how WHERE order_id = ANY(order_ids) AND state = 'reserved';
    UPDATE shop.stock AS s
       SET reserved = s.reserved - v.units,
           on_hand = s.on_hand + CASE how WHEN 'released' THEN v.units ELSE 0 END,
           shipped = s.shipped + CASE how WHEN 'shipped' THEN v.units ELSE 0 END
      FROM unnest(products, quantities) AS v (product_id, units)
     WHERE s.product_id = v.product_id;
END
$$;

-- What each order asks for, and the units on hand of each product; NULL for one that was never loaded. Locks the rows of
-- the stock, sorted by product_id (STK1); the caller has locked those of the orders.
CREATE FUNCTION shop.wanted_stock(order_ids text[])
RETURNS TABLE (order_id text, product_id text, units bigint, on_hand bigint) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM shop.stock
      WHERE product_id = ANY(ARRAY(SELECT product_id FROM shop.order_items WHERE order_id = ANY(order_ids)))
      ORDER BY product_id COLLATE "C" FOR NO KEY UPDATE;
    RETURN QUERY
    SELECT order_id, product_id, units, on_hand
      FROM (SELECT order_id, product_id, sum(quantity)::bigint AS units FROM shop.order_items
             WHERE order_id = ANY(order_ids) GROUP BY order_id, product_id) AS wanted
      LEFT JOIN shop.stock USING (product_id);
END
$$;

-- What the captures of orders need, without a lock: see Due in payments.py.
CREATE FUNCTION shop.due_captures(order_ids text[], key_life_s float8, action_s float8)
RETURNS TABLE (order_id text, status text, pending text[], amount_minor bigint, currency character, card_token text,
               idempotency_key text, key_lives boolean, action_is_over boolean, is_new boolean) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT order_id, o.status, o.pending, o.total_minor, o.currency, c.card_token, p.idempotency_key,
           p.first_called_at > clock_timestamp() - key_life_s * interval '1 second',
           coalesce(p.action_at < clock_timestamp() - action_s * interval '1 second', false),
           coalesce(p.state = 'next', true)
      FROM shop.orders AS o
      JOIN shop.contacts AS c USING (order_id)
      LEFT JOIN shop.payments AS p USING (order_id)
     WHERE order_id = ANY(order_ids);
END
$$;

-- Writes the intents to capture, for the first time or again (PAY1). A stored key stays as it is.
CREATE FUNCTION shop.intend(
    p_order_id text[], p_key text[], p_amount_minor bigint[], p_currency text[], p_state text[])
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    INSERT INTO shop.payments AS p (order_id, idempotency_key, amount_minor, currency, state)
    SELECT * FROM unnest(p_order_id, p_key, p_amount_minor, p_currency, p_state)
    ON CONFLICT (order_id) DO UPDATE
       SET called_at = now(), updated_at = now(),
           state = CASE p.state WHEN 'next' THEN excluded.state ELSE p.state END,
           first_called_at = CASE p.state WHEN 'next' THEN now() ELSE p.first_called_at END;
END
$$;

-- Changes payments, whose rows the caller has locked.
CREATE FUNCTION shop.save_payments(
    p_order_id text[], p_state text[], p_reason text[], p_capture_id text[], p_refund_id text[])
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
AS $$
BEGIN
    UPDATE shop.payments AS p
       SET state = v.state, reason = v.reason, capture_id = v.capture_id, refund_id = v.refund_id,
           action_at = coalesce(p.action_at, CASE v.state WHEN 'requires_action' THEN clock_timestamp() END),
           updated_at = now()
      FROM unnest(p_order_id, p_state, p_reason, p_capture_id, p_refund_id)
           AS v (order_id, state, reason, capture_id, refund_id)
     WHERE p.order_id = v.order_id;
END
$$;

-- The states of the notifications of orders by one channel, and in rows without a template the addresses, if wanted.
CREATE FUNCTION shop.notifications_of(order_ids text[], by_channel text, with_addresses boolean)
RETURNS TABLE (order_id text, template text, number integer, state_or_address text) LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT order_id, template, number, state FROM shop.notifications
     WHERE order_id = ANY(order_ids) AND channel = by_channel;
    IF with_addresses THEN
        RETURN QUERY
        SELECT order_id, NULL, NULL::integer, CASE by_channel WHEN 'email' THEN email ELSE phone END
          FROM shop.contacts WHERE order_id = ANY(order_ids);
    END IF;
END
$$;

-- Begins notifications, or changes them. The caller has locked the rows of their orders (NTF3).
CREATE FUNCTION shop.save_notifications(
    n_channel text[], n_order_id text[], n_template text[], n_number integer[], n_state text[],
    n_provider_id text[], n_reason text[])
RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    INSERT INTO shop.notifications (channel, order_id, template, number, state, provider_id, reason)
    SELECT * FROM unnest(n_channel, n_order_id, n_template, n_number, n_state, n_provider_id, n_reason)
    ON CONFLICT (order_id, template, channel, number) DO UPDATE
       SET state = excluded.state, provider_id = excluded.provider_id, reason = excluded.reason,
           updated_at = now();
END
$$;
