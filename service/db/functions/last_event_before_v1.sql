-- Return an event's id, such that no event up to it is as young as `since`; 0 where there is none.
--
-- order_events has no index on `at`, which would cost every payment a write. Ids and times both ascend, so halving the
-- range finds the place in some 30 probes of the primary key. `at` is when a transaction began and an id is drawn a
-- little later: the caller goes back by more than a transaction may last.
CREATE FUNCTION last_event_before_v1(since timestamptz) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
    low    bigint := 0;
    high   bigint := coalesce((SELECT max(id) FROM order_events), 0);
    middle bigint;
    probed record;
BEGIN
    WHILE low < high LOOP
        middle := low + (high - low) / 2;
        SELECT id, at INTO probed FROM order_events WHERE id > middle ORDER BY id LIMIT 1;
        IF probed.at < since THEN
            low := probed.id;
        ELSE
            high := middle;
        END IF;
    END LOOP;
    RETURN low;
END $$;
