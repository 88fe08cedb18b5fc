-- A ledger that was never walked to its end lags since it was first heard of: a key that is wrong from the start
-- raises the same alarm as one that went wrong.
ALTER TABLE ledger_scans ADD COLUMN since timestamptz NOT NULL DEFAULT now();
