-- A notice's row is written three times: recorded, claimed, ended. A page that is left half empty takes the claim's
-- version beside the first, without a word to any index (docs/decisions/0014-room-for-updates.md). Pages written
-- before keep what they have.
ALTER TABLE notices SET (
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0.05
);
-- A fifth of a million orders is too much to leave lying; payments are rewritten as rarely as they are refunded.
ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE payments SET (autovacuum_vacuum_scale_factor = 0.05);
