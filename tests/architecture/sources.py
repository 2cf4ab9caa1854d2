"""The project's own Python files, parsed once, for the tests of its structure."""

import ast
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE_FOLDERS = ("schemas", "processors", "sinks", "streams", "infra")
FOLDERS = (*SOURCE_FOLDERS, "tests")


def python_files(*folders: str) -> list[Path]:
    """Every Python file below the folders that is not empty, in order."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sorted(path for path in found if path.stat().st_size)


def name_of(path: Path) -> str:
    """The file's path in the project, e.g. `sinks/base.py`."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> frozenset[str]:
    """The full names of all modules, and of what is imported from them, wherever the import
    stands.
    """
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


def called_in(path: Path) -> set[str]:
    """The last names of all that is called in the file: `now` for `datetime.now()`."""
    calls = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    return {ast.unparse(node.func).split(".")[-1] for node in calls}
