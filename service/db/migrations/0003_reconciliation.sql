-- Reconciliation's timetable and watermarks (DESIGN.md §3), and what operators did.

-- A silent order is asked about on a widening schedule; NULL: never again.
ALTER TABLE orders
    ADD COLUMN next_check_at timestamptz DEFAULT now() + interval '1 minute',
    ADD COLUMN checks integer NOT NULL DEFAULT 0;
CREATE INDEX orders_next_check_at ON orders (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX orders_with_problems ON orders (merchant_uid) WHERE problems <> '[]'::jsonb;

CREATE INDEX notices_parked ON notices (parked_at) WHERE parked_at IS NOT NULL;

-- One row an account and tier. `next_page` is where a scan goes on that was too long for one turn.
CREATE TABLE ledger_scans (
    account           text NOT NULL,
    tier              text NOT NULL,
    next_at           timestamptz NOT NULL DEFAULT now(),
    next_page         integer NOT NULL DEFAULT 1 CHECK (next_page > 0),
    whole             boolean NOT NULL DEFAULT false,
    last_completed_at timestamptz,
    last_whole_at     timestamptz,
    PRIMARY KEY (account, tier)
);

CREATE TABLE operator_actions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    who     text NOT NULL CHECK (who <> ''),
    why     text NOT NULL CHECK (why <> ''),
    action  text NOT NULL,
    subject text NOT NULL
);
