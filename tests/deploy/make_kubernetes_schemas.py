"""Write the schemas that the manifests of deploy/kubernetes are checked against, from those that Kubernetes publishes.

`python -m tests.deploy.make_kubernetes_schemas kubernetes_validate-1.37.0-py3-none-any.whl` takes them from the wheel
of kubernetes-validate (Apache-2.0), which has each version's OpenAPI document as JSON schemas; `pip download --no-deps`
gets it. Only the kinds that we use are kept, without descriptions: the wheel has 17,000 files.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

# The oldest that the manifests are meant for, and the newest.
VERSIONS = ("1.30", "1.37")
_KINDS = (
    "configmap-v1",
    "deployment-apps-v1",
    "horizontalpodautoscaler-autoscaling-v2",
    "job-batch-v1",
    "namespace-v1",
    "networkpolicy-networking-v1",
    "poddisruptionbudget-policy-v1",
    "service-v1",
    "serviceaccount-v1",
)
_DEFINITIONS = "/api/_definitions.json#/$defs/"


def schemas_file(version: str) -> Path:
    """Return the file with a version's schemas."""
    return Path(__file__).with_name(f"kubernetes-{version}.json")


def make(wheel: Path, version: str) -> None:
    """Write a version's file: a schema for each kind, by its apiVersion and name, and what these refer to."""
    with ZipFile(wheel) as files:
        folder = f"kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
        published = json.loads(files.read(f"{folder}/_definitions.json"))["$defs"]
        kinds = [_plain(json.loads(files.read(f"{folder}/{kind}.json"))) for kind in _KINDS]
    kept: dict[str, Any] = {}
    for kind in kinds:
        _keep(kind, published, kept)
    schema = {"$defs": dict(sorted(kept.items())), "kinds": {_name(kind): kind for kind in kinds}}
    schemas_file(version).write_text(json.dumps(schema, separators=(",", ":")) + "\n", "utf-8")


def _name(kind: dict[str, Any]) -> str:
    """Return the name of a kind as a manifest gives it: apps/v1 Deployment."""
    properties = kind["properties"]
    return f"{properties['apiVersion']['enum'][0]} {properties['kind']['enum'][0]}"


def _keep(schema: Any, published: dict[str, Any], kept: dict[str, Any]) -> None:
    for name in _references(schema):
        if name not in kept:
            kept[name] = _plain(published[name])
            _keep(kept[name], published, kept)


def _references(node: Any) -> Iterator[str]:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(reference := node.get("$ref"), str):
        yield reference.removeprefix("#/$defs/")
    for child in children:
        yield from _references(child)


def _plain(node: Any) -> Any:
    """Return a schema without descriptions, whose references stay in the file."""
    match node:
        case dict():
            texts = {key for key, value in node.items() if key == "description" and isinstance(value, str)}
            return {key: _plain(value) for key, value in node.items() if key not in texts and not key.startswith("x-")}
        case list():
            return [_plain(each) for each in node]
        case str():
            return node.replace(_DEFINITIONS, "#/$defs/")
        case _:
            return node


if __name__ == "__main__":
    for each in VERSIONS:
        make(Path(sys.argv[1]), each)
