-- Store new orders, each with its first event, and return those that are new: one trip to the database.
--
-- given: an array of [merchant_uid, amount, currency, account, tier, name, metadata, expires_at,
-- allow_billing_key_issue], each order once.
-- An order of which something is stored already (a payment that counts or cannot be read, a notice that waits for it, an
-- archive that has it) is left out: the caller settles it, or refuses it, under the same locks. So is one that was
-- registered before.
-- `wanted`: its amount is to be registered with PortOne soon after.
CREATE FUNCTION register_orders_v2(given jsonb, first_check interval, wanted boolean)
RETURNS TABLE (merchant_uid text, created_at timestamptz, expires_at timestamptz)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    -- Sorted, as everywhere. 2 is the namespace of orders' locks.
    PERFORM pg_advisory_xact_lock(2, k) FROM (
        SELECT DISTINCT hashtext(g->>0) AS k FROM jsonb_array_elements(given) AS g ORDER BY k) AS sorted;
    -- In a statement of its own, after the locks: it reads what is newest. OFFSET 0 keeps Postgres from joining whole
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
        RETURNING *
    ), checked AS (
        INSERT INTO order_checks (merchant_uid, next_check_at)
        SELECT merchant_uid, least(now() + first_check, expires_at) FROM new
    ), prepared AS (
        INSERT INTO preparations (merchant_uid) SELECT merchant_uid FROM new WHERE wanted
    ), told AS (
        INSERT INTO order_events (merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid,
                                  problems, closed, test_channel, cause)
        SELECT merchant_uid, version, state, amount, currency, paid_amount, cancelled_amount, imp_uid, problems, closed,
               test_channel, 'registration'
        FROM new
    )
    SELECT merchant_uid, created_at, expires_at FROM new;
END $$;
