-- Write what a batch of looks means: payments, orders with their events, notices that end or wait. All or nothing.
--
-- `locked`: the caller holds the locks of these orders. Otherwise the orders were read without them, while nothing was
-- stored of any of their payments; if something is stored by now, or an order has moved from the version that was read
-- (it stands in its change or, where the order does not change, in `of_orders`), a serialization failure says so.
-- A `written_ticket` or `lesser_ticket` of 0 is this write's, which is drawn under the locks (docs/design.md §2.4).
--
-- Rows travel as arrays, because looking up keys row by row was a tenth of what Postgres did for a payment
-- (docs/decisions/0015-claim-and-write-in-one-trip-each.md):
--   of_orders  [merchant_uid, version?]
--   news       the columns of `payments`, in the INSERT's order
--   changes    [merchant_uid, version, state, paid_amount, cancelled_amount, imp_uid, problems, test_channel,
--               whether reconciliation asks about it ('still', 'again' or null), notice_id, source, looked_at, ticket, facts]
--   ended      [outcome, arrivals, parked, ids]
--   postponed  [outcome or null, arrivals, seconds until due, id]
CREATE FUNCTION write_looks_v2(
    locked boolean, of_orders jsonb, news jsonb, changes jsonb, ended jsonb, postponed jsonb) RETURNS void
LANGUAGE plpgsql
-- The service's sessions go without hash joins, because a plan that was made while a table was small would read all of
-- it. Here both sides are the batch's, and a batch of a hundred would be compared ten thousand times.
SET enable_hashjoin = on
AS $$
DECLARE
    names   text[] := ARRAY(SELECT g->>0 FROM jsonb_array_elements(of_orders) AS g);
    alike   jsonb;
    drawn   bigint;
    written bigint;
