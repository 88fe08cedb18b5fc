-- Sample the feed: the last event's id that was drawn, then the transactions that write events, in this order
-- (docs/decisions/0022-read-the-feed-up-to-a-horizon.md; service/domain/feed_horizon.py has the rule).
--
-- Whoever inserts into order_events holds a RowExclusiveLock on it from before its first id is drawn until its commit
-- can be seen. So a transaction that has drawn an id up to `last_id` is among `writers`, or has ended.
-- `life` names the time since Postgres last recovered from a crash, after which it may give ids out a second time.
CREATE FUNCTION feed_position_v1(OUT life text, OUT last_id bigint, OUT writers text[], OUT prepared boolean)
LANGUAGE plpgsql AS $$
BEGIN
    life := (SELECT name FROM lives);
    IF life IS NULL THEN
        INSERT INTO lives DEFAULT VALUES ON CONFLICT DO NOTHING;
        life := (SELECT name FROM lives);
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
