-- safe while old code runs: yes
-- The index whose place migration 0016 took is gone. Waits for those who use shop.orders, and then lasts no time.

DROP INDEX shop.orders_attributes;
