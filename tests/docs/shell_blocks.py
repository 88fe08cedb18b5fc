"""The commands that the pages show: every block in `sh`, and why some of them are not run."""

import re
from dataclasses import dataclass
from pathlib import Path

from docs.site import pages

REPOSITORY = Path(__file__).parents[2]
_BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
# A block that opens with one of these is for a terminal.
_COMMAND = re.compile(
    r"(?:#.*\n)*(?:make|portone-orders (?!is )|docker|curl|git|pip|npm|npx|python3?|systemctl|sudo|export|cp|\. )\b"
)

_DOCKER = "needs docker; tests/compose holds the files to the program"
_SYSTEMD = "needs root and systemd; tests/deploy holds the units to the program"
_KUBERNETES = "needs a cluster; tests/deploy holds the manifests to the program"
_MAKE = "installs, starts or tests everything; CI runs these targets"

# The first lines of the blocks that no test runs, with the reason. A line that no page has any more is an error.
NOT_RUN = {
    ("README.md", "make run     # start everything; Ctrl-C stops it"): _MAKE,
    ("CONTRIBUTING.md", "make check        # format, lint, types, import contracts, English"): _MAKE,
    (
        "CONTRIBUTING.md",
        ".venv/bin/python -m pytest tests/service/domain/test_settle.py              # one file",
    ): _MAKE,
    ("docs/deploying.md", "docker compose up --detach --build"): _DOCKER,
    (
        "docs/deploying.md",
        "export PORTONE_API_URL=http://sandbox:8081 PORTONE_IMP_KEY=imp_sandbox_key"
        " PORTONE_IMP_SECRET=imp_sandbox_secret",
    ): _DOCKER,
    ("docs/deploying.md", "sudo -u postgres createuser --pwprompt portone_orders"): _SYSTEMD,
    ("docs/deploying.md", "cd /etc/portone-orders"): _SYSTEMD,
    ("docs/deploying.md", "python3 -m venv /opt/portone-orders-0.1.0"): _SYSTEMD,
    ("docs/deploying.md", "install -m 644 deploy/systemd/portone-orders* /etc/systemd/system/"): _SYSTEMD,
    ("docs/deploying.md", "systemctl start portone-orders-migrate"): _SYSTEMD,
    ("docs/deploying.md", "systemctl restart portone-orders-worker@1"): _SYSTEMD,
    ("docs/kubernetes.md", "kubectl create namespace payments"): _KUBERNETES,
    ("docs/kubernetes.md", "kubectl -n payments delete job portone-orders-migrate --ignore-not-found"): _KUBERNETES,
}


@dataclass(frozen=True)
class Block:
    """A block of commands, and the page that shows it."""

    page: str
    text: str

    @property
    def key(self) -> tuple[str, str]:
        return self.page, self.text.splitlines()[0].strip()


def shell_blocks() -> list[Block]:
    """Return every block in `sh`, page by page. README.ko.md has README.md's, which a test holds."""
    return [block for language, block in _blocks() if language == "sh"]


def unlabelled_commands() -> list[Block]:
    """Return the blocks that are commands and do not say so."""
    return [block for language, block in _blocks() if not language and _COMMAND.match(block.text)]


def _blocks() -> list[tuple[str, Block]]:
    return [
        (language, Block(str(page.relative_to(REPOSITORY)), text))
        for page in pages()
        if page.name != "README.ko.md"
        for language, text in _BLOCK.findall(page.read_text("utf-8"))
    ]
