"""Data that root's Postgres keeps outside STATE_DIR is removed with it."""

import subprocess
import sys
from pathlib import Path

import pytest

from cli.embedded import homes
from tests.cli.dev_run import REPOSITORY


@pytest.fixture(autouse=True)
def lasting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the folders made in the test's own folder."""
    folder = tmp_path / "lasting"
    folder.mkdir()
    monkeypatch.setattr(homes, "lasting_folder", lambda: str(folder))
    return folder


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "shop" / ".run" / "postgres"
    folder.mkdir(parents=True)
    return folder


def test_the_data_of_a_state_dir_is_removed(state: Path, lasting: Path) -> None:
    """Removing a STATE_DIR's data removes the folder that it names."""
    home = homes.make_home(state)
    (home / "data").mkdir()
    assert homes.known_home(state) == home
    homes.remove_home(state)
    assert list(lasting.iterdir()) == []


def test_only_what_was_left_behind_is_removed(state: Path, tmp_path: Path) -> None:
    """A folder whose STATE_DIR is gone, or names another, is left behind; one that is used stays."""
    left, used = homes.make_home(state), homes.make_home(state)
    elsewhere = tmp_path / "other" / ".run" / "postgres"
    elsewhere.mkdir(parents=True)
    other = homes.make_home(elsewhere)
    (elsewhere / "elsewhere").unlink()
    assert homes.remove_orphans(tmp_path / "shop") == [left]
    assert (used.exists(), other.exists()) == (True, True)
    assert homes.remove_orphans(tmp_path) == [other]


def test_what_we_did_not_make_stays(state: Path, lasting: Path) -> None:
    """Neither a folder of another owner nor one that only looks like ours is removed."""
    strange = lasting / "portone-orders-strange"
    strange.mkdir()
    home = homes.make_home(state)
    (home / "belongs-to").write_text("/somebody/else")
    homes.remove_home(state)
    homes.remove_orphans(state.parents[1])
    assert (strange.exists(), home.exists()) == (True, True)


def test_make_clean_removes_it(state: Path, tmp_path: Path) -> None:
    """The command in `make clean` needs nothing but Python, and removes the data outside STATE_DIR."""
    home = tmp_path / "portone-orders-home"
    home.mkdir()
    (home / "belongs-to").write_text(str(state))
    (state / "elsewhere").write_text(str(home))
    [line] = [line for line in (REPOSITORY / "Makefile").read_text().splitlines() if "cli.embedded.homes" in line]
    assert line.strip() == "@$(PYTHON) -m cli.embedded.homes .run"
    run = "import runpy; runpy.run_module('cli.embedded.homes', run_name='__main__', alter_sys=True)"
    program = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); {run}"
    command = [sys.executable, "-I", "-S", "-c", program, str(state.parent)]
    subprocess.run(command, check=True, timeout=30)
    assert not home.exists()
