"""The protocols of model providers: one module each, found by the provider's name.

A module of this folder has one `PROTOCOL`. README.md says how to add one.
"""

import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache

from sinks.models.protocol import ModelProtocol

DEFAULT = "openai"
"""The protocol of every provider that no module names: chat completions."""


@cache
def protocols() -> Mapping[str, ModelProtocol]:
    """Every protocol of this folder, by the providers that speak it."""
    found: dict[str, ModelProtocol] = {}
    for module in pkgutil.iter_modules(__path__):
        protocol = importlib.import_module(f"{__name__}.{module.name}").PROTOCOL
        for provider in protocol.providers:
            if provider in found:
                raise ValueError(f"two protocols name the provider {provider!r}: keep one of them")
            found[provider] = protocol
    return found


def protocol_of(provider: str) -> ModelProtocol:
    """The protocol that a provider speaks."""
    found = protocols()
    return found.get(provider, found[DEFAULT])
