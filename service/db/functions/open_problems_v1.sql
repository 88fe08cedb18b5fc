-- The open problems of the shop's own orders: what `promise`, `/metrics`, `doctor` and `problems list` count.
--
-- A problem is open while the order shows it, unless a person has resolved it since it was found. An unreadable payment
-- that names no order is one too, because it may be anybody's. Problems that are found again later are open again.
-- `resolved`: not open any more, but still shown by its order. OFFSET 0 keeps Postgres from joining whole tables where
-- it planned the query while they were empty.
CREATE FUNCTION open_problems_v1() RETURNS TABLE (kind text, merchant_uid text, imp_uid text, resolved boolean)
LANGUAGE sql STABLE AS $$
    SELECT p.kind, o.merchant_uid, p.imp_uid,
           -- Nearly never is there a resolution. Only then are the order's events read: they date the problem.
           EXISTS (SELECT FROM resolutions r WHERE r.imp_uid = p.imp_uid AND r.kind = p.kind AND r.at >= (
               SELECT min(e.at) FROM order_events e
               WHERE e.merchant_uid = o.merchant_uid AND e.version > coalesce((
                     SELECT max(b.version) FROM order_events b
                     WHERE b.merchant_uid = o.merchant_uid
                       AND NOT b.problems @> jsonb_build_array(jsonb_build_object('kind', p.kind, 'imp_uid', p.imp_uid))
                     ), 0)) OFFSET 0)
    FROM orders o CROSS JOIN LATERAL jsonb_to_recordset(o.problems) AS p (kind text, imp_uid text)
    WHERE o.problems <> '[]'::jsonb
    UNION ALL
    SELECT 'unreadable_payment', NULL, u.imp_uid,
           EXISTS (SELECT FROM resolutions r
                   WHERE r.imp_uid = u.imp_uid AND r.kind = 'unreadable_payment' AND r.at >= u.found_at OFFSET 0)
    FROM unreadable_payments u
    WHERE u.merchant_uid IS NULL
      AND NOT EXISTS (SELECT FROM payments p WHERE p.imp_uid = u.imp_uid AND p.written_ticket > u.written_ticket
                      OFFSET 0)
$$;
