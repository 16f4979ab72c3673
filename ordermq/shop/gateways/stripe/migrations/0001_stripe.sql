-- safe while old code runs: yes
-- Stripe forgets an idempotency key after a day. These rows do not.

CREATE SCHEMA stripe;

-- A row is written before the key is first used. object_id is the PaymentIntent that the key made.
CREATE TABLE stripe.keys (
    key       text        PRIMARY KEY,
    order_id  text        NOT NULL,
    object_id text,
    called_at timestamptz NOT NULL DEFAULT now()  -- when the key was about to be used for the first time
);
CREATE UNIQUE INDEX keys_object ON stripe.keys (object_id);

-- Events that webhooks brought. An event that comes again is known by its id.
CREATE TABLE stripe.events (
    event_id    text        PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX events_received ON stripe.events (received_at);
