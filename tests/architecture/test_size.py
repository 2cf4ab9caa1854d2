"""Files, functions and folders are of a size that one reads in one sitting; a class name is
unique.
"""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.architecture.sources import FOLDERS, SOURCE_FOLDERS, name_of, python_files, tree_of

LINES_MAX = 400
FUNCTION_LINES_MAX = 60
MODULES_MAX = 12


def long_functions() -> set[str]:
    return {
        f"{name_of(path)}:{node.name}"
        for path in python_files(*FOLDERS)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= FUNCTION_LINES_MAX
    }


@pytest.mark.parametrize("path", python_files(*FOLDERS), ids=name_of)
def test_a_file_says_what_it_is_and_is_not_too_long(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert ast.get_docstring(tree_of(path)), "its first sentence says what the file is"
    assert text.count("\n") <= LINES_MAX or name_of(path) in KNOWN_LONG, "split it by subject"


def test_functions_are_not_too_long() -> None:
    assert long_functions() <= KNOWN_LONG_FUNCTIONS


def test_folders_are_not_too_full() -> None:
    modules = Counter(
        path.parent for path in python_files(*SOURCE_FOLDERS) if path.name != "__init__.py"
    )
    assert {name_of(folder) for folder, count in modules.items() if count > MODULES_MAX} == set()


def test_class_names_are_unique() -> None:
    names = Counter(
        node.name
        for path in python_files(*SOURCE_FOLDERS)
        for node in tree_of(path).body
        if isinstance(node, ast.ClassDef)
    )
    assert {name for name, count in names.items() if count > 1} <= KNOWN_TWICE


KNOWN_LONG: set[str] = {
    "tests/sinks/clickhouse/test_queries.py",
}
KNOWN_LONG_FUNCTIONS: set[str] = {
    "tests/sinks/clickhouse/test_queries_overview.py:ask",
    "tests/sinks/clickhouse/test_queries_quality.py:ask",
    "tests/streams/operations/test_balance.py:test_a_real_log_is_counted_by_transactions_marks_and_all",
    "tests/streams/ports/test_kafka_tools.py:test_a_service_answers_over_kafka",
}
KNOWN_TWICE: set[str] = {
    "Ledger",
    "Limits",
    "Parts",
    "Place",
    "Reader",
}
