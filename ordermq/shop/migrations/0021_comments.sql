-- safe while old code runs: yes
-- What each table and function is for, where psql shows it (\dt+, \df+) and docs/schema.md is made from.

COMMENT ON SCHEMA shop IS 'orders and everything that happens to them; money in minor units of its currency';

COMMENT ON TABLE shop.orders IS 'each order as it is now: what its events come to';
COMMENT ON COLUMN shop.orders.pending IS 'steps whose command was sent and which no event has ended';
COMMENT ON COLUMN shop.orders.version IS 'of its newest event';
COMMENT ON COLUMN shop.orders.attention_reason IS 'why a person has to look; only a person clears it';
COMMENT ON COLUMN shop.orders.placed_at IS 'as the shop says';
COMMENT ON COLUMN shop.orders.terminal_at IS 'when it reached its terminal status';
COMMENT ON COLUMN shop.orders.refunded_minor IS 'what went back of the money that was taken last';
COMMENT ON COLUMN shop.orders.due_until IS 'in payment_due: until when another card may be given';
COMMENT ON TABLE shop.order_items IS 'the lines of each order';
COMMENT ON TABLE shop.order_adjustments IS 'discounts, fees and taxes of each order, beside its lines';
COMMENT ON TABLE shop.order_attributes IS 'the attributes of orders, once more, in the order in which they were accepted: to find orders by them';
COMMENT ON TABLE shop.contacts IS 'the personal data of an order, nowhere else; erasing a customer deletes the row';
COMMENT ON TABLE shop.order_events IS 'the history of each order: written once, never changed; the body is canonical JSON';
COMMENT ON COLUMN shop.order_events.step IS 'the pending step that this event ended, if any';

COMMENT ON TABLE shop.stock IS 'units of each product: loaded = on_hand + reserved + shipped';
COMMENT ON TABLE shop.reservations IS 'units of a product that an order has, until they are released or shipped';
COMMENT ON TABLE shop.payments IS
    'the capture of each order that is open or was last; written before the service is called, which is asked before a second try';
COMMENT ON COLUMN shop.payments.called_at IS 'when the service was last about to be called';
COMMENT ON TABLE shop.earlier_payments IS 'the captures of an order before the present one: each was declined or refunded';
COMMENT ON TABLE shop.refunds IS 'each time that money or goods of an order went back';
COMMENT ON TABLE shop.notifications IS 'each text of an order, sent at most once; written before the service is called';
COMMENT ON TABLE shop.points IS 'the points that an order earned';
COMMENT ON TABLE shop.points_bookings IS 'what a points service is asked to book; written before it is asked';
COMMENT ON TABLE shop.shipments IS 'the shipment of each order';

COMMENT ON TABLE shop.archives IS 'files into which the events of orders at rest were moved';
COMMENT ON TABLE shop.restored_archives IS 'archives whose events were brought back';

COMMENT ON FUNCTION shop.place_order IS 'adds an order with everything that belongs to it, if it is new';
COMMENT ON FUNCTION shop.place_orders IS 'adds the orders that are new, as place_order does, but for their messages';
COMMENT ON FUNCTION shop.write_journal IS 'adds events and sets the state of their orders';
COMMENT ON FUNCTION shop.wanted_stock IS 'what orders ask for and what is on hand; locks the rows of the stock';
COMMENT ON FUNCTION shop.reserve IS 'reserves units of products for orders';
COMMENT ON FUNCTION shop.end_reservations IS 'releases or ships what is still reserved for orders';
COMMENT ON FUNCTION shop.due_captures IS 'what the captures of orders need';
COMMENT ON FUNCTION shop.intend IS 'writes the intents to capture, for the first time or again';
COMMENT ON FUNCTION shop.save_payments IS 'changes payments';
COMMENT ON FUNCTION shop.notifications_of IS 'the states of the notifications of orders, and their addresses if wanted';
COMMENT ON FUNCTION shop.save_notifications IS 'begins notifications, or changes them';
COMMENT ON FUNCTION shop.check_next_capture IS 'trigger: refuses a second open capture of an order';
COMMENT ON FUNCTION shop.keep_attributes IS 'trigger: writes the attributes of a new order into order_attributes';
COMMENT ON FUNCTION shop.note_events IS 'trigger: adds new events to ordermq.unnumbered';
COMMENT ON FUNCTION shop.refuse_change IS 'trigger: refuses to change the history of orders';
COMMENT ON FUNCTION shop.refuse_removal IS 'trigger: refuses to delete events that no archive has';
