-- The shop's terms change before payment: an order is amended, withdrawn, or expires.

ALTER TABLE orders
    ADD COLUMN closed text CHECK (closed IN ('expired', 'withdrawn')),
    -- The payment that decides the state was made on a test channel, which ALLOW_TEST_CHANNEL let in.
    ADD COLUMN test_channel boolean NOT NULL DEFAULT false;
ALTER TABLE order_events
    ADD COLUMN closed text,
    ADD COLUMN test_channel boolean NOT NULL DEFAULT false;
CREATE INDEX orders_expiring ON orders (expires_at) WHERE closed IS NULL AND state IN ('pending', 'failed');

-- An order's amount that PortOne is to know beforehand (PREPARE_AMOUNT). Its own table and timetable: what
-- becomes of it is no change of the order, and no worker that prepares waits for an order's lock.
CREATE TABLE preparations (
    merchant_uid text PRIMARY KEY REFERENCES orders,
    -- Counts the amounts that the order has had: an answer about an older one is not the newer one's.
    revision     integer NOT NULL DEFAULT 1,
    -- Whether PortOne is known to hold an amount for the order, so that the next one is a change.
    known        boolean NOT NULL DEFAULT false,
    outcome      text NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'done', 'refused')),
    reason       text,
    tries        integer NOT NULL DEFAULT 0,
    due_at       timestamptz DEFAULT now(),
    claimed_at   timestamptz,
    CHECK ((outcome = 'pending') = (due_at IS NOT NULL)),
    CHECK ((outcome = 'refused') = (reason IS NOT NULL))
);
CREATE INDEX preparations_due ON preparations (due_at) WHERE due_at IS NOT NULL;
