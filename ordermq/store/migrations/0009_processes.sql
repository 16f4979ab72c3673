-- safe while old code runs: yes
-- The processes that run, as each says of itself every few seconds: for 'ordermq status'.

CREATE TABLE ordermq.processes (
    name         text        PRIMARY KEY,
    role         text        NOT NULL,
    queue        text        NOT NULL,
    host         text        NOT NULL,
    pid          integer     NOT NULL,
    version      text        NOT NULL,
    connections  integer     NOT NULL,
    started_at   timestamptz NOT NULL DEFAULT now(),
    seen_at      timestamptz NOT NULL DEFAULT now(),
    state        text        NOT NULL,
    since        timestamptz NOT NULL DEFAULT now(),
    reason       text        NOT NULL,
    unacked      integer     NOT NULL,
    rate         float8      NOT NULL,
    delivered_at timestamptz
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);
