-- safe while old code runs: no
-- How many units of each line were paid back, and how many came back: never more than were ordered.
-- Reads shop.order_items once, and locks it for some seconds for each million lines.

ALTER TABLE shop.order_items
    ADD COLUMN refunded bigint NOT NULL DEFAULT 0,  -- units of which the money went back, or is about to
    ADD COLUMN returned bigint NOT NULL DEFAULT 0,  -- units that came back, whether they can be sold again or not
    ADD CONSTRAINT order_items_refunded_check CHECK (refunded BETWEEN 0 AND quantity),
    ADD CONSTRAINT order_items_returned_check CHECK (returned BETWEEN 0 AND quantity);

COMMENT ON COLUMN shop.reservations.returned IS 'units that came back and are on hand again';

-- shop.refunds has it for each refund.
ALTER TABLE shop.payments DROP COLUMN refund_called_at;
