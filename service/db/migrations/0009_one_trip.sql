-- A look's two ends, each in one trip to the database instead of five and eight: between its statements, run one by
-- one, the service did nothing but wait (docs/decisions/0015-one-trip.md). A function's text is never changed: a
-- later migration adds another beside it, for workers of two versions run side by side.

-- Claim those of the notices about which there is nothing to decide: their order is registered and as it was made,
-- nobody has looked at their payment, and nothing is stored of any payment of that order. They go where the order is
-- registered; one that names another store is not among them. The commit does not wait for the disk.
CREATE FUNCTION claim_fresh(ids uuid[], lease interval)
RETURNS TABLE (
    id uuid, source text, imp_uid text, claimed_status text, arrivals integer, tries integer, age interval,
    merchant_uid text, amount bigint, currency text, account text, tier text, version integer, ticket bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE drawn bigint;
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    -- One claim at a time decides about a payment; 1 is the namespace of payments' locks (service/db/notices.py).
    PERFORM pg_advisory_xact_lock(1, k) FROM (
        SELECT DISTINCT hashtext(n.imp_uid) AS k FROM notices n WHERE n.id = ANY(ids) ORDER BY k) AS sorted;
    drawn := nextval('look_tickets');
    RETURN QUERY
    WITH fresh AS (
        SELECT n.id, n.source, n.imp_uid, n.claimed_status, n.arrivals, n.tries,
               clock_timestamp() - n.received_at AS age,
               o.merchant_uid, o.amount, o.currency, o.account, o.tier, o.version
        FROM notices n, LATERAL (SELECT * FROM orders WHERE merchant_uid = n.merchant_uid OFFSET 0) o
        WHERE n.id = ANY(ids) AND n.handled_at IS NULL AND n.parked_at IS NULL
          AND o.state = 'pending' AND o.imp_uid IS NULL
          AND ((n.account IS NULL AND n.tier IS NULL)
               OR (coalesce(n.account, 'default') = o.account AND coalesce(n.tier, o.tier) = o.tier))
          AND (SELECT true FROM payments WHERE imp_uid = n.imp_uid) IS NULL
          AND (SELECT true FROM payments WHERE merchant_uid = n.merchant_uid LIMIT 1) IS NULL
          AND (SELECT true FROM notices other WHERE other.imp_uid = n.imp_uid AND other.looked_at IS NOT NULL LIMIT 1)
              IS NULL
        ORDER BY n.id FOR UPDATE OF n SKIP LOCKED
    ), held AS (
        UPDATE notices n SET held_until = clock_timestamp() + lease, looked_at = clock_timestamp(), tries = n.tries + 1
        WHERE n.id = ANY(ARRAY(SELECT fresh.id FROM fresh))
    )
    SELECT fresh.*, drawn FROM fresh;
END $$;

-- Write what a batch of looks means: payments, orders with their events, notices that end. Everything or nothing.
-- `read_before`: the orders' versions as they were read without their locks, when nothing was stored of any payment of
-- theirs. Where that is no longer so, or an order has moved from the version that its change was made from, a
-- serialization failure says it. NULL: the caller holds the locks. A `written_ticket` or `lesser_ticket` of 0 is this
-- write's, which is drawn under the locks (DESIGN.md §2.4).
CREATE FUNCTION write_looks(
    of_orders text[], read_before integer[],
    p_imp_uid text[], p_merchant_uid text[], p_account text[], p_tier text[], p_status text[], p_amount bigint[],
    p_currency text[], p_cancelled_amount bigint[], p_cancellations integer[], p_live boolean[],
    p_started_at timestamptz[], p_paid_at timestamptz[], p_details jsonb[], p_written_ticket bigint[],
    p_lesser jsonb[], p_lesser_seen_at timestamptz[], p_lesser_ticket bigint[],
    c_merchant_uid text[], c_version integer[], c_state text[], c_paid_amount bigint[], c_cancelled_amount bigint[],
    c_imp_uid text[], c_problems text[], c_test_channel boolean[],
    n_id uuid[], n_arrivals integer[], n_outcome text[]
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    drawn   bigint;
    changed bigint;
BEGIN
    IF read_before IS NOT NULL THEN
        -- Sorted, as everywhere; 2 is the namespace of orders' locks (service/db/orders.py).
        PERFORM pg_advisory_xact_lock(2, k) FROM (
            SELECT DISTINCT hashtext(m) AS k FROM unnest(of_orders) AS m ORDER BY k) AS sorted;
        -- In statements of their own, after the locks: they read what is newest.
        IF EXISTS (SELECT FROM payments WHERE merchant_uid = ANY(of_orders))
           OR EXISTS (SELECT FROM payments WHERE imp_uid = ANY(p_imp_uid))
           OR EXISTS (SELECT FROM unnest(of_orders, read_before) AS g (m, v)
                      WHERE (SELECT version FROM orders WHERE merchant_uid = g.m) IS DISTINCT FROM g.v) THEN
            RAISE serialization_failure USING MESSAGE = 'what was read before the lock has changed';
        END IF;
    END IF;

    IF cardinality(p_imp_uid) > 0 THEN
        drawn := nextval('look_tickets');
        INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
            cancellations, live, started_at, paid_at, details, written_ticket, lesser, lesser_seen_at, lesser_ticket)
        SELECT g.imp_uid, g.merchant_uid, g.account, g.tier, g.status, g.amount, g.currency, g.cancelled_amount,
            g.cancellations, g.live, g.started_at, g.paid_at, g.details,
            CASE WHEN g.written_ticket = 0 THEN drawn ELSE g.written_ticket END, g.lesser, g.lesser_seen_at,
            CASE WHEN g.lesser_ticket = 0 THEN drawn ELSE g.lesser_ticket END
        FROM unnest(p_imp_uid, p_merchant_uid, p_account, p_tier, p_status, p_amount, p_currency, p_cancelled_amount,
            p_cancellations, p_live, p_started_at, p_paid_at, p_details, p_written_ticket, p_lesser, p_lesser_seen_at,
            p_lesser_ticket) AS g (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
            cancellations, live, started_at, paid_at, details, written_ticket, lesser, lesser_seen_at, lesser_ticket)
        ON CONFLICT (imp_uid) DO UPDATE SET
            account = excluded.account, tier = excluded.tier, status = excluded.status, amount = excluded.amount,
            currency = excluded.currency, cancelled_amount = excluded.cancelled_amount,
            cancellations = excluded.cancellations, live = excluded.live, started_at = excluded.started_at,
            paid_at = excluded.paid_at, details = excluded.details, written_ticket = excluded.written_ticket,
            lesser = excluded.lesser, lesser_seen_at = excluded.lesser_seen_at,
            lesser_ticket = excluded.lesser_ticket, seen_at = now();
    END IF;

    IF cardinality(c_merchant_uid) > 0 THEN
        WITH moved AS (
            UPDATE orders o SET state = g.state, paid_amount = g.paid_amount,
                   cancelled_amount = g.cancelled_amount, imp_uid = g.imp_uid, problems = g.problems::jsonb,
                   test_channel = g.test_channel, version = o.version + 1, updated_at = now()
            FROM unnest(c_merchant_uid, c_version, c_state, c_paid_amount, c_cancelled_amount, c_imp_uid, c_problems,
                        c_test_channel)
                 AS g (merchant_uid, version, state, paid_amount, cancelled_amount, imp_uid, problems, test_channel)
            WHERE o.merchant_uid = ANY(c_merchant_uid) AND o.merchant_uid = g.merchant_uid AND o.version = g.version
            RETURNING o.*
        )
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  imp_uid, problems, closed, test_channel)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               closed, test_channel
        FROM moved;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed <> cardinality(c_merchant_uid) THEN
            RAISE serialization_failure USING MESSAGE = 'an order has moved from the version that was settled';
        END IF;
    END IF;

    -- One that was spoken for again meanwhile stays due.
    UPDATE notices SET due_at = NULL, held_until = NULL, handled_at = now(),
           last_outcome = n_outcome[array_position(n_id, id)]
    WHERE id = ANY(n_id) AND arrivals = n_arrivals[array_position(n_id, id)]
          AND handled_at IS NULL AND parked_at IS NULL;
END $$;
