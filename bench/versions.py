"""Check out the code of another version beside this one, so that one measurement runs both."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.measure import BenchFailed
from bench.systems import ROOT

# What a process of the service imports. Other lock files are those of tools.
_LOCK = Path("requirements/run.txt")
_WHICH = "import cli, service, workers; print(*{path for part in (cli, service, workers) for path in part.__path__})"


@dataclass(frozen=True)
class Version:
    """A version of the code: its commit, in short, and the folder that has it."""

    commit: str
    tree: Path


@contextlib.contextmanager
def checked_out(name: str, root: Path = ROOT) -> Iterator[Version]:
    """Check out a commit, or the newest tag if the name is empty, and remove it at the end. Raises BenchFailed."""
    name = name or _newest_tag(root)
    commit = _git(root, f"There is no commit {name} here", "rev-parse", "--short", "--verify", f"{name}^{{commit}}")
    with tempfile.TemporaryDirectory(prefix="portone-version-") as folder:
        tree = Path(folder) / commit
        _git(root, f"{name} cannot be checked out", "worktree", "add", "--quiet", "--detach", str(tree), commit)
        try:
            _refuse_other_packages(commit, tree, root)
            yield Version(commit, tree)
        finally:
            _git(root, f"{tree} cannot be removed", "worktree", "remove", "--force", str(tree))


def this_version(root: Path = ROOT) -> Version:
    """Return the code that runs now; a `+` says that it has changes that are not committed."""
    commit = _git(root, "This folder is no clone", "rev-parse", "--short", "HEAD")
    changed = _git(root, "This folder is no clone", "status", "--porcelain", "--untracked-files=no")
    return Version(commit + ("+" if changed else ""), root)


def check_imports(tree: Path, environment: dict[str, str]) -> None:
    """Raise BenchFailed unless a process with this environment runs the code in the tree."""
    words = [sys.executable, "-c", _WHICH]
    found = subprocess.run(words, env=environment, cwd=tree.parent, capture_output=True, text=True, check=False)
    folders = {Path(path).resolve().parent for path in found.stdout.split()}
    if folders != {tree.resolve()}:
        raise BenchFailed(f"a process would run the code in {found.stdout or found.stderr}, not that in {tree}")


def _newest_tag(root: Path) -> str:
    return _git(
        root, "There is no tag yet: say from which commit, as in FROM=COMMIT", "describe", "--tags", "--abbrev=0"
    )


def _refuse_other_packages(commit: str, tree: Path, root: Path) -> None:
    """Refuse a version that needs other packages, because in this environment it would not be that version."""
    if (tree / _LOCK).read_bytes() != (root / _LOCK).read_bytes():
        raise BenchFailed(
            f"{commit} needs other packages ({_LOCK} differs), and both versions run in this environment: start from a"
            " version with the same lock file."
        )


def _git(root: Path, failure: str, *words: str) -> str:
    """Return what git prints. Raises BenchFailed, with the sentence and git's own reason."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchFailed(f"{failure} ({done.stderr.strip().splitlines()[-1:] or 'no reason was given'})")
    return done.stdout.strip()
