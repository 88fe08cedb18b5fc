-- Return whether an order meets a list's filters; NULL: anything. Postgres puts it into the statement, as if written there.
--
-- problems: patterns, such as [{"kind": "wrong_amount"}], of which one must be found. closed: `none` for an open order.
CREATE FUNCTION order_fits_v1(o orders, states text[], problems jsonb[], closed text[], account text, tier text,
                              updated_since timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT (states IS NULL OR o.state = ANY(states))
       AND (problems IS NULL OR o.problems @> ANY(problems))
       AND (closed IS NULL OR coalesce(o.closed, 'none') = ANY(closed))
       AND (account IS NULL OR o.account = account)
       AND (tier IS NULL OR o.tier = tier)
       AND (updated_since IS NULL OR o.updated_at >= updated_since)
$$;
