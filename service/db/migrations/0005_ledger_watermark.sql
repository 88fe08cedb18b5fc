-- How far back a walk of the ledger must go: to where the last one that came to its end had begun.
ALTER TABLE ledger_scans
    ADD COLUMN began_at    timestamptz,
    ADD COLUMN known_until timestamptz;
