-- safe while old code runs: no
-- Notifications by text and by e-mail. Of several refunds or declined cards each is told once: number counts
-- them from 1, and is 0 for what an order is told once.

ALTER TABLE shop.notifications
    ADD COLUMN channel text    NOT NULL DEFAULT 'text' CHECK (channel IN ('text', 'email')),
    ADD COLUMN number  integer NOT NULL DEFAULT 0 CHECK (number >= 0);

UPDATE shop.notifications SET number = 1 WHERE template = 'order_refunded';

ALTER TABLE shop.notifications
    ALTER COLUMN channel DROP DEFAULT,
    ALTER COLUMN number DROP DEFAULT,
    DROP CONSTRAINT notifications_pkey,
    ADD PRIMARY KEY (order_id, template, channel, number);
