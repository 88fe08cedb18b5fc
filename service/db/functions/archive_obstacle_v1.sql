-- Why an order cannot be archived; null: nothing is to come of it any more. Each part is read by an index.
--   recent   it has changed since that time
--   open     it may still be paid
--   problem  a person must see it, or has resolved it
--   refund   money is being given back, or may have been
--   waiting  something is due for it or parked: a notice, a search, a check, an amount to prepare, an outgoing webhook
CREATE FUNCTION archive_obstacle_v1(o orders, before timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN o.updated_at >= before THEN 'recent'
        WHEN o.closed IS NULL AND o.state NOT IN ('paid', 'partially_cancelled', 'cancelled') THEN 'open'
        WHEN o.problems <> '[]'::jsonb
             OR EXISTS (SELECT FROM unreadable_payments WHERE merchant_uid = o.merchant_uid) THEN 'problem'
        WHEN EXISTS (SELECT FROM refunds WHERE merchant_uid = o.merchant_uid
                       AND state IN ('intended', 'asked', 'refund_unknown')) THEN 'refund'
        WHEN EXISTS (SELECT FROM order_checks WHERE merchant_uid = o.merchant_uid)
             OR EXISTS (SELECT FROM searches WHERE merchant_uid = o.merchant_uid AND due_at IS NOT NULL)
             OR EXISTS (SELECT FROM preparations WHERE merchant_uid = o.merchant_uid AND due_at IS NOT NULL)
             OR EXISTS (SELECT FROM notices WHERE merchant_uid = o.merchant_uid AND parked_at IS NOT NULL)
             OR EXISTS (SELECT FROM payments p JOIN notices n USING (imp_uid)
                        WHERE p.merchant_uid = o.merchant_uid AND (p.status <> 'ready' OR p.lesser IS NOT NULL)
                          AND n.handled_at IS NULL)
             OR EXISTS (SELECT FROM endpoints e JOIN late_orders l ON l.endpoint = e.name
                        WHERE l.merchant_uid = o.merchant_uid) THEN 'waiting'
    END
$$;
