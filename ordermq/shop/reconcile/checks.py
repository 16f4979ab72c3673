"""The invariants, each as one query for what breaks it.

A query returns one text for each fault. Operators see the names. ``booked`` and
``messages`` are temporary tables with the ledgers of the gateways, ``booked`` with a row for each order,
``messages`` with those of the channels in ``listed``. A message to the operator has the reference
``alert:ORDER:VERSION`` and may be there twice. Only an event
explains a missing part: attention_reason does not, because resolving clears it.
"""

ORDERS = {
    "orders_at_rest": """
        SELECT order_id || ': ' || status || ', pending ' || array_to_string(pending, ', ')
          FROM shop.orders
         WHERE is_under_way
           AND attention_reason IS NULL
    """,
    "events_gap_free": """
        SELECT o.order_id || ': version ' || o.version || ', events ' || coalesce(e.events, 0)
          FROM shop.orders AS o
          LEFT JOIN (SELECT order_id, count(*) AS events, min(version) AS first, max(version) AS last
                       FROM shop.order_events GROUP BY order_id) AS e USING (order_id)
         WHERE o.archive_id IS NULL
           AND (e.events IS DISTINCT FROM o.version OR e.first <> 1 OR e.last <> o.version)
    """,
    "archives_agree": """
        SELECT o.order_id || ': archived, and ' || count(*) || ' of its events are in the table'
          FROM shop.orders AS o JOIN shop.order_events AS e USING (order_id)
         WHERE o.archive_id IS NOT NULL GROUP BY o.order_id
        UNION ALL
        SELECT 'in archive ' || archive_id || ' are ' || coalesce(a.orders, 0) || ' orders with '
               || coalesce(a.events, 0) || ' events, and marked are ' || coalesce(o.orders, 0) || ' with '
               || coalesce(o.events, 0)
          FROM (SELECT archive_id, orders, events FROM shop.archives
                 WHERE archive_id NOT IN (SELECT archive_id FROM shop.restored_archives)) AS a
          FULL JOIN (SELECT archive_id, count(*) AS orders, sum(archived_version) AS events FROM shop.orders
                      WHERE archive_id IS NOT NULL GROUP BY archive_id) AS o USING (archive_id)
         WHERE (a.orders, a.events) IS DISTINCT FROM (o.orders, o.events)
    """,
    "totals_agree_with_lines": """
        SELECT o.order_id || ': total ' || o.total_minor || ', its lines and adjustments are '
               || coalesce(i.minor, 0) + coalesce(a.minor, 0)
          FROM shop.orders AS o
          LEFT JOIN (SELECT order_id, sum(quantity * unit_price_minor + freight_minor) AS minor
                       FROM shop.order_items GROUP BY order_id) AS i USING (order_id)
          LEFT JOIN (SELECT order_id, sum(amount_minor) AS minor FROM shop.order_adjustments
                      WHERE kind <> 'tax_included' GROUP BY order_id) AS a USING (order_id)
         WHERE o.total_minor <> coalesce(i.minor, 0) + coalesce(a.minor, 0)
    """,
    "stock_conserved": """
        SELECT product_id FROM shop.stock
         WHERE loaded <> on_hand + reserved + shipped OR least(on_hand, reserved, shipped) < 0
    """,
    "stock_agrees_with_reservations": """
        SELECT s.product_id
          FROM shop.stock AS s
          LEFT JOIN (SELECT product_id, sum(quantity) FILTER (WHERE state = 'reserved') AS reserved,
                            sum(quantity - returned) FILTER (WHERE state = 'shipped') AS shipped
                       FROM shop.reservations GROUP BY product_id) AS r USING (product_id)
         WHERE s.reserved <> coalesce(r.reserved, 0) OR s.shipped <> coalesce(r.shipped, 0)
    """,
    "reservations_agree_with_orders": """
        SELECT DISTINCT
               o.order_id || ': ' || o.status || ' has ' || coalesce(r.state, 'nothing') || ' of a product'
          FROM shop.orders AS o
          LEFT JOIN LATERAL (
               SELECT coalesce(i.product_id, h.product_id) AS product_id, i.units, h.quantity, h.state
                 FROM (SELECT product_id, sum(quantity) AS units FROM shop.order_items
                        WHERE order_id = o.order_id GROUP BY product_id) AS i
                 FULL JOIN (SELECT product_id, quantity, state FROM shop.reservations
                             WHERE order_id = o.order_id) AS h USING (product_id)) AS r ON true
         WHERE CASE
               WHEN r.state IS NULL THEN o.status NOT IN ('placed', 'cancelled', 'refunded')
               WHEN r.units IS DISTINCT FROM r.quantity THEN true
               WHEN o.status = 'placed' THEN true
               WHEN o.status IN ('reserved', 'payment_due') THEN r.state <> 'reserved'
               WHEN o.status = 'paid' AND 'ship' = ANY(o.pending) THEN r.state <> 'reserved'
               WHEN o.status IN ('paid', 'completed') THEN r.state <> 'shipped'
               WHEN 'release' = ANY(o.pending) THEN r.state <> 'reserved'
               ELSE r.state <> 'released' END
    """,
    "completed_orders_are_whole": """
        SELECT o.order_id || ':'
               || CASE WHEN s.order_id IS NULL THEN ' no shipment' ELSE '' END
               || CASE WHEN p.order_id IS NULL THEN ' no points' ELSE '' END
               || CASE WHEN coalesce(n.channels, '{}') @> w.channels THEN '' ELSE ' not notified' END
          FROM shop.orders AS o
          LEFT JOIN shop.shipments AS s USING (order_id)
          LEFT JOIN shop.points AS p USING (order_id)
          LEFT JOIN (SELECT order_id, array_agg(channel) AS channels
                       FROM shop.notifications AS t
                      WHERE template = 'order_confirmed'
                        AND (state IN ('sent', 'skipped')
                             OR state IN ('unknown', 'failed') AND EXISTS (
                                SELECT FROM shop.order_events AS e
                                 WHERE e.order_id = t.order_id
                                   AND e.step = CASE t.channel WHEN 'text' THEN 'notify_confirmed'
                                                               ELSE 'email_confirmed' END
                                   AND e.type IN ('notification_unknown', 'notification_failed')))
                      GROUP BY order_id) AS n USING (order_id)
          LEFT JOIN (VALUES ('text', ARRAY['text']), ('email', ARRAY['email']),
                            ('both', ARRAY['text', 'email']), ('none', '{}')) AS w (notify, channels)
                 USING (notify)
         WHERE o.status = 'completed' AND o.archive_id IS NULL
           AND (s.order_id IS NULL OR NOT coalesce(n.channels, '{}') @> w.channels
                OR p.order_id IS NULL AND NOT EXISTS (SELECT FROM shop.order_events AS e
                       WHERE e.order_id = o.order_id AND e.type = 'points_failed'))
    """,
    "shipments_belong_to_paid_orders": """
        SELECT o.order_id FROM shop.shipments JOIN shop.orders AS o USING (order_id)
         WHERE o.status NOT IN ('paid', 'completed')
    """,
    "payments_agree_with_orders": """
        SELECT o.order_id || ': ' || o.status || ' with payment ' || coalesce(p.state, 'none')
          FROM shop.orders AS o LEFT JOIN shop.payments AS p USING (order_id)
         WHERE p.amount_minor <> o.total_minor OR p.currency <> o.currency
            OR CASE
               WHEN o.charge = 'free' THEN p.order_id IS NOT NULL
               WHEN o.status IN ('paid', 'completed') THEN p.state IS DISTINCT FROM 'captured'
               WHEN o.charge = 'paid' AND o.status = 'placed' THEN p.state IS DISTINCT FROM 'captured'
               WHEN o.status = 'payment_due' THEN p.state IS DISTINCT FROM 'declined'
               WHEN o.status = 'refunded' THEN p.state IS DISTINCT FROM 'refunded'
               WHEN o.status = 'cancelled' AND o.pending && '{capture,refund}' THEN p.state = 'refunded'
               WHEN o.status = 'cancelled'
                    THEN p.state IN ('intent', 'unknown', 'requires_action', 'captured')
                    OR p.state = 'refunded' AND o.refunded_minor < o.total_minor
               ELSE p.state IN ('captured', 'refunded') END
    """,
    "refunds_add_up": """
        SELECT o.order_id || ': ' || o.refunded_minor || ' went back, refunds say ' || coalesce(r.minor, 0)
               || CASE WHEN r.is_open THEN ', and one is open' ELSE '' END
          FROM shop.orders AS o
          LEFT JOIN (SELECT order_id, coalesce(bool_or(r.state = 'open'), false) AS is_open,
                            sum(r.amount_minor) FILTER (
                                WHERE r.state IN ('refunded', 'given_back', 'by_hand')) AS minor
                       FROM shop.refunds AS r LEFT JOIN shop.payments AS p USING (order_id)
                      WHERE r.capture_no = coalesce(p.capture_no, 1) GROUP BY order_id) AS r USING (order_id)
         WHERE o.refunded_minor <> coalesce(r.minor, 0) OR r.is_open AND NOT 'refund' = ANY(o.pending)
    """,
    "captures_follow_each_other": """
        SELECT order_id || CASE WHEN e.taken_late IS NOT NULL
                    THEN ': capture ' || e.taken_late || ' was declined, and took the money after all'
                    ELSE ': its capture is number ' || coalesce(p.capture_no, 0) || ', before it were '
                         || coalesce(e.captures, 0) END
          FROM shop.payments AS p
          FULL JOIN (SELECT order_id, count(*) AS captures, max(capture_no) AS last,
                            min(capture_no) FILTER (WHERE state = 'captured') AS taken_late
                       FROM shop.earlier_payments GROUP BY order_id) AS e USING (order_id)
         WHERE e.taken_late IS NOT NULL OR coalesce(p.capture_no, 0) <> coalesce(e.captures, 0) + 1
            OR e.last <> e.captures
    """,
}

