"""The corpus of what other sides really send: `tests/corpus/DOOR/CASE.json`.

A file is one report: `from` names its public sources, `about` says what goes wrong elsewhere, and
each of its `cases` has an input and what is right. A new report is one new file.
"""

import json
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).parents[1] / "corpus"


def cases(door: str) -> list[Any]:
    """Every case of a door, as parameters of a test."""
    found = []
    for path in sorted((CORPUS / door).glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        for name, case in report["cases"].items():
            found.append(pytest.param(case, id=f"{path.stem}-{name}"))
    return found
