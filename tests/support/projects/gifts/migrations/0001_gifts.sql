-- safe while old code runs: yes
CREATE SCHEMA gifts;
CREATE TABLE gifts.gifts (
    gift_id   text    PRIMARY KEY,
    has_card  boolean NOT NULL DEFAULT false
);
