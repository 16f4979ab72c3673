-- safe while old code runs: no
-- A payment may wait for the customer, as with 3-D Secure. action_at is when the service first said so.

ALTER TABLE shop.payments
    ADD COLUMN action_at timestamptz,
    DROP CONSTRAINT payments_state_check,
    ADD CONSTRAINT payments_state_check CHECK (state IN (
        'next', 'intent', 'captured', 'declined', 'unknown', 'requires_action', 'failed', 'refunded'));
