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
        UPDATE notices n SET claimed_until = clock_timestamp() + lease, looked_at = clock_timestamp(), tries = n.tries + 1
        WHERE n.id = ANY(ARRAY(SELECT fresh.id FROM fresh))
    )
    SELECT fresh.*, drawn FROM fresh;
END $$;

-- Write what a batch of looks means: payments, orders with their events, notices that end. Everything or nothing.
-- `locked`: the caller holds the locks of these orders. If not, they were read without, when nothing was stored of any
-- payment of theirs; where something is by now, or an order has moved from the version that was read (it stands in its
-- change, or, where it does not change, in `of_orders`), a serialization failure says it. A `written_ticket` or
-- `lesser_ticket` of 0 is this write's, which is drawn under the locks (DESIGN.md §2.4).
CREATE FUNCTION write_looks(locked boolean, of_orders json, news json, changes json, ended json) RETURNS void
LANGUAGE plpgsql
-- The service's sessions go without it, for a plan that was made while a table was small would read all of it. Here
-- both sides are the batch's, and a batch of a hundred would be compared ten thousand times.
SET enable_hashjoin = on
AS $$
DECLARE
    names    text[] := ARRAY(SELECT merchant_uid FROM json_to_recordset(of_orders) AS g (merchant_uid text));
    ids      uuid[];
    seen     integer[];
    outcomes text[];
    drawn    bigint;
    written  bigint;
BEGIN
    IF NOT locked THEN
        -- Sorted, as everywhere; 2 is the namespace of orders' locks (service/db/orders.py).
        PERFORM pg_advisory_xact_lock(2, k) FROM (
            SELECT DISTINCT hashtext(m) AS k FROM unnest(names) AS m ORDER BY k) AS sorted;
        -- In statements of their own, after the locks: they read what is newest.
        IF EXISTS (SELECT FROM payments WHERE merchant_uid = ANY(names))
           OR EXISTS (SELECT FROM json_to_recordset(of_orders) AS g (merchant_uid text, version integer)
                      WHERE g.version IS NOT NULL AND g.version IS DISTINCT FROM
                            (SELECT o.version FROM orders o WHERE o.merchant_uid = g.merchant_uid)) THEN
            RAISE serialization_failure USING MESSAGE = 'what was read before the lock has changed';
        END IF;
    END IF;

    IF json_array_length(news) > 0 THEN
        drawn := nextval('look_tickets');
        INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
            cancellations, live, started_at, paid_at, details, written_ticket, lesser, lesser_seen_at, lesser_ticket)
        SELECT imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount, cancellations, live,
            started_at, paid_at, details, CASE WHEN written_ticket = 0 THEN drawn ELSE written_ticket END,
            lesser, lesser_seen_at, CASE WHEN lesser_ticket = 0 THEN drawn ELSE lesser_ticket END
        FROM json_to_recordset(news) AS g (imp_uid text, merchant_uid text, account text, tier text, status text,
            amount bigint, currency text, cancelled_amount bigint, cancellations integer, live boolean,
            started_at timestamptz, paid_at timestamptz, details jsonb, written_ticket bigint,
            lesser jsonb, lesser_seen_at timestamptz, lesser_ticket bigint)
        ON CONFLICT (imp_uid) DO UPDATE SET
            account = excluded.account, tier = excluded.tier, status = excluded.status, amount = excluded.amount,
            currency = excluded.currency, cancelled_amount = excluded.cancelled_amount,
            cancellations = excluded.cancellations, live = excluded.live, started_at = excluded.started_at,
            paid_at = excluded.paid_at, details = excluded.details, written_ticket = excluded.written_ticket,
            lesser = excluded.lesser, lesser_seen_at = excluded.lesser_seen_at,
            lesser_ticket = excluded.lesser_ticket, seen_at = now()
            WHERE locked;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> json_array_length(news) THEN
            RAISE serialization_failure USING MESSAGE = 'a payment was stored meanwhile';
        END IF;
    END IF;

    IF json_array_length(changes) > 0 THEN
        WITH moved AS (
            UPDATE orders o SET state = g.state, paid_amount = g.paid_amount,
                   cancelled_amount = g.cancelled_amount, imp_uid = g.imp_uid, problems = g.problems,
                   test_channel = g.test_channel, version = o.version + 1, updated_at = now()
            FROM json_to_recordset(changes) AS g (merchant_uid text, version integer, state text, paid_amount bigint,
                     cancelled_amount bigint, imp_uid text, problems jsonb, test_channel boolean)
            WHERE o.merchant_uid = ANY(names) AND o.merchant_uid = g.merchant_uid AND o.version = g.version
            RETURNING o.*
        )
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  imp_uid, problems, closed, test_channel)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               closed, test_channel
        FROM moved;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> json_array_length(changes) THEN
            RAISE serialization_failure USING MESSAGE = 'an order has moved from the version that was settled';
        END IF;
    END IF;

    SELECT array_agg(id), array_agg(arrivals), array_agg(outcome) INTO ids, seen, outcomes
    FROM json_to_recordset(ended) AS g (id uuid, arrivals integer, outcome text);
    -- One that was spoken for again meanwhile stays due.
    UPDATE notices SET due_at = NULL, claimed_until = NULL, handled_at = now(),
           last_outcome = outcomes[array_position(ids, id)]
    WHERE id = ANY(ids) AND arrivals = seen[array_position(ids, id)] AND handled_at IS NULL AND parked_at IS NULL;
END $$;
