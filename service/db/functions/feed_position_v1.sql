-- Sample the feed: the last event's id that was drawn, then the transactions that write events, in this order
-- (docs/decisions/0022-read-the-feed-up-to-a-horizon.md; service/domain/feed_horizon.py has the rule).
--
-- Whoever inserts into order_events holds a RowExclusiveLock on it from before its first id is drawn until its commit
-- can be seen. So a transaction that has drawn an id up to `last_id` is among `writers`, or has ended.
-- `session` names this session of Postgres, and no other: a crash, which may give ids out a second time, ends it.
CREATE FUNCTION feed_position_v1(OUT session text, OUT last_id bigint, OUT writers text[], OUT prepared boolean)
LANGUAGE plpgsql AS $$
BEGIN
    session := current_setting('portone_orders.session', true);
    IF coalesce(session, '') = '' THEN
        session := set_config('portone_orders.session', gen_random_uuid()::text, false);
    END IF;
    -- NULL until the first id is drawn.
    last_id := coalesce(pg_sequence_last_value('order_events_id_seq'::regclass), 0);
    -- In a statement of its own, after the ids. A prepared transaction belongs to no process.
    SELECT coalesce(array_agg(l.virtualtransaction), '{}'), coalesce(bool_or(l.pid IS NULL), false)
    INTO writers, prepared
    FROM pg_locks l
    WHERE l.locktype = 'relation' AND l.relation = 'order_events'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
END $$;
