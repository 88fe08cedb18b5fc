"""The text of docs/performance.md, which bench/report.py fills in."""

PAGE = """# How fast it is

<!-- Written by `make bench`; change bench/report.py, not this file. -->

![Whole lives and payments settled a second, notice to commit, and cost as the table grows](performance.svg)

Measured on {when}, {rounds} round(s), everything on one machine: {machine}. Only ratios within one run are meaningful,
because another machine, or a busier one, changes all numbers together. `make bench` measures again. The numbers of
this page are in [performance.json](performance.json).

## Ratios that must hold

| ratio | value | floor | target | |
|---|---|---|---|---|
{ratios}

## An order's life

An order is registered, confirmed (PortOne asks before it approves), notified by a webhook and by the browser's
completion call at the same moment, and read by another service. Cells are rates, with p50 / p99.

{life}

At fixed rates, p50 / p99:

{waits}

## Payments under a flood of reads

Only portone-orders. The flood reads orders on 1,024 connections, as fast as it is answered.

{overload}

## The speed of notices

Medians (least–most). Times are in milliseconds.

{speed}

## What a payment costs

The system is saturated, with {connections} connections.

{costs}

## Limits of the parts

{limits}

The load generator sends those single looks too, so it can send at least as many requests a second.

## How the rate changes with the work

Only portone-orders, with one receiver and, unless the table says otherwise, one worker. The rates by orders in the
table are medians of five.

{growth}

## How it was measured

All systems do the same work: a webhook arrives over HTTP → (queue) → the payment is fetched from a stand-in for
PortOne → it is compared with the order → the order's new state and its event are committed. Postgres runs with fsync,
Redis with an append-only file and `appendfsync always`. Both are real and local. There is one receiver process, one
worker process and one load generator. A ratio is the median of its values in each round; for tables of two sizes, in
each of five turns. The order of the systems rotates from round to round, and a step of an order's life is measured in
one system right after the other. Python is a release build, as Node.js and Postgres are
([decision 37](decisions/0037-compare-neighbours-on-a-release-build.md)).

- **portone-orders** does more for each notice than the others. It records the notice in Postgres *and* queues it before
  its 200, claims it, draws tickets, stores the payment as evidence, locks, reads, settles, and marks the notice. All of
  this is on, with its checks, logs and rate limits. Only the numbers of the limits are raised.
- **The alternatives** (`bench/alternatives/`) change the order in one statement that compares and
  writes. They keep connections alive, cache one token (except "token per request") and use uvloop (except "as
  documented"). Before their 200 they record only the job in Redis; Express answers after the commit. Its handler asks
  PortOne through axios, as the guide's does. The leaner handler does not
  ([why both](decisions/0017-benchmark-the-handler-of-the-guide.md)).
- **plain aiohttp and asyncpg** is the obvious code for an order's life: one statement a request, a pool of ten
  connections, uvloop, orjson and a cached token. It has a table of its own, without our indexes and events. **Express**
  has the obvious routes beside the guide's handler. Neither asks for a key, records a notice, shares looks or tries
  again.
- **Steps** are measured in a closed loop, with as many calls under way as there are connections, and then in an open
  loop at half of that rate. A fresh completion names a payment that nobody looked at. A **whole life** belongs to one
  user with two connections, who begins the next when the order was read and was paid. Any wrong answer ends the run.
- **settled/s**: notices are sent as fast as they are accepted. The rate is the payments divided by the time from the
  first request to the last commit, and includes the looks at the stand-in.
- **accepted/s** is measured in a closed loop without a worker.
- **notice→commit** is measured in an open loop: from the moment when a notice is sent to the commit time of its
  transaction, as kept by Postgres (`track_commit_timestamp`). Postgres takes that time just before it flushes the WAL,
  so no system's number includes the flush. Half load is half of the rate that the system settles with 64 connections.
- **looks** are the requests to the stand-in divided by the payments. **Redis commands** include those inside scripts
  and transactions. **WAL fsyncs** are counted by Postgres; Redis has no such counter.
- **CPU** is that of the process and its children. **Peak memory** is the sum of their peaks.
- **pgbench** makes the same change with 32 clients and prepared statements. Each client walks through its own orders.
"""
