-- Claim notices for a look, in one trip to the database (docs/decisions/0015-claim-and-write-in-one-trip-each.md).
--
-- Of the notices named, each that is open and that nobody has claimed gets one of three verdicts:
--   served    what is stored answers it already: it is handled (docs/design.md §2.9);
--   too_soon  its payment was looked at less than `spacing` ago: it is due again `queued` after that time is over;
--   look      it is claimed for `lease`, counted as a try, and its payment's look begins now.
-- A payment whose looks bring nothing new five times is looked at less and less often, down to once in 16 s: nobody can
-- buy calls to PortOne by speaking of one payment again and again.
--
-- Returns a row for each, with its order where one is registered, the look's ticket, and when the look begins. `fresh`:
-- the order is open, nothing is stored of any payment of it, nor is it known to have an unreadable one. The store to ask
-- is the order's; else where the payment was found; else the one that the notice names. An address is only a hint:
-- `hint_account` and `hint_tier` name another store, to be asked if the first knows no such payment. A tier alone means
-- the default account's; an account alone, that account and the tier that its order has there.
CREATE FUNCTION claim_notices_v3(ids uuid[], lease interval, spacing interval, queued interval)
RETURNS TABLE (
    id uuid, source text, imp_uid text, claimed_status text, arrivals integer, tries integer, age interval,
    account text, tier text, hint_account text, hint_tier text, merchant_uid text, amount bigint, currency text,
    version integer, allow_billing_key_issue boolean, fresh boolean, in_vain integer, verdict text, wait interval,
    crowded boolean, ticket bigint, looked_at timestamptz
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
        SELECT n.id, n.source, n.imp_uid,
               -- One that a person replays is a question that no stored look answers.
               CASE WHEN n.replayed_at IS NULL THEN n.claimed_status END AS claimed_status, n.arrivals, n.tries,
               clock_timestamp() - coalesce(n.replayed_at, n.received_at) AS age,
               coalesce(o.account, p.account, said.account, 'default') AS account,
               coalesce(o.tier, p.tier, said.tier, '') AS tier,
               coalesce(p.account, said.account) AS hint_account, coalesce(p.tier, said.tier) AS hint_tier,
               o.merchant_uid, o.amount, o.currency, o.version,
               o.allow_billing_key_issue,
               o.state = 'pending' AND o.closed IS NULL AND o.imp_uid IS NULL AND o.problems = '[]'::jsonb
                 AND p.imp_uid IS NULL
                 AND (SELECT true FROM payments WHERE merchant_uid = o.merchant_uid
                      AND (status <> 'ready' OR lesser IS NOT NULL) LIMIT 1) IS NULL AS fresh,
               -- A payment whose last look was stored, or is long ago, begins again.
               CASE WHEN p.seen_at >= l.looked_at OR l.looked_at < clock_timestamp() - interval '1 minute' THEN 0
                    ELSE coalesce(l.in_vain + 1, 0) END AS in_vain,
               CASE
                   -- A lesser answer that waits to be confirmed is a question that only a look can close.
                   WHEN o.merchant_uid IS NOT NULL AND p.status = 'paid' AND p.lesser IS NULL
                        AND n.claimed_status = 'paid' AND n.cancellation_id IS NULL AND n.replayed_at IS NULL THEN 'served'
                   WHEN l.looked_at + l.spaced > clock_timestamp() THEN 'too_soon'
                   ELSE 'look'
               END AS verdict,
               l.looked_at + l.spaced - clock_timestamp() AS wait, n.crowded
        FROM notices n
             LEFT JOIN LATERAL (SELECT * FROM payments WHERE imp_uid = n.imp_uid OFFSET 0) p ON true
             LEFT JOIN LATERAL (SELECT * FROM orders WHERE merchant_uid = coalesce(p.merchant_uid, n.merchant_uid)
                                OFFSET 0) o ON true
             LEFT JOIN LATERAL (SELECT looked_at, in_vain, spacing * 2 ^ greatest(least(in_vain, 9) - 4, 0) AS spaced
                                FROM last_looks
                                WHERE slot = hashtext(n.imp_uid) & 65535 AND imp_uid = n.imp_uid OFFSET 0) l ON true
             CROSS JOIN LATERAL (
                 SELECT CASE WHEN n.tier IS NULL THEN n.account ELSE coalesce(n.account, 'default') END AS account,
                        coalesce(n.tier, CASE WHEN n.account = o.account THEN o.tier
                                              WHEN n.account IS NOT NULL THEN '' END) AS tier) said
        WHERE n.id = ANY(ids) AND n.handled_at IS NULL AND n.parked_at IS NULL
              AND (n.claimed_until IS NULL OR n.claimed_until <= now())
        ORDER BY n.id FOR UPDATE OF n SKIP LOCKED
    ), moved AS (
        -- A claim leaves `due_at` as it is: it is indexed, and a row whose indexed columns stay is rewritten within its
        -- page (docs/decisions/0011-store-what-a-notice-needs-and-no-more.md).
        -- `crowded` is named so that Postgres does not parse what `lane` is made from again for each row
        -- (docs/decisions/0036-keep-the-constraints-that-pay.md).
        -- An array of one is not sorted, as `ids` would be again for each row; nor can Postgres join by order, for which
        -- it would read a table that it believes to be empty from end to end.
        UPDATE notices n SET crowded = n.crowded,
            tries = n.tries + (open.verdict = 'look')::integer,
            claimed_until = CASE open.verdict WHEN 'look' THEN clock_timestamp() + lease END,
            due_at = CASE open.verdict WHEN 'look' THEN n.due_at WHEN 'too_soon' THEN now() + open.wait + queued END,
            handled_at = CASE open.verdict WHEN 'served' THEN now() END,
            last_outcome = CASE open.verdict WHEN 'served' THEN 'served_by_stored_look' ELSE n.last_outcome END
        FROM open WHERE n.id = ANY(ARRAY[open.id])
    ), looked AS (
        INSERT INTO last_looks (slot, imp_uid, looked_at, in_vain)
        SELECT slot, imp_uid, clock_timestamp(), in_vain FROM (
            SELECT DISTINCT ON (slot) hashtext(open.imp_uid) & 65535 AS slot, open.imp_uid, open.in_vain FROM open
            WHERE open.verdict = 'look' ORDER BY slot) AS sorted
        ON CONFLICT (slot) DO UPDATE
            SET imp_uid = excluded.imp_uid, looked_at = excluded.looked_at, in_vain = excluded.in_vain
    )
    SELECT open.*, drawn, clock_timestamp() FROM open;
END $$;
