-- safe while old code runs: yes
CREATE TABLE public.gifts (
    order_id    text        PRIMARY KEY,
    ribbon      text        NOT NULL,
    wrapped_at  timestamptz NOT NULL DEFAULT now()
);
