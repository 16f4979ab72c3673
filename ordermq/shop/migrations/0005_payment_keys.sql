-- safe while old code runs: yes
-- A payment service may forget an idempotency key. These columns say since when it may know one.

ALTER TABLE shop.payments
    ADD COLUMN first_called_at  timestamptz NOT NULL DEFAULT now(),  -- when the capture was first about to be called
    ADD COLUMN refund_called_at timestamptz;                         -- the same for the refund

-- Of payments of before only the last call is known; the first came after the order was accepted.
UPDATE shop.payments AS p SET first_called_at = o.accepted_at
  FROM shop.orders AS o
 WHERE o.order_id = p.order_id AND p.state IN ('intent', 'unknown');
