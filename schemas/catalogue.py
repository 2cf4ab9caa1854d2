"""The event classes of Weir, by name: the classes of all modules of `schemas.events`, and the one
that tells of definitions.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

import schemas.events
from schemas.events.base import Event

ELSEWHERE = ("schemas.definitions.kinds",)
"""The one event that is made of definitions stands with them."""


@cache
def event_classes() -> dict[str, type[Event]]:
    """Every event class that has a family, by its class name, in the order of the names."""
    found = {kind.__name__: kind for module in _modules() for kind in _classes_of(module)}
    return dict(sorted(found.items()))


def _modules() -> list[ModuleType]:
    names = [
        each.name
        for each in pkgutil.walk_packages(schemas.events.__path__, f"{schemas.events.__name__}.")
    ]
    return [importlib.import_module(name) for name in (*names, *ELSEWHERE)]


def _classes_of(module: ModuleType) -> list[type[Event]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, Event)
        and kind.family
        and kind.__module__ == module.__name__
    ]


def archived_classes() -> tuple[type[Event], ...]:
    """The classes that the archive keeps."""
    return tuple(kind for kind in event_classes().values() if kind.archived is not None)


def landed_classes() -> tuple[type[Event], ...]:
    """The classes that have a table in ClickHouse."""
    return tuple(kind for kind in event_classes().values() if kind.table)
