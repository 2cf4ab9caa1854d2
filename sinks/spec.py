"""What a sink declares of itself, and how the sinks are found.

Each system has a folder here; its `spec.py` has one `SPEC`. README.md says how to add a sink.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol

from pydantic import SecretStr

import sinks
from schemas.events.base import Event
from sinks.base import Sink


class SinkSettings(Protocol):
    """The settings that sinks are made from; `streams.config.Settings` has them."""

    @property
    def clickhouse_database(self) -> str: ...

    @property
    def control(self) -> str: ...

    @property
    def qdrant_key(self) -> SecretStr: ...

    @property
    def qdrant_collection(self) -> str: ...

    @property
    def otlp_endpoint(self) -> str: ...

    @property
    def otlp_headers(self) -> Mapping[str, str]: ...

    @property
    def otlp_content(self) -> bool: ...

    @property
    def semconv_opt_in(self) -> str: ...

    def clickhouse(self) -> str: ...

    def qdrant(self) -> str: ...


@dataclass(frozen=True)
class SinkContext:
    """What a sink is made with: the settings, the retention of rows in days by tenant,
    that of the archive by class and tenant, where measurements
    go, if anywhere, and the name of the numbering (`seq`) that a class of events has now.
    """

    settings: SinkSettings
    retention_days: Callable[[str], int]
    archive_days: Callable[[type[Event], str], int]
    measure: Callable[[Any, float, dict[str, str]], None] | None = None
    numbering_of: Callable[[type[Event]], str] = lambda _kind: ""


@dataclass(frozen=True)
class SinkSpec:
    """One sink: its name, the events that it stores, how it is made, and whether the settings
    enable it.
    """

    name: str
    events: tuple[type[Event], ...]
    make: Callable[[SinkContext], Sink]
    enabled: Callable[[SinkSettings], bool] = lambda _settings: True
    takes_all: bool = False
    """It takes the whole log, and is left out of pictures of who reads what."""


@cache
def sink_specs() -> Mapping[str, SinkSpec]:
    """Every sink, by name, in the order of the folders."""
    found: dict[str, SinkSpec] = {}
    for folder in pkgutil.iter_modules(sinks.__path__, "sinks."):
        if folder.ispkg and find_spec(f"{folder.name}.spec"):
            spec: SinkSpec = importlib.import_module(f"{folder.name}.spec").SPEC
            found[spec.name] = spec
    return found


def sink_spec(name: str) -> SinkSpec:
    """The sink of this name. Raises ValueError where there is none."""
    try:
        return sink_specs()[name]
    except KeyError:
        known = ", ".join(sink_specs())
        raise ValueError(f"there is no sink {name!r}: it is one of {known}") from None
