-- A notice may say under which account to look, beside its tier. NULL: it does not, and all that was written before.
-- Without a default the table is not rewritten, and versions that know nothing of the column go on inserting; the
-- lock that it takes all the same is waited for no longer than a notice may wait for its row.
SET LOCAL lock_timeout = '2s';
ALTER TABLE notices ADD COLUMN account text;
