-- Whether a payment of this order number, begun at this time, can be this shop's (service/domain/ownership.py). A number
-- or a time that is not known can be. It is one expression, so that Postgres puts it into the query that calls it.
CREATE FUNCTION can_be_ours_v1(merchant_uid text, started_at timestamptz, prefixes text[], since timestamptz)
RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT (merchant_uid IS NULL OR cardinality(prefixes) = 0 OR merchant_uid ^@ ANY (prefixes))
       AND (since IS NULL OR started_at IS NULL OR started_at >= since)
$$;
