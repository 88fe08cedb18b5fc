"""Write what a run has made into its place in a page, between two marks."""

from pathlib import Path

_BEGIN, _END = "<!-- made by `make {}` -->\n", "<!-- end of what is made -->"


def write_made(page: Path, target: str, text: str) -> None:
    """Replace what this target of the Makefile has made of the page, and keep the rest."""
    begin = _BEGIN.format(target)
    before, _, rest = page.read_text("utf-8").partition(begin)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{begin}\n{text}\n{_END}{after}", "utf-8")
