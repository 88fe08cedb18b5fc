"""The manifests of deploy/kubernetes put together as kustomize does it, for machines without kustomize.

Only what our files use is known, and anything else is refused: a test compares the result with kubectl's own.
"""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
_KNOWN = {"apiVersion", "kind", "resources", "components", "namespace", "images", "configMapGenerator", "patches"}


def build(folder: Path) -> list[Manifest]:
    """Return the manifests of a folder, as `kubectl kustomize` prints them but for the ConfigMaps' hashes."""
    return _built(folder, [])


def _built(folder: Path, given: list[Manifest]) -> list[Manifest]:
    """Return what a folder makes of the manifests that it is given: a component gets those of its user."""
    lines = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    assert lines.keys() <= _KNOWN
    manifests = given + [each for name in lines.get("resources", ()) for each in _resources(folder / name)]
    manifests += [_config_map(each) for each in lines.get("configMapGenerator", ())]
    for component in lines.get("components", ()):
        manifests = _built(folder / component, manifests)
    for patch in lines.get("patches", ()):
        _patch(manifests, yaml.safe_load((folder / patch["path"]).read_text("utf-8")))
    for manifest in manifests:
        if "namespace" in lines:
            manifest["metadata"]["namespace"] = lines["namespace"]
        for image in lines.get("images", ()):
            _set_image(manifest, image)
    return manifests


def _resources(path: Path) -> list[Manifest]:
    return build(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text("utf-8")))


def _config_map(generator: dict[str, Any]) -> Manifest:
    data = dict(literal.split("=", 1) for literal in generator["literals"])
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": generator["name"]}, "data": data}


def _patch(manifests: list[Manifest], patch: Manifest) -> None:
    """Merge a patch into the manifest that it names. Lists of maps are merged by a key, which we do not do."""
    [index] = [number for number, each in enumerate(manifests) if _name(each) == _name(patch)]
    manifests[index] = _merged(manifests[index], patch)


def _name(manifest: Manifest) -> tuple[str, str]:
    return manifest["kind"], manifest["metadata"]["name"]


def _merged(value: Any, patch: Any) -> Any:
    if not isinstance(value, dict):
        assert not isinstance(patch, list)
        return patch
    return {**value, **{key: _merged(value.get(key), each) for key, each in patch.items()}}


def _set_image(manifest: Manifest, image: dict[str, str]) -> None:
    for container in containers(manifest):
        if container["image"] == image["name"]:
            container["image"] = f"{image['newName']}:{image['newTag']}"


def pod(manifest: Manifest) -> Manifest | None:
    """Return the pod that a manifest makes, if it makes any."""
    spec: Manifest | None = manifest.get("spec", {}).get("template", {}).get("spec")
    return spec


def containers(manifest: Manifest) -> Iterator[Manifest]:
    """Yield the containers that a manifest makes."""
    yield from (pod(manifest) or {}).get("containers", ())


def by_name(manifests: list[Manifest]) -> dict[tuple[str, str], Manifest]:
    """Return the manifests by kind and name."""
    return {_name(each): copy.deepcopy(each) for each in manifests}
