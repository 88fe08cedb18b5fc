ALTER TABLE notices
    DROP CONSTRAINT notices_source_check,
    DROP CONSTRAINT notices_imp_uid_check,
    DROP CONSTRAINT notices_check2;  -- only an open notice is claimed
