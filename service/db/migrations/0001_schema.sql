-- The words are those of docs/glossary.md. The rules that would cost money if they were broken stand here a second
-- time, as constraints. Database functions are files of their own, in service/db/functions.

-- Tickets tell which look began before which write (docs/design.md §2.4).
CREATE SEQUENCE look_tickets;

-- The name of Postgres' life: unlogged, so that recovery from a crash, a promotion and a restored base backup empty it,
-- and the next to ask makes another. So a name that is the same says that no crash came between.
CREATE UNLOGGED TABLE lives (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    name text NOT NULL DEFAULT gen_random_uuid()
);

CREATE TABLE orders (
    merchant_uid     text PRIMARY KEY CHECK (char_length(merchant_uid) BETWEEN 1 AND 255),
    amount           bigint NOT NULL CHECK (amount > 0),
    currency         text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    account          text NOT NULL DEFAULT 'default',
    tier             text NOT NULL DEFAULT '',
    -- The amount that the shop gave, where a person has accepted a payment of another, which is the amount since.
    registered_amount bigint CHECK (registered_amount > 0),
    name             text,
    metadata         jsonb,
    expires_at       timestamptz NOT NULL,
    state            text NOT NULL CHECK (state IN ('pending', 'awaiting_deposit', 'paid',
                         'partially_cancelled', 'cancelled', 'failed', 'mismatched')),
    -- Why the order takes no payment any more. Money may come all the same, so it stands beside the state.
    closed           text CHECK (closed IN ('expired', 'withdrawn')),
    paid_amount      bigint NOT NULL DEFAULT 0,
    cancelled_amount bigint NOT NULL DEFAULT 0,
    imp_uid          text,
    problems         jsonb NOT NULL DEFAULT '[]',
    -- The payment that decides the state was made on a test channel, which ALLOW_TEST_CHANNEL let in.
    test_channel     boolean NOT NULL DEFAULT false,
    -- A term: a payment whose window issued a billing key pays the order like any other (docs/portone.md §4.18).
    allow_billing_key_issue boolean NOT NULL DEFAULT false,
    version          integer NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CHECK (cancelled_amount BETWEEN 0 AND paid_amount),
    -- The one lie that would cost goods: `paid` without the whole amount.
    CHECK (state <> 'paid' OR (paid_amount = amount AND cancelled_amount = 0 AND imp_uid IS NOT NULL)),
    CHECK (state <> 'mismatched' OR paid_amount = 0)
) WITH (
    -- An order's next version finds room in its page. No index has a column that settling changes, so it touches none
    -- (docs/decisions/0019-give-the-orders-timetable-a-table-of-its-own.md).
    fillfactor = 75,
    autovacuum_vacuum_scale_factor = 0.05
);
CREATE INDEX orders_with_problems ON orders (merchant_uid) WHERE problems <> '[]'::jsonb;

