ALTER TABLE last_looks DROP CONSTRAINT last_looks_slot_check;
