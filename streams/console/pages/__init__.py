"""The pages of the console: one module each, found by this folder.

A module has one `PAGE`, with its queries and its handlers. README.md says how to add one.
"""

import importlib
import pkgutil
from functools import cache

from streams.console.page import Page


@cache
def pages() -> tuple[Page, ...]:
    """Every page, in the order of the navigation."""
    modules = [
        importlib.import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)
    ]
    found: list[Page] = [module.PAGE for module in modules]
    return tuple(sorted(found, key=lambda page: page.order))
