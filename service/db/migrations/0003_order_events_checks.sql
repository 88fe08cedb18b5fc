ALTER TABLE order_events
    DROP CONSTRAINT order_events_cause_check,
    DROP CONSTRAINT order_events_check,
    DROP CONSTRAINT order_events_check1;
