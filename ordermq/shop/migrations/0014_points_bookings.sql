-- safe while old code runs: yes
-- What a points service is asked to book, written before it is asked, so that a booking keeps its points.

CREATE TABLE shop.points_bookings (
    order_id  text    NOT NULL REFERENCES shop.orders,
    kind      text    NOT NULL CHECK (kind IN ('award', 'refund', 'cancelled')),
    number    integer NOT NULL,      -- of the capture, of the newest refund that is counted, or of the cancellation
    points    bigint  NOT NULL,      -- below 0 where they are taken back
    asked_at  timestamptz NOT NULL DEFAULT now(),
    booked_at timestamptz,           -- when the service said so
    PRIMARY KEY (order_id, kind, number)
);
CREATE UNIQUE INDEX points_bookings_asked ON shop.points_bookings (order_id) WHERE booked_at IS NULL;
