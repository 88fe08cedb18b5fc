-- The words are those of docs/glossary.md; the rules that would cost money stand here a second time.

-- Tickets tell which look began before which write (DESIGN.md §2.4).
CREATE SEQUENCE look_tickets;

CREATE TABLE orders (
    merchant_uid     text PRIMARY KEY CHECK (char_length(merchant_uid) BETWEEN 1 AND 40),
    amount           bigint NOT NULL CHECK (amount > 0),
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    account          text NOT NULL DEFAULT 'default',
    tier             text NOT NULL DEFAULT '',
    name             text,
    metadata         jsonb,
    expires_at       timestamptz NOT NULL,
    state            text NOT NULL CHECK (state IN ('pending', 'awaiting_deposit', 'paid',
                         'partially_cancelled', 'cancelled', 'failed', 'mismatched')),
    paid_amount      bigint NOT NULL DEFAULT 0,
    cancelled_amount bigint NOT NULL DEFAULT 0,
    imp_uid          text,
    problems         jsonb NOT NULL DEFAULT '[]',
    version          integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (cancelled_amount BETWEEN 0 AND paid_amount),
    -- The one lie that would cost goods: `paid` without the whole amount.
    CHECK (state <> 'paid' OR (paid_amount = amount AND cancelled_amount = 0 AND imp_uid IS NOT NULL)),
    CHECK (state <> 'mismatched' OR paid_amount = 0)
);

CREATE TABLE payments (
    imp_uid          text PRIMARY KEY,
    merchant_uid     text NOT NULL,
    account          text NOT NULL,
    tier             text NOT NULL,
    status           text NOT NULL CHECK (status IN ('ready', 'issued', 'failed', 'paid', 'cancelled')),
    amount           bigint NOT NULL CHECK (amount >= 0),
    currency         text NOT NULL,
    cancelled_amount bigint NOT NULL CHECK (cancelled_amount >= 0),
    cancellations    integer NOT NULL CHECK (cancellations >= 0),
    live             boolean NOT NULL,
    started_at       timestamptz,
    paid_at          timestamptz,
    details          jsonb NOT NULL,
    written_ticket   bigint NOT NULL,
    lesser           jsonb,
    lesser_seen_at   timestamptz,
    lesser_ticket    bigint,
    seen_at          timestamptz NOT NULL DEFAULT now(),
    CHECK ((lesser IS NULL) = (lesser_seen_at IS NULL) AND (lesser IS NULL) = (lesser_ticket IS NULL))
);
CREATE INDEX payments_merchant_uid ON payments (merchant_uid);

CREATE TABLE notices (
    id              uuid PRIMARY KEY,
    source          text NOT NULL CHECK (source IN ('webhook', 'completion', 'redirect', 'reconcile', 'operator')),
    imp_uid         text NOT NULL CHECK (char_length(imp_uid) BETWEEN 1 AND 32),
    merchant_uid    text,
    tier            text,
    claimed_status  text,
    cancellation_id text,
    registered      boolean NOT NULL,
    received_at     timestamptz NOT NULL DEFAULT now(),
    arrivals        integer NOT NULL DEFAULT 1,
    tries           integer NOT NULL DEFAULT 0,
    due_at          timestamptz,
    claimed_until      timestamptz,
    looked_at       timestamptz,
    last_outcome    text,
    handled_at      timestamptz,
    parked_at       timestamptz,
    -- Every notice is open, handled or parked: exactly one.
    CHECK (num_nonnulls(due_at, handled_at, parked_at) = 1),
    CHECK (parked_at IS NULL OR last_outcome IS NOT NULL),
    CHECK (claimed_until IS NULL OR due_at IS NOT NULL)
);
CREATE INDEX notices_due ON notices (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_imp_uid ON notices (imp_uid);
-- Notices that name no registered order share one row a payment, so that nobody fills the table.
CREATE UNIQUE INDEX notices_unregistered ON notices (imp_uid) WHERE NOT registered;

CREATE TABLE order_events (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    xid              xid8 NOT NULL DEFAULT pg_current_xact_id(),
    -- No foreign key: its check locks the order's row a second time. Both are written in one statement.
    merchant_uid     text NOT NULL,
    version          integer NOT NULL,
    state            text NOT NULL,
    amount           bigint NOT NULL,
    currency         text NOT NULL,
    paid_amount      bigint NOT NULL,
    cancelled_amount bigint NOT NULL,
    imp_uid          text,
    problems         jsonb NOT NULL,
    at               timestamptz NOT NULL DEFAULT now(),
    UNIQUE (merchant_uid, version)
);
