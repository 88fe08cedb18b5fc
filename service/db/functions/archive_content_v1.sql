-- Everything that is stored of an order and goes into an archive. An order is only deleted while this still equals its
-- line in the archive, so the text must be the same in every session, whatever its time zone.
CREATE FUNCTION archive_content_v1(o orders) RETURNS jsonb LANGUAGE sql STABLE SET timezone = 'UTC' AS $$
    WITH paid AS (
        SELECT * FROM payments WHERE merchant_uid = o.merchant_uid AND (status <> 'ready' OR lesser IS NOT NULL)
        UNION ALL SELECT * FROM payments WHERE merchant_uid = o.merchant_uid AND status = 'ready' AND lesser IS NULL
    ), returned AS (
        SELECT * FROM refunds WHERE merchant_uid = o.merchant_uid
    )
    SELECT jsonb_build_object(
        'order', to_jsonb(o),
        'payments', coalesce((SELECT jsonb_agg(to_jsonb(p) ORDER BY p.imp_uid) FROM paid p), '[]'),
        'notices', coalesce((SELECT jsonb_agg(to_jsonb(n) ORDER BY n.id)
                             FROM paid p JOIN notices n USING (imp_uid)), '[]'),
        'events', coalesce((SELECT jsonb_agg(to_jsonb(e) ORDER BY e.version)
                            FROM order_events e WHERE e.merchant_uid = o.merchant_uid), '[]'),
        'refunds', coalesce((SELECT jsonb_agg(to_jsonb(r) ORDER BY r.imp_uid) FROM returned r), '[]'),
        'refund_moves', coalesce((SELECT jsonb_agg(to_jsonb(m) ORDER BY m.id)
                                  FROM returned r JOIN refund_moves m USING (imp_uid)), '[]'),
        'preparations', coalesce((SELECT jsonb_agg(to_jsonb(p)) FROM preparations p
                                  WHERE p.merchant_uid = o.merchant_uid), '[]'),
        'searches', coalesce((SELECT jsonb_agg(to_jsonb(s)) FROM searches s
                              WHERE s.merchant_uid = o.merchant_uid), '[]'))
$$;
