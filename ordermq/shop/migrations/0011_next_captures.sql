-- safe while old code runs: yes
-- Never two captures open for one order: the next one begins only in the transaction that has written down the
-- one before as declined or refunded, under the next number and a key that was never used.

CREATE FUNCTION shop.check_next_capture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF old.state NOT IN ('declined', 'refunded') OR new.capture_no <> old.capture_no + 1 OR new.state <> 'next'
       OR new.idempotency_key = old.idempotency_key
       OR NOT EXISTS (SELECT FROM shop.earlier_payments AS e
                       WHERE e.order_id = old.order_id AND e.capture_no = old.capture_no
                         AND e.idempotency_key = old.idempotency_key AND e.state = old.state)
    THEN
        RAISE EXCEPTION 'order %: capture % cannot follow capture %, which is %',
            old.order_id, new.capture_no, old.capture_no, old.state USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN new;
END
$$;

-- Only a statement that sets these columns fires it, so it costs the usual updates nothing.
CREATE TRIGGER payments_next_capture BEFORE UPDATE OF capture_no, idempotency_key ON shop.payments
    FOR EACH ROW WHEN (new.capture_no <> old.capture_no) EXECUTE FUNCTION shop.check_next_capture();