# {units} has the minor units of each currency. What a points service has booked is in points_bookings too.
POINTS = {
    "points_agree_with_money": """
        SELECT o.order_id || ': ' || p.points || ' points, ' || o.total_minor || ' less ' || o.refunded_minor
               || coalesce(', bookings of ' || b.points, '')
          FROM shop.points AS p JOIN shop.orders AS o USING (order_id)
          JOIN (VALUES {units}) AS u (currency, minor) USING (currency)
          LEFT JOIN (SELECT order_id, sum(points) AS points FROM shop.points_bookings
                      WHERE booked_at IS NOT NULL GROUP BY order_id
                     HAVING count(*) FILTER (WHERE kind = 'award') > 0) AS b USING (order_id)
         WHERE NOT 'adjust_points' = ANY(o.pending)
           AND (p.points <> CASE WHEN o.status IN ('cancelled', 'refunded') THEN 0
                                 ELSE (o.total_minor - o.refunded_minor) / u.minor END
                OR p.points <> b.points)
    """,
}

PAYMENT_BOOKS = {
    "captured_at_most_once": """
        SELECT order_id || ': ' || captures || ' captures, ' || refunds || ' refunds'
          FROM booked WHERE captures > wanted OR refunded_minor > captured_minor
    """,
    # What went back is settled, as after a restored backup.
    "captures_belong_to_orders": """
        SELECT b.order_id || ': ' || CASE WHEN captures > 0 THEN 'capture' ELSE 'refund' END
               || ' of an unknown order'
          FROM booked AS b LEFT JOIN shop.orders AS o USING (order_id)
         WHERE o.order_id IS NULL AND b.captured_minor <> b.refunded_minor
    """,
    "payment_books_agree": """
        SELECT o.order_id || ': ' || o.status || ', gateway has '
               || coalesce(b.captures, 0) || ' captures and ' || coalesce(b.refunds, 0) || ' refunds'
               || CASE WHEN b.refunds > 0 THEN ' of ' || b.refunded_minor ELSE '' END
          FROM shop.orders AS o
          LEFT JOIN booked AS b USING (order_id)
         WHERE b.least <> o.total_minor OR b.most <> o.total_minor OR b.is_other_currency
            OR CASE
               WHEN o.charge = 'free' THEN b.captures > 0
               WHEN o.charge = 'paid' THEN false
               WHEN o.status IN ('paid', 'completed', 'refunded')
                   THEN coalesce(b.captures, 0) <> coalesce(b.wanted, 1)
               WHEN o.pending && '{capture,refund}' THEN b.captures > b.wanted
               ELSE b.captured_minor > b.refunded_minor END
    """,
    # Of an order with several captures each number is looked for, by its key, or by its id if the gateway
    # knows no more of it.
    "captures_agree_by_number": """
        SELECT order_id || ': capture ' || capture_no || ' is ' || state || ', gateway has ' || captures
          FROM (SELECT c.*, coalesce(k.captures, i.captures, 0) AS captures
                  FROM (SELECT order_id, capture_no, idempotency_key, state, capture_id
                          FROM shop.earlier_payments
                        UNION ALL
                        SELECT order_id, capture_no, idempotency_key, state, capture_id
                          FROM shop.payments WHERE capture_no > 1) AS c
                  LEFT JOIN (SELECT idempotency_key, count(*) AS captures FROM ledger
                              WHERE kind = 'capture' GROUP BY idempotency_key) AS k USING (idempotency_key)
                  LEFT JOIN (SELECT capture_id, count(*) AS captures FROM ledger
                              WHERE kind = 'capture' AND idempotency_key = '' GROUP BY capture_id) AS i
                         ON i.capture_id = c.capture_id) AS found
         WHERE CASE WHEN state IN ('captured', 'refunded') THEN captures <> 1
                    WHEN state IN ('next', 'declined', 'failed') THEN captures > 0
                    ELSE captures > 1 END
    """,
    # Each refund of ours is there with its amount. What else went back there is no more than was found there,
    # or reported by a person; that may be missing there, as a chargeback is. A capture that is not in our
    # books and went back whole is settled, as after a restored backup.
    "refund_books_agree": """
        SELECT r.order_id || ': refund ' || r.refund_no || ' of ' || r.amount_minor || ', gateway has '
               || coalesce(l.amount_minor || ' ' || l.currency, 'none')
          FROM shop.refunds AS r JOIN shop.orders AS o USING (order_id)
          LEFT JOIN ledger AS l ON l.kind <> 'capture' AND l.idempotency_key = r.idempotency_key
         WHERE r.state = 'refunded'
           AND (l.entry_no IS NULL OR l.amount_minor <> r.amount_minor OR l.currency <> o.currency)
        UNION ALL
        SELECT o.order_id || ': ' || l.minor || ' went back at the gateway beside our refunds, of which '
               || coalesce(r.minor, 0) || ' is in our books'
          FROM shop.orders AS o
          JOIN (SELECT order_id, sum(amount_minor) AS minor FROM ledger AS l
                 WHERE is_ours AND kind <> 'capture'
                   AND NOT EXISTS (SELECT FROM shop.refunds AS r WHERE r.idempotency_key = l.idempotency_key
                                      AND r.state IN ('open', 'refunded'))
                 GROUP BY order_id) AS l USING (order_id)
          LEFT JOIN (SELECT order_id, sum(amount_minor) AS minor FROM shop.refunds
                      WHERE state IN ('given_back', 'by_hand') GROUP BY order_id) AS r USING (order_id)
          LEFT JOIN booked AS b USING (order_id)
         WHERE l.minor > coalesce(r.minor, 0)
           AND (o.status IN ('paid', 'completed', 'refunded') OR o.pending && '{refund}'
                OR b.captured_minor <> b.refunded_minor)
    """,
}

