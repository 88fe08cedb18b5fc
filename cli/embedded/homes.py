"""The folder outside STATE_DIR in which root's Postgres keeps its data if `nobody` cannot enter STATE_DIR.

The two name each other: STATE_DIR/postgres/elsewhere names the folder, and its file `belongs-to` names
STATE_DIR/postgres. So what was left behind can be told from what is used, and be removed.

`make clean` runs it as `python3 -m cli.embedded.homes STATE_DIR`, perhaps before anything is installed, so it needs
only the standard library.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cli.files import read_or_none, write_private

_PREFIX = "portone-orders-"
_NOTE = "elsewhere"
_OWNER = "belongs-to"


def known_home(folder: Path) -> Path:
    """Return the folder that STATE_DIR/postgres names, or STATE_DIR/postgres itself."""
    return Path(read_or_none(folder / _NOTE) or folder)


def make_home(folder: Path) -> Path:
    """Make a private folder for the data of STATE_DIR/postgres, and have the two name each other."""
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=lasting_folder()))
    write_private(home / _OWNER, str(folder.absolute()))
    write_private(folder / _NOTE, str(home))
    return home


def remove_home(folder: Path) -> None:
    """Remove the data that STATE_DIR/postgres keeps elsewhere, if it does."""
    home = known_home(folder)
    ours = home != folder and home.name.startswith(_PREFIX) and home.is_dir()
    if ours and read_or_none(home / _OWNER) in (None, str(folder.absolute())):
        shutil.rmtree(home)


def remove_orphans(root: Path) -> list[Path]:
    """Remove the folders that belonged to a STATE_DIR under `root` which is gone. Returns them."""
    orphans = [home for home, folder in homes_of(root).items() if known_home(folder) != home]
    for home in orphans:
        shutil.rmtree(home, ignore_errors=True)  # several test processes may meet the same one
    return orphans


def homes_of(root: Path) -> dict[Path, Path]:
    """Return the folders that belong, or belonged, to a STATE_DIR under `root`, each with its STATE_DIR/postgres."""
    return {home: folder for home, folder in _homes() if folder.is_relative_to(root.absolute())}


def _homes() -> Iterator[tuple[Path, Path]]:
    for home in Path(lasting_folder()).glob(f"{_PREFIX}*"):
        if os.access(home, os.R_OK | os.X_OK) and (folder := read_or_none(home / _OWNER)):
            yield home, Path(folder)


def lasting_folder() -> str:
    lasting = "/var/tmp"  # noqa: S108 - mkdtemp makes a private folder in it, and a restart does not empty it
    return lasting if os.access(lasting, os.W_OK | os.X_OK) else tempfile.gettempdir()


if __name__ == "__main__":
    state = Path(sys.argv[1])
    remove_home(state / "postgres")
    remove_orphans(state.absolute().parent)
