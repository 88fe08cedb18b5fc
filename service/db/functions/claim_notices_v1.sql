-- Claim notices for a look, in one trip to the database (docs/decisions/0015-claim-and-write-in-one-trip-each.md).
--
-- Of the notices named, each that is open and that nobody has claimed gets one of three verdicts:
--   served    what is stored answers it already: it is handled (docs/design.md §2.9);
--   too_soon  its payment was looked at less than `spacing` ago: it is due again `queued` after that time is over;
--   look      it is claimed for `lease`, counted as a try, and its payment's look begins now.
-- Returns a row for each, with the store to ask, its order where one is registered, and the look's ticket. `fresh`:
-- nothing is stored of any payment of the order. A payment that is stored is asked for where it was found; else
-- where the notice says; else where its order is registered. A tier alone means the default account's; an account
-- alone, that account and the tier that its order has there.
CREATE FUNCTION claim_notices_v1(ids uuid[], lease interval, spacing interval, queued interval)
RETURNS TABLE (
    id uuid, source text, imp_uid text, claimed_status text, arrivals integer, tries integer, age interval,
    account text, tier text, merchant_uid text, amount bigint, currency text, order_account text, order_tier text,
    version integer, fresh boolean, verdict text, wait interval, ticket bigint
)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE drawn bigint;
BEGIN
    -- Nothing of a claim needs to outlive a crash (docs/decisions/0013-end-a-look-with-its-connection.md).
    PERFORM set_config('synchronous_commit', 'off', true);
    -- One claim at a time decides about a payment. 1 is the namespace of payments' locks.
    PERFORM pg_advisory_xact_lock(1, k) FROM (
        SELECT DISTINCT hashtext(n.imp_uid) AS k FROM notices n WHERE n.id = ANY(ids) ORDER BY k) AS sorted;
    drawn := nextval('look_tickets');
    RETURN QUERY
    WITH open AS (
        SELECT n.id, n.source, n.imp_uid, n.claimed_status, n.arrivals, n.tries,
               clock_timestamp() - n.received_at AS age,
               coalesce(p.account, n.account, CASE WHEN n.tier IS NULL THEN o.account END, 'default') AS account,
               coalesce(p.tier, n.tier, CASE WHEN n.account IS NULL OR n.account = o.account THEN o.tier END, '')
                 AS tier,
               o.merchant_uid, o.amount, o.currency, o.account AS order_account, o.tier AS order_tier, o.version,
               o.state = 'pending' AND o.imp_uid IS NULL AND p.imp_uid IS NULL
                 AND (SELECT true FROM payments WHERE merchant_uid = o.merchant_uid LIMIT 1) IS NULL AS fresh,
               CASE
                   -- A lesser answer that waits to be confirmed is a question that only a look can close.
                   WHEN o.merchant_uid IS NOT NULL AND p.status = 'paid' AND p.lesser IS NULL
                        AND n.claimed_status = 'paid' AND n.cancellation_id IS NULL THEN 'served'
                   WHEN l.looked_at > clock_timestamp() - spacing THEN 'too_soon'
                   ELSE 'look'
               END AS verdict,
               l.looked_at + spacing - clock_timestamp() AS wait
        FROM notices n
             LEFT JOIN LATERAL (SELECT * FROM payments WHERE imp_uid = n.imp_uid OFFSET 0) p ON true
             LEFT JOIN LATERAL (SELECT * FROM orders WHERE merchant_uid = coalesce(p.merchant_uid, n.merchant_uid)
                                OFFSET 0) o ON true
             LEFT JOIN LATERAL (SELECT looked_at FROM last_looks
                                WHERE slot = hashtext(n.imp_uid) & 65535 AND imp_uid = n.imp_uid OFFSET 0) l ON true
        WHERE n.id = ANY(ids) AND n.handled_at IS NULL AND n.parked_at IS NULL
              AND (n.claimed_until IS NULL OR n.claimed_until <= now())
        ORDER BY n.id FOR UPDATE OF n SKIP LOCKED
    ), moved AS (
        -- A claim leaves `due_at` as it is: it is indexed, and a row whose indexed columns stay is rewritten within its
        -- page (docs/decisions/0011-store-what-a-notice-needs-and-no-more.md).
        UPDATE notices n SET
            tries = n.tries + (open.verdict = 'look')::integer,
            claimed_until = CASE open.verdict WHEN 'look' THEN clock_timestamp() + lease END,
            due_at = CASE open.verdict WHEN 'look' THEN n.due_at WHEN 'too_soon' THEN now() + open.wait + queued END,
            handled_at = CASE open.verdict WHEN 'served' THEN now() END,
            last_outcome = CASE open.verdict WHEN 'served' THEN 'served_by_stored_look' ELSE n.last_outcome END
        FROM open WHERE n.id = open.id
    ), looked AS (
        INSERT INTO last_looks (slot, imp_uid, looked_at)
        SELECT slot, imp_uid, clock_timestamp() FROM (
            SELECT DISTINCT ON (slot) hashtext(open.imp_uid) & 65535 AS slot, open.imp_uid FROM open
            WHERE open.verdict = 'look' ORDER BY slot) AS sorted
        ON CONFLICT (slot) DO UPDATE SET imp_uid = excluded.imp_uid, looked_at = excluded.looked_at
    )
    SELECT open.*, drawn FROM open;
END $$;
