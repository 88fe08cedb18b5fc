"""The image is locked, small, not root, and built from existing files."""

import re
import tomllib
from pathlib import PurePosixPath

from service.settings import Settings
from tests.compose.compose_file import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
LAST_STAGE = INSTRUCTIONS[max(i for i, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]
PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))


def locked(name: str) -> dict[str, tuple[str, set[str]]]:
    """Return the packages of a lock file, each with its version and hashes."""
    text = (REPOSITORY / "requirements" / name).read_text("utf-8")
    packages = {}
    for entry in re.split(r"\n(?=[a-z])", text):
        head = re.match(r"([a-z0-9-]+)==(\S+)", entry)
        if head:
            packages[head[1]] = (head[2], set(re.findall(r"--hash=(\S+)", entry)))
    return packages


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", requirement)[0].lower() for requirement in requirements}


def test_the_lock_is_the_projects_without_the_embedded_servers() -> None:
    """requirements/image.txt has all that pyproject.toml requires, as in run.txt, and no embedded server."""
    image, run = locked("image.txt"), locked("run.txt")
    assert image.items() <= run.items()
    assert names(PYPROJECT["project"]["dependencies"]) <= image.keys()
    assert not names(PYPROJECT["project"]["optional-dependencies"]["embedded"]) & image.keys()


def test_every_file_is_checked_against_its_hash() -> None:
    """The image installs only what is locked."""
    installs = [line for word, line in INSTRUCTIONS if word == "RUN" and "pip install" in line]
    assert len(installs) == 2
    assert all("--no-deps" in line for line in installs)
    assert "--require-hashes" in installs[0]


def test_what_it_copies_is_there_and_not_ignored() -> None:
    """Each source exists, and .dockerignore allows exactly these sources."""
    ignore = (REPOSITORY / ".dockerignore").read_text("utf-8").splitlines()
    assert "*" in ignore
    allowed = {line.removeprefix("!") for line in ignore if line.startswith("!")}
    copied = [line.split()[:-1] for word, line in INSTRUCTIONS if word == "COPY" and not line.startswith("--from")]
    sources = {source.removeprefix("./") for line in copied for source in line}
    assert sources == allowed
    assert all((REPOSITORY / source).exists() for source in sources)


def test_every_package_of_the_project_is_copied() -> None:
    """Each package that pyproject.toml names is in the image."""
    packages = {pattern.rstrip("*") for pattern in PYPROJECT["tool"]["setuptools"]["packages"]["find"]["include"]}
    copied = {line.split()[0] for word, line in INSTRUCTIONS if word == "COPY"}
    assert {"client" if package == "portone_orders_client" else package for package in packages} <= copied


def test_it_is_not_root() -> None:
    """The image ends as a numbered user other than root."""
    users = [line for word, line in LAST_STAGE if word == "USER"]
    assert [int(part) > 0 for part in users[-1].split(":")] == [True, True]


def test_its_environment_is_made_of_settings() -> None:
    """Each variable that the image sets is a setting of ours, or of Python's or pip's."""
    text = " ".join(line for word, line in INSTRUCTIONS if word == "ENV")
    own_names = {n for n in re.findall(r"(\w+)=", text) if n != "PATH" and not n.startswith(("PYTHON", "PIP_"))}
    assert {name.lower() for name in own_names} <= Settings.model_fields.keys()


def test_it_starts_our_command() -> None:
    """Its entry point is the project's command, in a folder that is on its path."""
    entry = next(line for word, line in LAST_STAGE if word == "ENTRYPOINT")
    assert entry == '["portone-orders"]'
    assert "portone-orders" in PYPROJECT["project"]["scripts"]
    copied = next(line for word, line in LAST_STAGE if word == "COPY").split()[-1]
    assert f"PATH={PurePosixPath(copied) / 'bin'}:" in next(line for word, line in LAST_STAGE if word == "ENV")
