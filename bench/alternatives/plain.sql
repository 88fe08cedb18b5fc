-- The table of bench/alternatives/plain.py: the columns that it needs, one index, the orders of the run.
CREATE TABLE plain_orders (
    merchant_uid text PRIMARY KEY,
    amount       bigint NOT NULL,
    currency     text NOT NULL,
    name         text,
    state        text NOT NULL DEFAULT 'pending',
    paid_amount  bigint NOT NULL DEFAULT 0,
    imp_uid      text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    updated_at   timestamptz NOT NULL DEFAULT now()
);
INSERT INTO plain_orders (merchant_uid, amount, currency) SELECT merchant_uid, amount, currency FROM orders;