-- When reconciliation asks about an order, on a widening schedule, and when the order expires. A settled order's row goes
-- when it is next due, so that settling need not touch it.
CREATE TABLE order_checks (
    merchant_uid  text PRIMARY KEY,
    next_check_at timestamptz NOT NULL,
    checks        integer NOT NULL DEFAULT 0,
    -- When PortOne last answered about it, for people.
    asked_at      timestamptz
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX order_checks_due ON order_checks (next_check_at);

-- One row for each version of each order. Never pruned: other services follow it, in the order of ids, which is right
-- because the sequence hands each id out by itself (its cache stays 1) and nobody sets it back
-- (docs/decisions/0022-read-the-feed-up-to-a-horizon.md).
CREATE TABLE order_events (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- No foreign key: its check locks the order's row a second time. Both are written in one statement.
    merchant_uid     text NOT NULL,
    version          integer NOT NULL,
    state            text NOT NULL,
    closed           text,
    amount           bigint NOT NULL,
    currency         text NOT NULL,
    paid_amount      bigint NOT NULL,
    cancelled_amount bigint NOT NULL,
    imp_uid          text,
    problems         jsonb NOT NULL,
    test_channel     boolean NOT NULL DEFAULT false,
    at               timestamptz NOT NULL DEFAULT now(),
    -- What led to this version (service/domain/evidence.py). A look has the notice that wanted it, the notice's source,
    -- and when it began. The notice may be pruned by now, and the payment may say something else.
    cause            text NOT NULL CHECK (cause IN
                         ('registration', 'amendment', 'look', 'withdrawal', 'expiry', 'acceptance')),
    notice_id        uuid,
    source           text,
    looked_at        timestamptz,
    ticket           bigint,
    -- What PortOne said of each payment in that look or, with another cause, what was stored of them.
    facts            jsonb NOT NULL DEFAULT '[]',
    who              text,
    why              text,
    CHECK (cause = 'look' OR num_nonnulls(notice_id, source, looked_at, ticket) = 0),
    CHECK (cause <> 'acceptance' OR num_nulls(who, why) = 0),
    UNIQUE (merchant_uid, version)
) WITH (
    -- Rows are only added. Each vacuum freezes a part of them for good; by its own measure, a fifth of the table, Postgres
    -- would write 14 GB at once where there are 10⁸ orders (docs/growing.md).
    autovacuum_vacuum_insert_scale_factor = 0.02
);

-- Each payment as PortOne was last seen to tell it.
CREATE TABLE payments (
    imp_uid          text PRIMARY KEY CHECK (char_length(imp_uid) BETWEEN 1 AND 64),
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
    -- A lesser answer that was kept out and waits to be confirmed.
    lesser           jsonb,
    lesser_seen_at   timestamptz,
    lesser_ticket    bigint,
    seen_at          timestamptz NOT NULL DEFAULT now(),
    -- Its order was not registered when it was stored. The order may be by now.
    came_unregistered boolean NOT NULL DEFAULT false,
    CHECK ((lesser IS NULL) = (lesser_seen_at IS NULL) AND (lesser IS NULL) = (lesser_ticket IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.02);
-- Windows that were only opened decide nothing, and a buyer may open thousands: they are in no order's way.
CREATE INDEX payments_that_count ON payments (merchant_uid) WHERE status <> 'ready' OR lesser IS NOT NULL;

-- They are archived with their order.
CREATE INDEX payments_opened ON payments (merchant_uid) WHERE status = 'ready' AND lesser IS NULL;

CREATE INDEX payments_unregistered ON payments (imp_uid)
    WHERE came_unregistered AND status IN ('paid', 'cancelled');

-- What PortOne said of a payment that may hold money, where no rule can use it. What `payments` has of it still counts.
CREATE TABLE unreadable_payments (
    imp_uid        text PRIMARY KEY CHECK (char_length(imp_uid) BETWEEN 1 AND 64),
    -- NULL: the payment names no order that can be read.
    merchant_uid   text,
    account        text NOT NULL,
    tier           text NOT NULL,
    -- Each field that could not be read, with PortOne's value of it: bounded, and never a buyer's data.
    odd            jsonb NOT NULL,
    amount         bigint CHECK (amount >= 0),
    currency       text,
    live           boolean,
    written_ticket bigint NOT NULL,
    found_at       timestamptz NOT NULL DEFAULT now(),
    seen_at        timestamptz NOT NULL DEFAULT now(),
    CHECK (amount IS NULL OR currency IS NOT NULL)
);
CREATE INDEX unreadable_payments_order ON unreadable_payments (merchant_uid);

CREATE TABLE notices (
    id              uuid PRIMARY KEY,
    source          text NOT NULL CHECK (source IN
                        ('webhook', 'completion', 'redirect', 'reconcile', 'search', 'refund', 'operator')),
    imp_uid         text NOT NULL CHECK (char_length(imp_uid) BETWEEN 1 AND 64),
    merchant_uid    text,
    -- Under which account and tier to look, where the notice says so.
    account         text,
    tier            text,
    claimed_status  text,
    cancellation_id text,
    registered      boolean NOT NULL,
    -- Eight others of its order wait for another look already, so this one gives way: their payments may be invented.
    crowded         boolean NOT NULL DEFAULT false,
    -- Whose turn it is when not all can be swept or asked about: 0 live, 1 background, 2 unregistered.
    lane            smallint NOT NULL GENERATED ALWAYS AS (
                        CASE WHEN NOT registered OR crowded THEN 2 WHEN source IN ('reconcile', 'refund') THEN 1
                             ELSE 0 END) STORED,
    received_at     timestamptz NOT NULL DEFAULT now(),
    -- When a person last made it due again. Since then it counts as if it had just come, and claimed nothing.
    replayed_at     timestamptz,
    arrivals        integer NOT NULL DEFAULT 1,
    tries           integer NOT NULL DEFAULT 0,
    due_at          timestamptz,
    claimed_until   timestamptz,
    last_outcome    text,
    handled_at      timestamptz,
    parked_at       timestamptz,
    -- Every notice is open, handled or parked: exactly one.
    CHECK (num_nonnulls(due_at, handled_at, parked_at) = 1),
    CHECK (parked_at IS NULL OR last_outcome IS NOT NULL),
    CHECK (claimed_until IS NULL OR due_at IS NOT NULL)
) WITH (
    -- A row is written three times: recorded, claimed, ended. A page that is left half empty takes the claim's version
    -- beside the first, without touching any index (docs/decisions/0014-leave-room-in-pages-for-updates.md).
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
    autovacuum_analyze_scale_factor = 0.05
);
CREATE INDEX notices_due ON notices (lane, due_at) WHERE due_at IS NOT NULL;
CREATE INDEX notices_imp_uid ON notices (imp_uid);
-- An open notice stands for all that claim the same of the same payment and order, so that nobody fills the table.
CREATE UNIQUE INDEX notices_open ON notices
    (imp_uid, merchant_uid, source, claimed_status, (cancellation_id IS NOT NULL), account, tier) NULLS NOT DISTINCT
    WHERE due_at IS NOT NULL AND registered AND replayed_at IS NULL;
-- Those of an order that wait for another look, and do not give way: write_looks_v1 lets no order have more than a few.
CREATE INDEX notices_retried ON notices (merchant_uid)
    WHERE due_at IS NOT NULL AND registered AND NOT crowded AND last_outcome IS NOT NULL
          AND source NOT IN ('reconcile', 'refund');
-- Notices that name no registered order share one row for each payment, whatever they claim.
CREATE UNIQUE INDEX notices_unregistered ON notices (imp_uid) WHERE NOT registered;
CREATE INDEX notices_unregistered_ended ON notices ((coalesce(handled_at, parked_at)))
    WHERE NOT registered AND due_at IS NULL;
CREATE INDEX notices_parked ON notices (parked_at) WHERE parked_at IS NOT NULL;
-- What waits only for an order that nobody registered raises no alarm, and must not be in the way of counting the rest.
CREATE INDEX notices_parked_own ON notices (parked_at)
    WHERE parked_at IS NOT NULL AND last_outcome <> 'order_not_registered';
CREATE INDEX notices_parked_payment ON notices (imp_uid) WHERE parked_at IS NOT NULL;
CREATE INDEX notices_parked_order ON notices (merchant_uid) WHERE parked_at IS NOT NULL;

-- When payments were last looked at, so that nobody looks at one more than twice a second, and less often at one whose
-- looks bring nothing new: `in_vain` counts those. As many rows as there are slots: a payment that takes another's slot
-- makes us forget that look, which costs at most one early look. So does a crash, after which the table is empty.
CREATE UNLOGGED TABLE last_looks (
    slot      integer PRIMARY KEY CHECK (slot BETWEEN 0 AND 65535),
    imp_uid   text NOT NULL,
    looked_at timestamptz NOT NULL,
    in_vain   integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);

-- The amount of an order that PortOne is to know beforehand (PREPARE_AMOUNT). A table and a timetable of its own: its
-- end is no change of the order, and no worker that prepares waits for an order's lock.
CREATE TABLE preparations (
    merchant_uid text PRIMARY KEY REFERENCES orders,
    -- Counts the amounts that the order has had: an answer about an older one is not the newer one's.
    revision     integer NOT NULL DEFAULT 1,
    -- Whether PortOne is known to hold an amount for the order, so that the next one is a change.
    known        boolean NOT NULL DEFAULT false,
    outcome      text NOT NULL DEFAULT 'pending' CHECK (outcome IN ('pending', 'done', 'refused')),
    reason       text,
    tries        integer NOT NULL DEFAULT 0,
    due_at       timestamptz DEFAULT now(),
    claimed_at   timestamptz,
    CHECK ((outcome = 'pending') = (due_at IS NOT NULL)),
    CHECK ((outcome = 'refused') = (reason IS NOT NULL))
);
CREATE INDEX preparations_due ON preparations (due_at) WHERE due_at IS NOT NULL;

-- Orders whose payments PortOne is to be asked for by the order's number, because a browser came back without an
-- imp_uid, or the order is to be withdrawn. One row for each order that was ever searched for, so that nobody fills the table.
CREATE TABLE searches (
    merchant_uid  text PRIMARY KEY,
    wanted_at     timestamptz NOT NULL,
    due_at        timestamptz,
    claimed_until timestamptz,
    tries         integer NOT NULL DEFAULT 0,
    -- Of the last search that ended: when it began, its outcome, and whether the order's newest window was open.
    began_at      timestamptz,
    last_outcome  text,
    window_open   boolean NOT NULL DEFAULT false,
    CHECK ((began_at IS NULL) = (last_outcome IS NULL)),
    CHECK (due_at IS NOT NULL OR began_at IS NOT NULL)
) WITH (fillfactor = 50);
CREATE INDEX searches_due ON searches (due_at) WHERE due_at IS NOT NULL;

-- Reconciliation's timetable and watermarks: one row for each account and tier.
CREATE TABLE ledger_scans (
    account           text NOT NULL,
    tier              text NOT NULL,
    next_at           timestamptz NOT NULL DEFAULT now(),
    -- Where a scan goes on that was too long for one turn.
    next_page         integer NOT NULL DEFAULT 1 CHECK (next_page > 0),
    whole             boolean NOT NULL DEFAULT false,
    last_completed_at timestamptz,
    last_whole_at     timestamptz,
    -- How far back a scan must go: to where the last one that came to its end had begun.
    began_at          timestamptz,
    known_until       timestamptz,
    -- A ledger that was never scanned to its end lags since it was first configured: a key that is wrong from the start
    -- raises the same alarm as one that went wrong.
    since             timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, tier)
);

-- The first answer to each call that came with an Idempotency-Key, for a caller that repeats it within a day. Neither the
-- service key nor the caller's own text is stored, and of the call nothing but a digest.
CREATE TABLE idempotency_keys (
    -- SHA-256 of the service key and the caller's text.
    id            bytea PRIMARY KEY CHECK (octet_length(id) = 32),
    -- SHA-256 of the call. The same key with another call is refused.
    fingerprint   bytea NOT NULL CHECK (octet_length(fingerprint) = 32),
    claimed_at    timestamptz NOT NULL DEFAULT now(),
    -- While the call runs; once this has passed, its process is taken to be dead. It also names the claim.
    claimed_until timestamptz,
    status        smallint,
    headers       jsonb,
    body          bytea,
    CHECK (num_nonnulls(claimed_until, status) = 1),
    CHECK (num_nulls(status, headers, body) IN (0, 3))
) WITH (
    -- An answer finds room beside its claim, and touches no index.
    fillfactor = 50,
    autovacuum_vacuum_scale_factor = 0.05
);
CREATE INDEX idempotency_keys_claimed_at ON idempotency_keys (claimed_at);

CREATE TABLE operator_actions (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    who     text NOT NULL CHECK (who <> ''),
    why     text NOT NULL CHECK (why <> ''),
    action  text NOT NULL,
    subject text NOT NULL
);
CREATE INDEX operator_actions_subject ON operator_actions (subject, id);

-- Giving back money that should not be there. One row for each payment: what was intended, asked for, and came of it.
CREATE TABLE refunds (
    imp_uid              text PRIMARY KEY,
    merchant_uid         text NOT NULL REFERENCES orders,
    -- Only what was never sent, or was definitely refused and is wanted by a person, begins a new round.
    round                integer NOT NULL DEFAULT 1 CHECK (round > 0),
    state                text NOT NULL CHECK (state IN
                             ('intended', 'asked', 'refunded', 'refused', 'refund_unknown', 'withdrawn')),
    -- What was found, and since when the order's events have said so without a break.
    kinds                text[] NOT NULL CHECK (cardinality(kinds) > 0),
    found_at             timestamptz NOT NULL,
    who                  text NOT NULL CHECK (who <> ''),
    why                  text NOT NULL CHECK (why <> ''),
    by_person            boolean NOT NULL,
    intended_at          timestamptz NOT NULL DEFAULT now(),
    -- When a worker takes it up next, and what keeps it from being sent.
    due_at               timestamptz,
    hold_reason          text,
    asked_at             timestamptz,
    ticket               bigint,
    amount               bigint CHECK (amount > 0),
    currency             text,
    cancellations_before integer CHECK (cancellations_before >= 0),
    answer               text CHECK (answer IN ('done', 'accepted', 'refused', 'unknown')),
    answer_text          text,
    ended_at             timestamptz,
    CHECK ((state IN ('intended', 'asked')) = (due_at IS NOT NULL)),
    CHECK ((state IN ('intended', 'asked')) = (ended_at IS NULL)),
    CHECK ((state IN ('intended', 'withdrawn')) = (asked_at IS NULL)),
    CHECK (num_nulls(asked_at, ticket, amount, currency, cancellations_before) IN (0, 5)),
    CHECK (answer IS NULL OR asked_at IS NOT NULL),
    CHECK (state <> 'refused' OR answer = 'refused')
);
-- Where an order is deleted, because it is archived, its refunds are looked for. A hash has no order, for whose sake a
-- plan would read it completely.
CREATE INDEX refunds_merchant_uid ON refunds USING hash (merchant_uid);
CREATE INDEX refunds_due ON refunds (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX refunds_unknown ON refunds (merchant_uid, imp_uid) WHERE state = 'refund_unknown';

-- Every move of a refund. The key repeats the rule that a round is asked for once.
CREATE TABLE refund_moves (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    imp_uid text NOT NULL REFERENCES refunds,
    round   integer NOT NULL,
    state   text NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    who     text NOT NULL,
    why     text NOT NULL,
    UNIQUE (imp_uid, round, state)
);
CREATE INDEX refund_moves_asked ON refund_moves (at) WHERE state = 'asked';

-- A problem that a person has seen and means to leave as it is. One that is found again later is another problem.
CREATE TABLE resolutions (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant_uid text NOT NULL,
    imp_uid      text NOT NULL,
    kind         text NOT NULL,
    at           timestamptz NOT NULL DEFAULT now(),
    who          text NOT NULL CHECK (who <> ''),
    why          text NOT NULL CHECK (why <> '')
);
CREATE INDEX resolutions_imp_uid ON resolutions (imp_uid, kind, at);

-- A row for each receiver and worker that runs, written every few seconds (the field's term: heartbeat). It goes when the
-- process stops in order; of one that was killed or hangs it stays for a day, as what was last heard of it.
CREATE TABLE processes (
    id                  uuid PRIMARY KEY,
    kind                text NOT NULL CHECK (kind IN ('receiver', 'worker')),
    host                text NOT NULL,
    pid                 integer NOT NULL,
    version             text NOT NULL,
    started_at          timestamptz NOT NULL DEFAULT now(),
    seen_at             timestamptz NOT NULL DEFAULT now(),
    -- How far its clock is ahead of Postgres'.
    clock_ahead_seconds double precision NOT NULL,
    -- A worker's last sweep that came to its end, and what has kept it from working since.
    worked_at           timestamptz,
    trouble             text,
    -- The accounts whose key PortOne refuses to it, each with the time since when.
    refused_accounts    jsonb NOT NULL DEFAULT '{}',
    -- The accounts to which PortOne has given it no answer, each with the time since when.
    away_accounts       jsonb NOT NULL DEFAULT '{}',
    -- Names and texts of its settings; secrets are hidden.
    settings            jsonb NOT NULL
);
CREATE INDEX processes_seen_at ON processes (seen_at);

-- The keys of other services, beside those of SERVICE_KEYS. Of a key only its SHA-256 and its beginning are kept.
CREATE TABLE service_keys (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The key's beginning, by which people know it.
    prefix       text NOT NULL UNIQUE CHECK (char_length(prefix) BETWEEN 8 AND 16),
    digest       bytea NOT NULL UNIQUE CHECK (octet_length(digest) = 32),
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0
                     AND scopes <@ ARRAY['orders:read', 'orders:write', 'events:read', 'metrics', 'admin']),
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- Written at most once a minute.
    last_used_at timestamptz
);

-- People who are signed in to the console (docs/decisions/0026-keep-console-sessions-in-postgres.md). Of a cookie only
-- its SHA-256 is kept, and of the service key that opened the session too: the session ends when the key does.
CREATE TABLE console_sessions (
    digest     bytea PRIMARY KEY CHECK (octet_length(digest) = 32),
    key_digest bytea NOT NULL CHECK (octet_length(key_digest) = 32),
    began_at   timestamptz NOT NULL DEFAULT now(),
    ends_at    timestamptz NOT NULL
);
CREATE INDEX console_sessions_ends_at ON console_sessions (ends_at);

-- Other services that are told of each change (outgoing webhooks, docs/decisions/0024-keep-a-cursor-and-the-late-orders.md).
CREATE TABLE endpoints (
    name             text PRIMARY KEY CHECK (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
    url              text NOT NULL CHECK (char_length(url) BETWEEN 1 AND 2000),
    -- The types of events that it wants; none: every type.
    types            text[] NOT NULL DEFAULT '{}',
    -- Both sign while the old one lives. Signing needs them as they are, so they are never shown after they were made.
    secret           text NOT NULL,
    old_secret       text,
    old_secret_until timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    -- Each event up to this one has been delivered or given up, or its order has a row in late_orders.
    told_to          bigint NOT NULL CHECK (told_to >= 0),
    disabled_at      timestamptz,
    disabled_why     text,
    -- A worker takes one turn at an endpoint. Only the latest turn may end, however long an earlier one was frozen.
    turn             bigint NOT NULL DEFAULT 0,
    claimed_until    timestamptz,
    next_turn_at     timestamptz NOT NULL DEFAULT now(),
    -- Attempts that failed since the last that did not, and since when.
    failures         integer NOT NULL DEFAULT 0,
    failing_since    timestamptz,
    -- Counts since it was added.
    delivered        bigint NOT NULL DEFAULT 0,
    failed           bigint NOT NULL DEFAULT 0,
    given_up         bigint NOT NULL DEFAULT 0,
    delivered_at     timestamptz,
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_why IS NULL)),
    CHECK ((failures = 0) = (failing_since IS NULL))
) WITH (fillfactor = 50);

-- The orders that are behind their endpoint's cursor, because a delivery failed or takes long, or is to be repeated. Each
-- stands for its order's events from `next_event` on, so that an order's events stay in order and hold up no other.
CREATE TABLE late_orders (
    endpoint     text NOT NULL REFERENCES endpoints,
    merchant_uid text NOT NULL,
    next_event   bigint NOT NULL,
    tries        integer NOT NULL DEFAULT 0,
    due_at       timestamptz NOT NULL DEFAULT now(),
    -- A delivery that outlasted its turn is still under way.
    claimed_until timestamptz,
    -- Counts the replays that went back: what was under way meanwhile does not move `next_event` forward again.
    replays      integer NOT NULL DEFAULT 0,
    PRIMARY KEY (endpoint, merchant_uid)
) WITH (fillfactor = 75, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);
CREATE INDEX late_orders_due ON late_orders (endpoint, due_at);

-- Each attempt at a delivery, for people. Pruned.
CREATE TABLE delivery_attempts (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint     text NOT NULL,
    -- NULL: a test, which no order caused.
    event_id     bigint,
    merchant_uid text,
    at           timestamptz NOT NULL,
    seconds      real NOT NULL,
    status       smallint,
    -- Why there is no status, or the beginning of an answer that was no success.
    failure      text CHECK (char_length(failure) <= 500)
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX delivery_attempts_endpoint ON delivery_attempts (endpoint, id);
CREATE INDEX delivery_attempts_order ON delivery_attempts (merchant_uid, id) WHERE merchant_uid IS NOT NULL;

-- Archives whose orders were deleted here, and where each of these orders is. An order's number is never free again,
-- and its events stay (docs/decisions/0031-archive-orders-but-keep-their-events.md).
CREATE TABLE archives (
    id     integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- The archive's own id, which its manifest has, and the name of its folder.
    mark   uuid NOT NULL UNIQUE,
    name   text NOT NULL,
    before timestamptz NOT NULL,
    at     timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE archived_orders (
    merchant_uid text PRIMARY KEY,
    archive      integer NOT NULL REFERENCES archives
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02);
