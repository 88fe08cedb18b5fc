"""Groups of commands whose modules are imported when they are needed, because their libraries take most of a start."""

from collections import UserDict
from functools import cached_property
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


class _Imported(UserDict[str, Any]):
    """The commands of a module's `app`, imported when the first of them is asked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    @cached_property
    def data(self) -> dict[str, Any]:  # type: ignore[override]
        return dict(typer.main.get_group(import_module(self._module).app).commands)


def later(module: str) -> typer.Typer:
    """Return a stand-in for the `app` of this module. Its help stands where it is added, so that it can be listed."""

    class Later(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options | {"commands": _Imported(module)})

    return typer.Typer(cls=Later)
