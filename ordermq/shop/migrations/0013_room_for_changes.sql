-- safe while old code runs: yes
-- An order changes five times within seconds. A change that finds room on its page writes no index: half of the page
-- is left for that, on new pages. With a fifth, half of the changes found none (docs/performance.md).

ALTER TABLE shop.orders SET (fillfactor = 50);
