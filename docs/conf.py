"""Sphinx's configuration of the site: `make docs`. The pages are plain Markdown, and read as well on a code host."""

import re
from typing import Any

project = "portone-orders"
html_title = "portone-orders"
author = "the authors of portone-orders"
project_copyright = author
root_doc = "docs/index"
language = "en"

extensions = ["myst_parser"]
# The source is the whole repository, so that a link to a file beside the pages leads to it here too.
include_patterns = ["*.md", "docs/*.md", "docs/decisions/*.md"]
exclude_patterns = ["**/.*", "**/node_modules", "bench", "client", "contract", "docs/_build", "faults", "tests"]

myst_heading_anchors = 6
highlight_language = "none"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["front"]
html_copy_source = False
html_show_sphinx = False
html_show_copyright = False

_SECTION = re.compile(r"^## (?P<caption>.+)\n\n(?P<lists>(?:- .*\n)+)", re.MULTILINE)
_LINK = re.compile(r"^- \[(?P<title>[^]]+)\]\((?P<page>[^)#]+)\.md\)", re.MULTILINE)
_OPENED = {
    ' download=""': "",
    '<div class="table-wrapper': '<div tabindex="0" class="table-wrapper',
    "<pre>": '<pre tabindex="0">',
    'role="heading"': 'role="heading" aria-level="2"',
}
_FILE_AS_TEXT = re.compile(r"\[[\w./-]*?(?P<name>[\w-]+\.md)\](?=\((?:[\w./-]*/)?(?P=name)[)#])")


def _name_pages(_app: Any, _page: str, source: list[str]) -> None:
    """Let a link whose text is a file's name show the page's title: the site's readers see no files."""
    source[0] = _FILE_AS_TEXT.sub("[]", source[0])


def _add_navigation(_app: Any, page: str, source: list[str]) -> None:
    """Give the site the navigation that stands as plain lists of links in docs/index.md."""
    if page == root_doc:
        source[0] += "".join(_toctree(section) for section in _SECTION.finditer(source[0]))
    elif page == "docs/decisions":
        source[0] += "\n```{toctree}\n:glob:\n:maxdepth: 1\n\ndecisions/*\n```\n"


def _toctree(section: re.Match[str]) -> str:
    entries = "".join(f"{link['title']} <{link['page']}>\n" for link in _LINK.finditer(section["lists"]))
    return f"\n```{{toctree}}\n:hidden:\n:caption: {section['caption']}\n\n{entries}```\n"


def _open_to_all(_app: Any, _page: str, _template: str, context: dict[str, Any], _tree: Any) -> None:
    """Let a keyboard move what is wider than the page, tell the level of headings, and open files, not save them."""
    for part in ("body", "furo_navigation_tree"):
        for old, new in _OPENED.items():
            context[part] = context.get(part, "").replace(old, new)


def setup(app: Any) -> None:
    """Join what the site has beyond the pages."""
    app.connect("source-read", _name_pages)
    app.connect("source-read", _add_navigation)
    app.connect("html-page-context", _open_to_all, priority=900)  # after the theme has made its parts