MESSAGE_BOOKS = {
    "notified_at_most_once": """
        SELECT reference || ': ' || count(*) || CASE channel WHEN 'text' THEN ' messages' ELSE ' e-mails' END
          FROM messages
         WHERE reference NOT LIKE 'alert:%:%' GROUP BY channel, reference HAVING count(*) > 1
    """,
    "message_books_agree": """
        SELECT coalesce(t.reference, n.reference) || CASE coalesce(t.channel, n.channel)
                    WHEN 'text' THEN '' ELSE ' by e-mail' END
               || ': ' || coalesce(n.state, 'unknown to us') || ', '
               || CASE WHEN t.reference IS NULL THEN 'not sent' ELSE 'sent' END
          FROM (SELECT DISTINCT channel, reference FROM messages
                 WHERE reference NOT LIKE 'alert:%:%') AS t
          FULL JOIN (SELECT channel, state, order_id || ':' || template
                            || CASE WHEN number > 1 THEN ':' || number ELSE '' END AS reference
                       FROM shop.notifications JOIN listed USING (channel)) AS n USING (channel, reference)
         WHERE CASE WHEN t.reference IS NULL THEN n.state = 'sent'
                    ELSE coalesce(n.state, '') NOT IN ('sent', 'unknown', 'sending') END
    """,
}

