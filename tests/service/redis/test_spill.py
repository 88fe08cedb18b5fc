"""The spill: what waits while Postgres is away comes back whole, and no stranger takes the room of others."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from arq.connections import ArqRedis

from service.domain.notice import Notice, Source
from service.notice_ids import new_notice_id
from service.redis.queue import Queue, connect
from service.redis.spill import SPILL_STREAM, bytes_spilled

NOTICE = Notice(new_notice_id(), Source.COMPLETION, "imp_1", "주문/1", "abc", "paid", "c_1")
ROOM = 160_000


@pytest.fixture
async def arq(redis_url: str) -> AsyncIterator[ArqRedis]:
    redis = connect(redis_url)
    yield redis
    await redis.aclose(close_connection_pool=True)


@pytest.fixture
def queue(arq: ArqRedis) -> Queue:
    return Queue(arq, ROOM)


def _invented(count: int, prefix: str = "imp_invented") -> list[Notice]:
    return [Notice(new_notice_id(), Source.WEBHOOK, f"{prefix}_{number}", "order-1") for number in range(count)]


async def test_what_is_spilled_comes_back_whole(queue: Queue, arq: ArqRedis) -> None:
    """The stream keeps notices in order until they are removed, and nothing in it expires."""
    second = Notice(new_notice_id(), Source.WEBHOOK, "imp_2")
    assert await queue.spill([NOTICE, second], ["", "10.0.0.1"]) == [True, True]
    entries = await queue.spilled(10)
    assert [entry.notice for entry in entries] == [NOTICE, second]
    assert await arq.ttl(SPILL_STREAM) == -1
    await queue.forget_spilled([entries[0].entry_id])
    assert [entry.notice for entry in await queue.spilled(10)] == [second]


@pytest.mark.parametrize("entry", [b"", b"{", b"[]", b"[1,2]", b'["x","webhook","imp_1",null,null,null,null]'])
async def test_an_unreadable_entry_is_told_apart(queue: Queue, arq: ArqRedis, entry: bytes) -> None:
    """An unreadable entry raises nothing and hides no other."""
    await arq.xadd(SPILL_STREAM, {"notice": entry})
    await queue.spill([NOTICE], [""])
    assert [spilled.notice for spilled in await queue.spilled(10)] == [None, NOTICE]


async def test_a_notice_that_says_the_same_joins_the_one_that_waits(queue: Queue, arq: ArqRedis) -> None:
    """A payment's repeated notice takes no more room, and its entry says how many it stands for."""
    again = [replace(NOTICE, id=new_notice_id()) for _ in range(50)]
    assert all(await queue.spill([NOTICE, *again], ["10.0.0.1"] * 51))
    [entry] = await queue.spilled(10)
    assert (entry.notice, entry.arrivals, await arq.xlen(SPILL_STREAM)) == (NOTICE, 51, 1)


async def test_none_joins_what_a_sweep_has_read(queue: Queue, arq: ArqRedis) -> None:
    """A notice that comes after its entry was read may have to be looked for again, so it waits by itself."""
    await queue.spill([NOTICE], [""])
    [read] = await queue.spilled(10)
    later = replace(NOTICE, id=new_notice_id())
    await queue.spill([later], [""])
    await queue.forget_spilled([read.entry_id])
    assert [(entry.notice, entry.arrivals) for entry in await queue.spilled(10)] == [(later, 1)]


async def test_strangers_never_take_the_room_of_portone(queue: Queue, arq: ArqRedis) -> None:
    """One sender fills an eighth of the room, all strangers a half, and PortOne's notices find room all the while."""
    kept = []
    for sender in range(10):
        strangers = _invented(200, f"imp_of_{sender}")
        kept.append(sum(await queue.spill(strangers, [f"10.0.0.{sender}"] * 200)))
    assert kept[0] == kept[1] == kept[2] > 20
    assert kept[5:] == [0] * 5
    assert sum(kept) * 500 < await bytes_spilled(arq) <= ROOM / 2
    assert all(await queue.spill(_invented(100, "imp_genuine"), [""] * 100))
    assert sum(await queue.spill(_invented(1000), [""] * 1000)) < 1000
    assert await bytes_spilled(arq) <= ROOM
    assert await arq.xlen(SPILL_STREAM) < ROOM / 500


async def test_what_is_recorded_gives_its_room_back(queue: Queue, arq: ArqRedis) -> None:
    """A sender whose notices were swept has its whole share again, and nothing is left beside an empty stream."""
    first = sum(await queue.spill(_invented(200), ["10.0.0.1"] * 200))
    assert first < 200
    while entries := await queue.spilled(100):
        await queue.forget_spilled([entry.entry_id for entry in entries])
    assert await arq.keys("notices:*") == [SPILL_STREAM.encode()]  # empty
    assert sum(await queue.spill(_invented(200, "imp_new"), ["10.0.0.1"] * 200)) > 0


async def test_counts_do_not_outlive_a_stream_that_was_deleted(queue: Queue, arq: ArqRedis) -> None:
    """Deleting the stream by hand deletes all that is counted of it."""
    await queue.spill([NOTICE, *_invented(200)], ["10.0.0.1"] * 201)
    await arq.delete(SPILL_STREAM)
    assert await queue.spill([NOTICE], ["10.0.0.1"]) == [True]
    assert [entry.arrivals for entry in await queue.spilled(10)] == [1]
    assert await bytes_spilled(arq) < 1000


async def test_an_entry_set_aside_takes_no_room(queue: Queue, arq: ArqRedis) -> None:
    """An entry that cannot be recorded is moved, and counted no longer."""
    await queue.spill([NOTICE], ["10.0.0.1"])
    [entry] = await queue.spilled(10)
    await queue.set_spilled_aside(entry.entry_id)
    assert (await bytes_spilled(arq), await arq.xlen(SPILL_STREAM)) == (0, 0)


async def test_a_redis_that_is_nearly_full_has_no_room(queue: Queue, arq: ArqRedis) -> None:
    """Redis keeps memory for the queue: near its maxmemory it takes no more spilled notices."""
    assert await queue.has_room()
    used = (await arq.info("memory"))["used_memory"]
    await arq.config_set("maxmemory", int(used * 1.05))
    try:
        assert not await queue.has_room()
        await queue.search()
    finally:
        await arq.config_set("maxmemory", 0)
