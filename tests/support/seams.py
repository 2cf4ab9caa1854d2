"""A module put into a package for one test, as a new file in its folder would be."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


@contextmanager
def extended(package: ModuleType, folder: Path) -> Iterator[None]:
    """The package also finds the modules of this folder; afterwards all is as before."""
    known = set(sys.modules)
    package.__path__.append(str(folder))
    try:
        yield
    finally:
        package.__path__.remove(str(folder))
        for name in set(sys.modules) - known:
            if name.startswith(f"{package.__name__}."):
                vars(package).pop(name.rpartition(".")[2], None)
                del sys.modules[name]