MESSAGES = {
    "nothing_being_sent": """
        SELECT n.order_id || ' ' || n.template || CASE n.channel WHEN 'text' THEN '' ELSE ' by e-mail' END
               || ': being sent'
          FROM shop.notifications AS n JOIN shop.orders AS o USING (order_id)
         WHERE n.state = 'sending' AND o.status IN ('completed', 'cancelled', 'refunded') AND o.pending = '{}'
    """,
    "dead_letters_explained": """
        SELECT d.dead_letter_id || ' ' || d.queue || ' ' || d.message_id || ': ' || d.reason
          FROM ordermq.dead_letters AS d JOIN shop.orders AS o ON o.order_id = d.correlation_id
         WHERE d.replayed_at IS NULL AND d.discarded_at IS NULL AND o.attention_reason IS NULL
           AND d.type <> 'AlertOperator'
    """,
}

NOTES = {
    "orders_at_rest": """
        SELECT count(*) || ' orders, '
               || count(*) FILTER (WHERE attention_reason IS NOT NULL) || ' need attention'
          FROM shop.orders
    """,
    "archives_agree": """
        SELECT count(*) || ' orders are archived: their events are in files' FROM shop.orders
         WHERE archive_id IS NOT NULL HAVING count(*) > 0
    """,
    "captured_at_most_once": """
        SELECT coalesce(sum(captures), 0) || ' captures, ' || coalesce(sum(refunds), 0) || ' refunds'
          FROM booked
    """,
    "captures_belong_to_orders": """
        SELECT count(*) || ' entries of other shops: ' || string_agg(what, ', ') FILTER (WHERE number <= 5)
               || CASE WHEN count(*) > 5 THEN ', ...' ELSE '' END
          FROM (SELECT kind || ' ' || idempotency_key || ' of ' || order_id AS what,
                       row_number() OVER (ORDER BY entry_no) AS number
                  FROM ledger WHERE NOT is_ours) AS others HAVING count(*) > 0
    """,
    "notified_at_most_once": "SELECT count(*) || ' messages' FROM messages",
}
