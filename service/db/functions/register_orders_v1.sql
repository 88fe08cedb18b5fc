-- Store new orders, each with its first event, and return how all of these orders stand: one trip to the database.
--
-- given: an array of [merchant_uid, amount, currency, account, tier, name, metadata, expires_at,
-- allow_billing_key_issue], each order once.
-- An order of which something is stored already (a payment that counts or cannot be read, a notice that waits for it, an
-- archive that has it) is left out, and comes back only if it was registered before: the caller settles it, or refuses
-- it, under the same locks.
-- `wanted`: its amount is to be registered with PortOne soon after.
CREATE FUNCTION register_orders_v1(given jsonb, first_check interval, wanted boolean)
RETURNS TABLE (stored orders, is_new boolean, preparation text, reason text)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    names text[] := ARRAY(SELECT g->>0 FROM jsonb_array_elements(given) AS g);
    stored_now integer;
BEGIN
    -- Sorted, as everywhere. 2 is the namespace of orders' locks.
    PERFORM pg_advisory_xact_lock(2, k) FROM (
        SELECT DISTINCT hashtext(m) AS k FROM unnest(names) AS m ORDER BY k) AS sorted;
    -- In statements of their own, after the locks: they read what is newest. OFFSET 0 keeps Postgres from joining whole
    -- tables where it planned a statement while they were empty.
    RETURN QUERY
    WITH new AS (
        INSERT INTO orders (merchant_uid, amount, currency, account, tier, name, metadata, expires_at, state,
                            allow_billing_key_issue)
        SELECT g->>0, (g->>1)::bigint, g->>2, g->>3, g->>4, g->>5, nullif(g->6, 'null'),
               coalesce((g->>7)::timestamptz, now() + interval '30 days'), 'pending', (g->>8)::boolean
        FROM jsonb_array_elements(given) AS g
        WHERE NOT EXISTS (SELECT FROM payments WHERE merchant_uid = g->>0 AND (status <> 'ready' OR lesser IS NOT NULL)
                          OFFSET 0)
          AND NOT EXISTS (SELECT FROM unreadable_payments WHERE merchant_uid = g->>0 OFFSET 0)
          AND NOT EXISTS (SELECT FROM archived_orders WHERE merchant_uid = g->>0 OFFSET 0)
          AND NOT EXISTS (SELECT FROM notices WHERE merchant_uid = g->>0 AND parked_at IS NOT NULL OFFSET 0)
        ON CONFLICT (merchant_uid) DO NOTHING
        RETURNING orders AS o
    ), checked AS (
        INSERT INTO order_checks (merchant_uid, next_check_at)
        SELECT (o).merchant_uid, least(now() + first_check, (o).expires_at) FROM new
    ), prepared AS (
        INSERT INTO preparations (merchant_uid) SELECT (o).merchant_uid FROM new WHERE wanted
    ), told AS (
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid,
                                  problems, closed, test_channel, cause)
        SELECT (o).merchant_uid, (o).version, (o).state, (o).amount, (o).currency, (o).paid_amount,
               (o).cancelled_amount, (o).imp_uid, (o).problems, (o).closed, (o).test_channel, 'registration'
        FROM new
    )
    SELECT o, true, CASE WHEN wanted THEN 'pending' END, NULL::text FROM new;

    GET DIAGNOSTICS stored_now = ROW_COUNT;
    IF stored_now < cardinality(names) THEN
        RETURN QUERY
        SELECT o, false, p.outcome, p.reason
        FROM orders o LEFT JOIN LATERAL (
                 SELECT outcome, reason FROM preparations WHERE merchant_uid = o.merchant_uid OFFSET 0) p ON true
        WHERE o.merchant_uid = ANY(names) AND o.xmin IS DISTINCT FROM pg_current_xact_id_if_assigned()::xid;
    END IF;
END $$;
