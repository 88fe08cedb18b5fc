"""Write docs/api.md, the HTTP API as a page, from the OpenAPI document: `python -m docs.make_api`."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from service.http.app import ENDPOINTS
from service.http.document import build
from service.http.problem_types import PROBLEM_TYPES, TYPE

_PROBLEM = "application/problem+json"
PAGE = Path(__file__).with_name("api.md")
_TITLES = {
    "orders": "Order calls",
    "events": "Event calls",
    "notices": "PortOne's calls",
    "browsers": "The buyer's calls",
    "health": "Health calls",
}
_INTRODUCTION = """\
# HTTP API

<!-- made by `python -m docs.make_api` from the endpoints' declarations: change those, not this page -->

Every endpoint with its answers. A running receiver has the same as OpenAPI 3.1 at `GET /openapi.json`, and as a page to
try calls from at `GET /docs`. [integrate.md](integrate.md) shows how to use it, in curl, Python and JavaScript.
"""
_PROBLEMS = f"""\
## Problem types

An error is a problem document (RFC 9457), `application/problem+json`. Its `type` is `{TYPE}` and one of these kinds.

| kind | status | meaning |
| --- | --- | --- |
"""


def page() -> str:
    """Return the whole page."""
    document = build(ENDPOINTS)
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    parts = [
        _INTRODUCTION,
        document["info"]["description"],
        _overview(operations),
        *_by_tag(document, operations),
        _PROBLEMS + "".join(_row(f"`{kind}`", p.status, p.meaning) for kind, p in PROBLEM_TYPES.items()),
        "## Objects\n\nWhat bodies and answers are made of.\n",
        *(_object(name, schema) for name, schema in sorted(document["components"]["schemas"].items())),
    ]
    return "\n".join(parts)


def _overview(operations: Iterable[tuple[str, Any]]) -> str:
    rows, slugs = [], Counter[str]()
    for call, operation in operations:
        slug = _slug(operation["summary"])
        address = f"{slug}-{slugs[slug]}" if slugs[slug] else slug
        slugs[slug] += 1
        rows.append(_row(f"[`{call}`](#{address})", operation["summary"], _who(operation)))
    return "## All calls\n\n| call | what for | who |\n| --- | --- | --- |\n" + "".join(rows)


def _slug(heading: str) -> str:
    """Return the address that Markdown gives to a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _who(operation: Any) -> str:
    for scheme in operation["security"]:
        for name, scopes in scheme.items():
            return f"a key with `{scopes[0]}`" if name == "serviceKey" else "a checkout token"
    return "anyone"


def _by_tag(document: Any, operations: Iterable[tuple[str, Any]]) -> Iterator[str]:
    descriptions = {tag["name"]: tag["description"] for tag in document["tags"]}
    for tag, group in groupby(operations, key=lambda item: item[1]["tags"][0]):
        yield f"## {_TITLES.get(tag, tag.capitalize())}\n\n{descriptions[tag]}\n"
        yield from (_operation(call, operation) for call, operation in group)


def _operation(call: str, operation: Any) -> str:
    parts = [f"### {operation['summary']}\n", f"`{call}`, for {_who(operation)}.\n"]
    if description := operation.get("description"):
        parts.append(description.strip() + "\n")
    if parameters := operation.get("parameters"):
        parts.append("| parameter | in | type | meaning |\n| --- | --- | --- | --- |\n" + _parameters(parameters))
    if body := operation.get("requestBody"):
        parts.append(_content("The body", body["content"]))
    parts.append("| status | answer |\n| --- | --- |\n" + "".join(_answers(operation["responses"])))
    parts += [_content(f"Example of a {status}", a["content"]) for status, a in _with_examples(operation["responses"])]
    return "\n".join(parts)


def _parameters(parameters: Iterable[Any]) -> str:
    return "".join(
        _row(
            f"`{p['name']}`",
            p["in"] + ("" if p.get("required") else ", optional"),
            _type(p["schema"]),
            " ".join(filter(None, (p.get("description"), p["schema"].get("description")))),
        )
        for p in parameters
    )


def _answers(responses: Any) -> Iterator[str]:
    """Yield a row for each status: what it means, what comes with it, and which problems it may be."""
    for status, answer in responses.items():
        content = dict(answer.get("content", {}))
        problems = content.pop(_PROBLEM, {}).get("examples", {})
        parts = [answer["description"].partition(" Or a problem: ")[0]] if content or not problems else []
        parts += [f"{_type(part['schema'])}." for part in content.values()]
        parts += [", ".join(f"[`{kind}`](#problem-types)" for kind in problems)] if problems else []
        parts += [f"`{name}`: {header['description']}" for name, header in answer.get("headers", {}).items()]
        yield _row(status, " ".join(parts))


def _with_examples(responses: Any) -> list[tuple[str, Any]]:
    """Return the answer of success that has an example, if any."""
    return [
        (status, answer)
        for status, answer in responses.items()
        if status < "300" and any("examples" in part for part in answer.get("content", {}).values())
    ][:1]


def _content(title: str, content: Any) -> str:
    """Return a body's type, and its first example as JSON or as text."""
    kinds = " or ".join(f"`{kind}`" for kind in content)
    first = next(iter(content.values()))
    lines = [f"{title}, {kinds}: {_type(first['schema'])}.\n"]
    for example in list(first.get("examples", {}).values())[:1]:
        value = example.get("value")
        text = value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
        lines.append(f"```{'text' if isinstance(value, str) else 'json'}\n{text.rstrip()}\n```\n")
    return "\n".join(lines)


def _object(name: str, schema: Any) -> str:
    required = schema.get("required", ())
    rows = "".join(
        _row(f"`{field}`" + ("" if field in required else ", optional"), _type(part), part.get("description", ""))
        for field, part in schema.get("properties", {}).items()
    )
    table = f"| field | type | meaning |\n| --- | --- | --- |\n{rows}" if rows else ""
    return f"### {name}\n\n{schema.get('description', '')}\n\n{table}".rstrip("\n") + "\n"


def _type(schema: Any) -> str:
    """Say in a few words what a schema takes."""
    match schema:
        case {"$ref": ref}:
            name = ref.rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"anyOf": parts}:
            words = " or ".join(dict.fromkeys(_type(part) for part in parts))
            return words + _words(schema)
        case {"type": "array", "items": items}:
            return f"list of {_type(items)}"
        case {"const": value}:
            return f"`{value}`"
        case {"format": "date-time"}:
            return "time"
        case {"type": kind}:
            return f"{kind}{_words(schema)}"
        case _:
            return "any"


def _words(schema: Any) -> str:
    words = schema.get("enum") or schema.get("x-extensible-enum")
    return f": {', '.join(f'`{word}`' for word in words)}" if words else ""


def _row(*cells: object) -> str:
    return "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
