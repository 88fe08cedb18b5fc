-- Money of orders that nobody registered, as far as it can be this shop's (can_be_ours_v1). It is counted apart from the
-- problems of the shop's own orders, because another system under the same account may have made it by the thousand.
CREATE FUNCTION unregistered_money_v1(prefixes text[], since timestamptz)
RETURNS TABLE (kind text, merchant_uid text, imp_uid text, started_at timestamptz, resolved boolean)
LANGUAGE sql STABLE AS $$
    SELECT 'unknown_order', p.merchant_uid, p.imp_uid, p.started_at,
           EXISTS (SELECT FROM resolutions r WHERE r.imp_uid = p.imp_uid AND r.kind = 'unknown_order' OFFSET 0)
    FROM payments p
    WHERE p.came_unregistered AND p.status IN ('paid', 'cancelled')
      AND p.live AND (p.status = 'paid' OR p.cancelled_amount > 0) AND p.amount > p.cancelled_amount
      AND NOT EXISTS (SELECT FROM orders o WHERE o.merchant_uid = p.merchant_uid OFFSET 0)
      AND NOT EXISTS (SELECT FROM unreadable_payments u WHERE u.imp_uid = p.imp_uid OFFSET 0)
      AND can_be_ours_v1(p.merchant_uid, p.started_at, prefixes, since)
    UNION ALL
    SELECT 'unreadable_payment', u.merchant_uid, u.imp_uid, p.started_at,
           EXISTS (SELECT FROM resolutions r
                   WHERE r.imp_uid = u.imp_uid AND r.kind = 'unreadable_payment' AND r.at >= u.found_at OFFSET 0)
    FROM unreadable_payments u
         LEFT JOIN LATERAL (SELECT started_at FROM payments WHERE imp_uid = u.imp_uid OFFSET 0) p ON true
    WHERE u.merchant_uid IS NOT NULL
      AND NOT EXISTS (SELECT FROM orders o WHERE o.merchant_uid = u.merchant_uid OFFSET 0)
      AND can_be_ours_v1(u.merchant_uid, p.started_at, prefixes, since)
$$;
