"""Read which notices a Redis that is destroyed held, from its append-only files."""

from pathlib import Path

import orjson

SPILL, JOINED = "notices:spill", "notices:spill:joined"


def imp_uid_of(notice: bytes) -> str:
    return str(orjson.loads(notice)[2])


def spilled_in(folder: Path) -> list[str]:
    """Return the imp_uids of the spilled notices in a Redis' append-only files."""
    entries: dict[bytes, list[str]] = {}
    for file in sorted(folder.glob("*.incr.aof")):
        for words in _commands(file.read_bytes()):
            match [words[0].upper(), *words[1:]]:
                case [b"XADD", stream, *rest] if stream == SPILL.encode():
                    entries[rest[0]] = [imp_uid_of(rest[-1])]
                case [b"HINCRBY", key, entry_id, _] if key == JOINED.encode() and entry_id in entries:
                    entries[entry_id] += entries[entry_id][:1]  # one more that the entry stands for
                case [b"XDEL", stream, *ids] if stream == SPILL.encode():
                    for entry_id in ids:
                        entries.pop(entry_id, None)
                case [b"FLUSHALL" | b"FLUSHDB", *_]:
                    entries.clear()
                case _:
                    pass
    return [imp_uid for names in entries.values() for imp_uid in names]


def _commands(data: bytes) -> list[list[bytes]]:
    """Return the complete commands of an append-only file, without a torn one at its end."""
    commands, at = [], 0
    try:
        while at < len(data):
            end = data.index(b"\r\n", at)
            if data[at : at + 1] == b"#":
                at = data.index(b"\n", at) + 1
                continue
            count, at, words = int(data[at + 1 : end]), end + 2, []
            for _ in range(count):
                end = data.index(b"\r\n", at)
                size, at = int(data[at + 1 : end]), end + 2
                words.append(data[at : at + size])
                at += size + 2
            if words and len(words[-1]) == size:
                commands.append(words)
    except ValueError:
        pass
    return commands