BEGIN
    IF NOT locked THEN
        -- Sorted, as everywhere. 2 is the namespace of orders' locks.
        PERFORM pg_advisory_xact_lock(2, k) FROM (
            SELECT DISTINCT hashtext(m) AS k FROM unnest(names) AS m ORDER BY k) AS sorted;
        -- In statements of their own, after the locks: they read what is newest.
        IF EXISTS (SELECT FROM payments WHERE merchant_uid = ANY(names) AND (status <> 'ready' OR lesser IS NOT NULL))
           OR EXISTS (SELECT FROM jsonb_array_elements(of_orders) AS g
                      WHERE g->>1 IS NOT NULL AND (g->>1)::integer IS DISTINCT FROM
                            (SELECT o.version FROM orders o WHERE o.merchant_uid = g->>0)) THEN
            RAISE serialization_failure USING MESSAGE = 'what was read before the lock has changed';
        END IF;
    END IF;

    IF jsonb_array_length(news) > 0 THEN
        drawn := nextval('look_tickets');
        INSERT INTO payments (imp_uid, merchant_uid, account, tier, status, amount, currency, cancelled_amount,
            cancellations, live, started_at, paid_at, details, written_ticket, lesser, lesser_seen_at, lesser_ticket)
        SELECT g->>0, g->>1, g->>2, g->>3, g->>4, (g->>5)::bigint, g->>6, (g->>7)::bigint,
            (g->>8)::integer, (g->>9)::boolean, to_timestamp((g->>10)::float8), to_timestamp((g->>11)::float8), g->12,
            CASE g->>13 WHEN '0' THEN drawn ELSE (g->>13)::bigint END,
            g->14, (g->>15)::timestamptz, CASE g->>16 WHEN '0' THEN drawn ELSE (g->>16)::bigint END
        FROM jsonb_array_elements(news) AS g
        ON CONFLICT (imp_uid) DO UPDATE SET
            account = excluded.account, tier = excluded.tier, status = excluded.status, amount = excluded.amount,
            currency = excluded.currency, cancelled_amount = excluded.cancelled_amount,
            cancellations = excluded.cancellations, live = excluded.live, started_at = excluded.started_at,
            paid_at = excluded.paid_at, details = excluded.details, written_ticket = excluded.written_ticket,
            lesser = excluded.lesser, lesser_seen_at = excluded.lesser_seen_at,
            lesser_ticket = excluded.lesser_ticket, seen_at = now()
            WHERE locked;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> jsonb_array_length(news) THEN
            RAISE serialization_failure USING MESSAGE = 'a payment was stored meanwhile';
        END IF;
    END IF;

    IF jsonb_array_length(changes) > 0 THEN
        WITH moved AS (
            UPDATE orders o SET state = g->>2, paid_amount = (g->>3)::bigint, cancelled_amount = (g->>4)::bigint,
                   imp_uid = g->>5, problems = g->6, test_channel = (g->>7)::boolean,
                   version = o.version + 1, updated_at = now()
            FROM jsonb_array_elements(changes) AS g
            WHERE o.merchant_uid = ANY(names) AND o.merchant_uid = g->>0 AND o.version = (g->>1)::integer
            RETURNING o.*, g
        )
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount,
                                  imp_uid, problems, closed, test_channel, cause, notice_id, source, looked_at,
                                  ticket, facts)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems,
               closed, test_channel, 'look', (g->>9)::uuid, g->>10, to_timestamp((g->>11)::float8), (g->>12)::bigint,
               g->13
        FROM moved;
        GET DIAGNOSTICS written = ROW_COUNT;
        IF written <> jsonb_array_length(changes) THEN
            RAISE serialization_failure USING MESSAGE = 'an order has moved from the version that was settled';
        END IF;
        -- An order that is asked about has its row. The update waits for whoever would end the row, and keeps its time
        -- unless the order was not asked about before.
        IF jsonb_path_exists(changes, '$[*][8] ? (@ != null)') THEN  -- seldom
            INSERT INTO order_checks AS c (merchant_uid, next_check_at)
            SELECT g->>0, now() FROM jsonb_array_elements(changes) AS g WHERE g->>8 IS NOT NULL
            ON CONFLICT (merchant_uid) DO UPDATE SET next_check_at = c.next_check_at;
            UPDATE order_checks SET next_check_at = least(next_check_at, now()) WHERE merchant_uid = ANY(
                ARRAY(SELECT g->>0 FROM jsonb_array_elements(changes) AS g WHERE g->>8 = 'again'));
        END IF;
    END IF;

    -- Notices that end alike are one statement; nearly always it is the only one. A notice that somebody gave again
    -- while the look was under way (`arrivals` has grown) stays due. `crowded` is named as in claim_notices_v2.
    FOR alike IN SELECT * FROM jsonb_array_elements(ended) LOOP
        UPDATE notices SET crowded = crowded, due_at = NULL, claimed_until = NULL, last_outcome = alike->>0,
               handled_at = CASE WHEN NOT (alike->>2)::boolean THEN now() END,
               parked_at = CASE WHEN (alike->>2)::boolean THEN now() END
        WHERE id = ANY(ARRAY(SELECT i::uuid FROM jsonb_array_elements_text(alike->3) AS i))
          AND arrivals = (alike->>1)::integer AND handled_at IS NULL AND parked_at IS NULL;
    END LOOP;
    FOR alike IN SELECT * FROM jsonb_array_elements(postponed) LOOP
        UPDATE notices n SET due_at = now() + make_interval(secs => (alike->>2)::float8), claimed_until = NULL,
               last_outcome = coalesce(alike->>0, last_outcome),
               -- Whoever knows an order's number can invent payments of it. Eight of them, more than the notices of a
               -- payment that is real, stay in the live lane; the others give way.
               crowded = crowded OR (registered AND source NOT IN ('reconcile', 'refund') AND (
                   SELECT count(*) FROM (
                       SELECT FROM notices o
                       WHERE o.merchant_uid = n.merchant_uid AND o.due_at IS NOT NULL AND o.registered
                         AND NOT o.crowded AND o.last_outcome IS NOT NULL AND o.source NOT IN ('reconcile', 'refund')
                         AND o.id <> n.id
                       LIMIT 8) AS retried) >= 8)
        WHERE id = (alike->>3)::uuid
          AND arrivals = (alike->>1)::integer AND handled_at IS NULL AND parked_at IS NULL;
    END LOOP;
END $$;
