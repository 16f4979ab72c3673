-- safe while old code runs: no
-- Who takes the money of an order and how its customer is told; another card after a decline; refunds of parts,
-- and goods that come back. Reads shop.orders and shop.payments once.

ALTER TABLE shop.orders
    ADD COLUMN charge         text NOT NULL DEFAULT 'card' CHECK (charge IN ('card', 'free', 'paid')),
    ADD COLUMN notify         text NOT NULL DEFAULT 'text' CHECK (notify IN ('text', 'email', 'both', 'none')),
    ADD COLUMN refunded_minor bigint NOT NULL DEFAULT 0,  -- what went back of the money that was taken last
    ADD COLUMN due_until      timestamptz,                -- payment_due: until when another card may be given
    ADD CONSTRAINT orders_refunded_minor_check CHECK (refunded_minor BETWEEN 0 AND total_minor),
    DROP CONSTRAINT orders_status_check,
    ADD CONSTRAINT orders_status_check CHECK (
        status IN ('placed', 'reserved', 'payment_due', 'paid', 'completed', 'cancelled', 'refunded'));

-- One row for an order: its capture number capture_no, the only one that may be open. 'next' is a capture
-- after a decline or a full refund that was not begun yet.
ALTER TABLE shop.payments
    ADD COLUMN capture_no integer NOT NULL DEFAULT 1 CHECK (capture_no >= 1),
    DROP CONSTRAINT payments_state_check,
    ADD CONSTRAINT payments_state_check CHECK (
        state IN ('next', 'intent', 'captured', 'declined', 'unknown', 'failed', 'refunded'));

-- The captures of an order before the present one. Each was declined or refunded. 'captured' is one that the
-- service reported as captured only after the next had begun: a person has to look.
CREATE TABLE shop.earlier_payments (
    order_id        text        NOT NULL REFERENCES shop.orders,
    capture_no      integer     NOT NULL,
    idempotency_key text        NOT NULL UNIQUE,
    amount_minor    bigint      NOT NULL,
    currency        char(3)     NOT NULL,
    state           text        NOT NULL CHECK (state IN ('declined', 'refunded', 'captured')),
    capture_id      text,
    reason          text,
    ended_at        timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, capture_no)
);

-- Each time that money or goods of an order went back. 'open' is under way; 'given_back' was found at the
-- service, 'by_hand' was reported by a person, 'skipped' found nothing to give back, 'returned' moved goods only.
CREATE TABLE shop.refunds (
    order_id        text        NOT NULL REFERENCES shop.orders,
    refund_no       integer     NOT NULL CHECK (refund_no >= 1),
    capture_no      integer     NOT NULL,
    amount_minor    bigint      NOT NULL CHECK (amount_minor >= 0),
    state           text        NOT NULL
        CHECK (state IN ('open', 'refunded', 'given_back', 'by_hand', 'skipped', 'returned')),
    idempotency_key text        UNIQUE,             -- from the first call on
    refund_id       text,
    request         text        NOT NULL DEFAULT '',   -- what was asked for: the same again is the same request
    lines           jsonb       NOT NULL DEFAULT '[]', -- [line_no, units] of each line that it is about
    is_restocked    boolean     NOT NULL DEFAULT false,
    called_at       timestamptz,                    -- when the service was first about to be called
    requested_at    timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, refund_no)
);
CREATE UNIQUE INDEX refunds_open ON shop.refunds (order_id) WHERE state = 'open';

ALTER TABLE shop.reservations
    ADD COLUMN returned bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT reservations_returned_check CHECK (
        returned BETWEEN 0 AND quantity AND (returned = 0 OR state = 'shipped'));

-- Refunds of before. One that is under way keeps its key.
INSERT INTO shop.refunds (order_id, refund_no, capture_no, amount_minor, state, idempotency_key, refund_id,
                          called_at, requested_at)
SELECT p.order_id, 1, 1, p.amount_minor,
       CASE WHEN p.state = 'refunded' THEN CASE WHEN p.refund_id IS NULL THEN 'given_back' ELSE 'refunded' END
            WHEN 'refund' = ANY(o.pending) THEN 'open' ELSE 'skipped' END,
       'refund:' || p.idempotency_key, p.refund_id, p.refund_called_at, coalesce(p.refund_called_at, p.updated_at)
  FROM shop.payments AS p JOIN shop.orders AS o USING (order_id)
 WHERE CASE WHEN p.state = 'refunded' THEN p.reason IS DISTINCT FROM 'by hand'
            ELSE p.refund_called_at IS NOT NULL END;

INSERT INTO shop.refunds (order_id, refund_no, capture_no, amount_minor, state, refund_id, requested_at)
SELECT order_id, row_number() OVER (PARTITION BY order_id ORDER BY version)
                 + (SELECT count(*) FROM shop.refunds AS r WHERE r.order_id = reported.order_id), 1,
       (data ->> 'amount_minor')::bigint, 'by_hand', data ->> 'reference', occurred_at
  FROM (SELECT order_id, version, occurred_at, convert_from(body, 'UTF8')::json -> 'data' AS data
          FROM shop.order_events WHERE type = 'refunded_by_hand') AS reported;

UPDATE shop.orders AS o SET refunded_minor = least(r.minor, o.total_minor)
  FROM (SELECT order_id, sum(amount_minor) AS minor FROM shop.refunds
         WHERE state IN ('refunded', 'given_back', 'by_hand') GROUP BY order_id) AS r
 WHERE r.order_id = o.order_id;
