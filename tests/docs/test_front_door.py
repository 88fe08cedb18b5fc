"""The files that a contributor meets first agree with each other and with the code."""

import configparser
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text("utf-8")
PROJECT: dict[str, Any] = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
WORKFLOW = (REPOSITORY / ".github/workflows/ci.yml").read_text("utf-8")
JOBS: dict[str, Any] = yaml.safe_load(WORKFLOW)["jobs"]
HOOKS = (REPOSITORY / ".pre-commit-config.yaml").read_text("utf-8")
CI_RUN = (REPOSITORY / ".ci/run").read_text("utf-8")


def named_targets(text: str) -> set[str]:
    """Return each X of a `make X` that stands at the start of a command."""
    return set(re.findall(r"(?:^ *|`|- run: |entry: )make ([a-z][a-z-]*)", text, re.MULTILINE))


def phony() -> set[str]:
    return set(re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)[0].replace("\\\n", " ").split())


def test_help_lists_every_target() -> None:
    """`make help` prints a line for each target that is no file, and `make` alone does the same."""
    for command in (["make", "help"], ["make"]):
        output = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
        assert set(re.findall(r"^  make ([a-z-]+) +\S", output, re.MULTILINE)) == phony()


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "SECURITY.md", ".pre-commit-config.yaml", ".ci/run"])
def test_every_target_that_is_named_exists(name: str) -> None:
    """Each `make X` of the page or file is a target."""
    text = (REPOSITORY / name).read_text("utf-8")
    assert named_targets(text)
    assert named_targets(text) <= phony()


def test_ci_runs_the_same_targets_as_at_home() -> None:
    """The workflow and .ci/run name the same targets, and the workflow runs nothing else."""
    assert named_targets(WORKFLOW) == named_targets(CI_RUN) <= phony()
    commands = [step["run"] for job in JOBS.values() for step in job["steps"] if "run" in step]
    assert all(re.fullmatch(r"make [a-z-]+", command) for command in commands)


def test_ci_runs_what_the_readme_calls_supported() -> None:
    """The matrix has Linux and macOS, and each Python from the lowest to the highest that the README names."""
    lowest, highest = re.findall(r"CPython 3\.(\d+) to 3\.(\d+)", (REPOSITORY / "README.md").read_text("utf-8"))[0]
    matrix = JOBS["test"]["strategy"]["matrix"]
    assert matrix["python"] == [f"3.{minor}" for minor in range(int(lowest), int(highest) + 1)]
    assert matrix["system"] == ["ubuntu-latest", "macos-latest"]
    assert PROJECT["project"]["requires-python"] == f">=3.{lowest}"


def test_ci_takes_other_peoples_actions_by_their_commit() -> None:
    """An action's tag can be moved, its commit cannot."""
    uses = re.findall(r"uses: (\S+)", WORKFLOW)
    assert uses
    assert not [action for action in uses if not re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", action)]


def test_hooks_fetch_nothing() -> None:
    """Every pre-commit hook is local and calls make."""
    repos = yaml.safe_load(HOOKS)["repos"]
    assert [repo["repo"] for repo in repos] == ["local"]
    assert all(hook["language"] == "system" and hook["entry"].startswith("make ") for hook in repos[0]["hooks"])


def test_the_packages_carry_their_types() -> None:
    """Each package of the product has a py.typed, and the wheel takes it along."""
    packages = {pattern.rstrip("*") for pattern in PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    typed = [*REPOSITORY.glob("*/py.typed"), *REPOSITORY.glob("client/*/py.typed")]
    assert packages == {file.parent.name for file in typed}
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["*"]


def test_editors_keep_to_the_formatters_line() -> None:
    """The line length for editors is the formatter's."""
    editors = configparser.ConfigParser()
    editors.read_string("[top]\n" + (REPOSITORY / ".editorconfig").read_text("utf-8"))
    assert editors["*.{py,md,sql}"]["max_line_length"] == str(PROJECT["tool"]["ruff"]["line-length"])


@pytest.mark.parametrize("lock", sorted((REPOSITORY / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_locked_package_has_a_hash(lock: Path) -> None:
    """Each requirement is pinned and followed by a hash, and no index is named."""
    text = lock.read_text("utf-8")
    requirements = re.findall(r"^[a-z][^\n]*\\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(requirements) == len(re.findall(r"^[a-z]", text, re.MULTILINE)) > 0
    assert "://" not in text
