-- safe while old code runs: yes
-- Orders and everything that happens to them.
-- Money is bigint, in minor units of the currency. Personal data is in shop.contacts only.

CREATE SCHEMA shop;

CREATE TABLE shop.orders (
    order_id         text        PRIMARY KEY,
    customer_id      text        NOT NULL,
    status           text        NOT NULL
        CHECK (status IN ('placed', 'reserved', 'paid', 'completed', 'cancelled', 'refunded')),
    pending          text[]      NOT NULL,  -- steps whose command was sent and which no event has ended
    version          integer     NOT NULL CHECK (version >= 1),  -- of the newest event
    currency         char(3)     NOT NULL,
    total_minor      bigint      NOT NULL CHECK (total_minor > 0),
    content_sha256   bytea       NOT NULL,
    traceparent      text        NOT NULL,
    attention_reason text,                  -- why a person has to look; only a person clears it
    placed_at        timestamptz NOT NULL,  -- as the shop says
    accepted_at      timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    terminal_at      timestamptz            -- when the order reached its terminal status
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- Orders that are still under way, the oldest first, and orders that a person has to look at.
CREATE INDEX orders_under_way ON shop.orders (accepted_at)
    WHERE status NOT IN ('completed', 'cancelled', 'refunded') OR pending <> '{}';
CREATE INDEX orders_attention ON shop.orders (updated_at) WHERE attention_reason IS NOT NULL;

CREATE TABLE shop.order_items (
    order_id         text    NOT NULL REFERENCES shop.orders,
    line_no          integer NOT NULL,
    product_id       text    NOT NULL,
    quantity         bigint  NOT NULL CHECK (quantity > 0),
    unit_price_minor bigint  NOT NULL CHECK (unit_price_minor >= 0),
    freight_minor    bigint  NOT NULL CHECK (freight_minor >= 0),
    PRIMARY KEY (order_id, line_no)
);

CREATE TABLE shop.contacts (
    order_id   text PRIMARY KEY REFERENCES shop.orders,
    card_token text NOT NULL,
    phone      text,
    email      text,
    name       text
);

-- The history: written once, never changed. The body is canonical JSON.
CREATE TABLE shop.order_events (
    order_id    text        NOT NULL REFERENCES shop.orders,
    version     integer     NOT NULL,
    type        text        NOT NULL,
    step        text,       -- the pending step this event ended, if any
    occurred_at timestamptz NOT NULL,
    body        bytea       NOT NULL,
    PRIMARY KEY (order_id, version)
);

CREATE FUNCTION shop.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.% is refused: the history of orders is only added to',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME;
END
$$;

CREATE TRIGGER order_events_are_final BEFORE UPDATE OR DELETE OR TRUNCATE ON shop.order_events
    FOR EACH STATEMENT EXECUTE FUNCTION shop.refuse_change();
REVOKE UPDATE, DELETE, TRUNCATE ON shop.order_events FROM PUBLIC;

CREATE TABLE shop.stock (
    product_id text   PRIMARY KEY,
    loaded     bigint NOT NULL,  -- all units that ever came in
    on_hand    bigint NOT NULL CHECK (on_hand >= 0),
    reserved   bigint NOT NULL DEFAULT 0 CHECK (reserved >= 0),
    shipped    bigint NOT NULL DEFAULT 0 CHECK (shipped >= 0),
    CHECK (loaded = on_hand + reserved + shipped)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE shop.reservations (
    order_id   text   NOT NULL REFERENCES shop.orders,
    product_id text   NOT NULL REFERENCES shop.stock,
    quantity   bigint NOT NULL CHECK (quantity > 0),
    state      text   NOT NULL DEFAULT 'reserved' CHECK (state IN ('reserved', 'released', 'shipped')),
    PRIMARY KEY (order_id, product_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- The row is written before the gateway is called. A handler that finds one must ask before it captures.
CREATE TABLE shop.payments (
    order_id        text        PRIMARY KEY REFERENCES shop.orders,
    idempotency_key text        NOT NULL UNIQUE,
    amount_minor    bigint      NOT NULL CHECK (amount_minor > 0),
    currency        char(3)     NOT NULL,
    state           text        NOT NULL
        CHECK (state IN ('intent', 'captured', 'declined', 'unknown', 'failed', 'refunded')),
    capture_id      text,
    refund_id       text,
    reason          text,
    called_at       timestamptz NOT NULL DEFAULT now(),  -- when the gateway was last about to be called
    updated_at      timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

-- A text is sent at most once for each order and template. 'sending' is written before the call. 'failed'
-- means certainly not sent; it is the only state from which the text may be tried again.
CREATE TABLE shop.notifications (
    order_id    text        NOT NULL REFERENCES shop.orders,
    template    text        NOT NULL,
    state       text        NOT NULL CHECK (state IN ('sending', 'sent', 'unknown', 'skipped', 'failed')),
    provider_id text,
    reason      text,
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, template)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);

CREATE TABLE shop.points (
    order_id    text        PRIMARY KEY REFERENCES shop.orders,
    customer_id text        NOT NULL,
    points      bigint      NOT NULL CHECK (points >= 0),
    awarded_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE shop.shipments (
    order_id        text        PRIMARY KEY REFERENCES shop.orders,
    shipment_number bigint      GENERATED ALWAYS AS IDENTITY UNIQUE,
    created_at      timestamptz NOT NULL DEFAULT now()
);
