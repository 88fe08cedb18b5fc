"""Build the site: `make docs`. It needs no network, and a warning or a broken link within the repository is an error.

Links to other sites are not followed, because a build must not depend on them: the build lists them in
`external-links.txt` for a person to look through.
"""

import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
BUILT = REPOSITORY / "docs" / "_build"
_EXTERNAL = re.compile(r"https?://[^\s)>\]`\"'|]+")


def pages() -> list[Path]:
    """Return the pages of the site."""
    return sorted(page for folder in (".", "docs", "docs/decisions") for page in (REPOSITORY / folder).glob("*.md"))


def external_links() -> dict[str, list[str]]:
    """Return each link to another site, with the pages that have it. Examples' own addresses are no links."""
    links: dict[str, list[str]] = {}
    for page in pages():
        for link in sorted(set(_EXTERNAL.findall(_without_code(page.read_text("utf-8"))))):
            links.setdefault(link.rstrip(".,;:"), []).append(str(page.relative_to(REPOSITORY)))
    return dict(sorted(links.items()))


def _without_code(text: str) -> str:
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def build() -> None:
    """Build all pages. Ends the program where Sphinx finds a fault."""
    options = ["-W", "--keep-going", "-n", "-q", "-E", "-b", "html", "-d", str(BUILT / "doctrees"), "-c", "docs"]
    command = [sys.executable, "-m", "sphinx", *options, ".", str(BUILT / "html")]
    if subprocess.run(command, cwd=REPOSITORY, check=False).returncode:
        sys.exit("The site was not built: correct what is named above.")
    lines = [f"{link}  {', '.join(names)}\n" for link, names in external_links().items()]
    (BUILT / "external-links.txt").write_text("".join(lines), "utf-8")
    print(f"The site is {BUILT / 'html' / 'index.html'}; it has {len(lines)} links to other sites, not followed.")


if __name__ == "__main__":
    build()
