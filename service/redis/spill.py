"""The spill: notices that were accepted while Postgres was away, in a stream that never expires (docs/design.md §2.1).

It is bounded, because Redis is needed as the queue all the while. While Postgres is away nobody can tell an invented
notice from another, so what strangers can fill is bounded by where it comes from: one sender has an eighth of the
room, all that are not PortOne a half. A notice that claims the same of the same payment as one that waits joins it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
from arq.connections import ArqRedis

from service.domain.notice import Notice, Source
from service.errors import RedisUnavailable
from service.redis.connecting import MasterPool
from service.redis.durability import read_durability

# arq knows nothing of this stream.
SPILL_STREAM = "notices:spill"
UNREADABLE_STREAM = "notices:spill:unreadable"
# Which entry stands for a claim, how many joined an entry, and how many bytes each sender's entries take.
_CLAIMS, _JOINED, _BYTES = "notices:spill:claims", "notices:spill:joined", "notices:spill:bytes"
_KEYS = (SPILL_STREAM, _CLAIMS, _JOINED, _BYTES)

# An entry takes this much more than its text: its place in the stream and in the tables beside it.
_ENTRY_BYTES = 500
_OTHERS_SHARE = 2
_SENDERS_SHARE = 8
# At most this many notices of one entry are recorded; more would say nothing more.
_JOINED_MAX = 100
# A replica that has not confirmed by then is away. Both waits end within the second that a command has.
_REPLICA_MILLISECONDS = 400

_KEEP = """
local stream, claims, joined, bytes = unpack(KEYS)
local room, entry_bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
if redis.call('XLEN', stream) == 0 then redis.call('DEL', claims, joined, bytes) end
local function taken(name) return tonumber(redis.call('HGET', bytes, name) or 0) end
local kept = {}
for i = 5, #ARGV, 3 do
    local notice, claim, sender = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    local entry, size = redis.call('HGET', claims, claim), #ARGV[i] + entry_bytes
    if entry then
        redis.call('HINCRBY', joined, entry, 1)
        kept[#kept + 1] = 1
    elseif taken('all') + size <= room and (sender == '' or (
            taken('others') + size <= room / ARGV[3] and taken('from ' .. sender) + size <= room / ARGV[4])) then
        entry = redis.call('XADD', stream, '*', 'claim', claim, 'sender', sender, 'notice', notice)
        redis.call('HSET', claims, claim, entry)
        redis.call('HINCRBY', bytes, 'all', size)
        if sender ~= '' then
            redis.call('HINCRBY', bytes, 'others', size)
            redis.call('HINCRBY', bytes, 'from ' .. sender, size)
        end
        kept[#kept + 1] = 1
    else
        kept[#kept + 1] = 0
    end
end
return kept
"""

# What is read gets no more joiners: one that comes later may have to be looked for again, in an entry of its own.
_READ = """
local stream, claims, joined = unpack(KEYS)
local entries = redis.call('XRANGE', stream, '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(entries) do
    for i = 1, #entry[2], 2 do
        if entry[2][i] == 'claim' then redis.call('HDEL', claims, entry[2][i + 1]) end
    end
    entry[3] = tonumber(redis.call('HGET', joined, entry[1]) or 0)
end
return entries
"""

_FORGET = """
local stream, claims, joined, bytes = unpack(KEYS)
for i = 2, #ARGV do
    local size, sender = 0, ''
    for _, entry in ipairs(redis.call('XRANGE', stream, ARGV[i], ARGV[i])) do
        for f = 1, #entry[2], 2 do
            if entry[2][f] == 'notice' then size = #entry[2][f + 1] + tonumber(ARGV[1]) end
            if entry[2][f] == 'sender' then sender = entry[2][f + 1] end
        end
    end
    redis.call('XDEL', stream, ARGV[i])
    redis.call('HDEL', joined, ARGV[i])
    local names = {'all'}
    if sender ~= '' then names = {'all', 'others', 'from ' .. sender} end
    for _, name in ipairs(names) do
        if redis.call('HINCRBY', bytes, name, -size) <= 0 then redis.call('HDEL', bytes, name) end
    end
end
"""


@dataclass(frozen=True, slots=True)
class Spilled:
    """An entry of the stream, its notice (None: it cannot be read), and how many notices it stands for."""

    entry_id: bytes
    notice: Notice | None
    arrivals: int


class Spill:
    """The stream and what is counted beside it. Its commands raise Redis' own errors, and are not bounded in time."""

    def __init__(self, redis: ArqRedis, bytes_max: int) -> None:
        self._redis = redis
        self._bytes_max = bytes_max
        self._keep, self._read, self._forget = map(redis.register_script, (_KEEP, _READ, _FORGET))

    async def keep(self, notices: Sequence[Notice], senders: Sequence[str]) -> list[bool]:
        """Keep each notice that has room; return for each whether it is kept. PortOne's sender is "".

        Behind Sentinels each server that they may promote then has it on its disk. Raises RedisUnavailable if not.
        """
        args: list[Any] = [self._bytes_max, _ENTRY_BYTES, _OTHERS_SHARE, _SENDERS_SHARE]
        for notice, sender in zip(notices, senders, strict=True):
            args += [_dump(notice), _claim(notice), sender]
        if not isinstance(self._redis.connection_pool, MasterPool):
            return [bool(kept) for kept in await self._keep(keys=_KEYS, args=args)]
        durability = await read_durability(self._redis)
        if not durability.is_enough:
            raise RedisUnavailable("; ".join(durability.weaknesses))
        return await self._keep_everywhere(args, durability.replicas)

    async def _keep_everywhere(self, args: Sequence[Any], replicas: int) -> list[bool]:
        """Keep notices, and wait until the master and this many replicas have them on their disks."""
        async with self._redis.pipeline(transaction=False) as pipe:
            await self._keep(keys=_KEYS, args=args, client=pipe)
            # A replica acknowledges when it has a write in memory, and again only after a second. So WAITAOF alone,
            # which needs it to be on the disk, takes that second; right after WAIT it takes 2 ms.
            pipe.execute_command("WAIT", replicas, _REPLICA_MILLISECONDS)
            pipe.execute_command("WAITAOF", 1, replicas, _REPLICA_MILLISECONDS)
            kept, _, (on_masters_disk, on_replicas_disks) = await pipe.execute()
        if not on_masters_disk or on_replicas_disks < replicas:
            raise RedisUnavailable(f"{on_replicas_disks} of {replicas} replicas have it on their disk")
        return [bool(one) for one in kept]

    async def read(self, limit: int) -> list[Spilled]:
        """Return the oldest entries."""
        entries = await self._read(keys=_KEYS, args=[limit])
        return [
            Spilled(entry_id, _load(_fields(fields).get(b"notice", b"")), min(1 + joined, _JOINED_MAX))
            for entry_id, fields, joined in entries
        ]

    async def forget(self, entry_ids: Iterable[bytes]) -> None:
        """Remove entries."""
        await self._forget(keys=_KEYS, args=[_ENTRY_BYTES, *entry_ids])

    async def set_aside(self, entry_id: bytes) -> None:
        """Move an entry that cannot be recorded to where a person finds it."""
        for _, fields in await self._redis.xrange(SPILL_STREAM, entry_id, entry_id):
            await self._redis.xadd(UNREADABLE_STREAM, fields)
            await self.forget([entry_id])


async def bytes_spilled(redis: ArqRedis) -> int:
    """Return how many bytes the entries take, as they are counted against the bound."""
    count: bytes | None = await redis.hget(_BYTES, "all")  # type: ignore[misc]  # redis-py's own type is of both
    return int(count or 0)


def _fields(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _claim(notice: Notice) -> bytes:
    """Return what tells notices apart while they wait: all but their ids."""
    return hashlib.blake2b(orjson.dumps(_columns(notice)[1:]), digest_size=16).digest()


def _columns(notice: Notice) -> tuple[str | None, ...]:
    return (
        str(notice.id), notice.source.value, notice.imp_uid, notice.merchant_uid, notice.tier,
        notice.claimed_status, notice.cancellation_id, notice.account,
    )  # fmt: skip


def _dump(notice: Notice) -> bytes:
    return orjson.dumps(_columns(notice))


def _load(entry: bytes) -> Notice | None:
    try:
        notice_id, source, *rest = orjson.loads(entry)
        return Notice(UUID(notice_id), Source(source), *rest)
    except (ValueError, TypeError, AttributeError):  # UUID() raises AttributeError if it is given no text
        return None
