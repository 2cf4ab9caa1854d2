"""Evaluates CEL expressions over what a workflow knows, and refuses those that could harm a worker.

CEL has no loops but its macros, and knows neither clock nor chance. What of the library would still
break a worker or a replay is kept out, each found by trying it: `map` and `filter` take time with
the square of a list (8 s for 20,000 elements), walk an object in an order that differs from process
to process, and multiply inside one another; and a chain of 100,000 members ends the process. So an
expression is short, walks lists only, few and small ones.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from processors.common.text import compact, cut

EXPRESSION_CHARS_MAX = 1_000
VALUE_CHARS_MAX = 200_000
MACROS_MAX = 2
ITEMS_MAX = {1: 1_000, 2: 100}
"""How long a list may be that a macro walks, by how many macros the expression has."""
DETAIL_CHARS = 300

NAMES = ("input", "nodes")
KNOWN = frozenset(
    {
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "string",
        "int",
        "uint",
        "double",
        "bytes",
        "timestamp",
        "duration",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
        "max",
        "min",
        "dyn",
    }
)
_WALKS = r"(?:map|filter|all|exists|exists_one|existsOne)"
_STEP = r"""(?:\.[A-Za-z_]\w*|\[\d+\]|\["[^"\\]*"\]|\['[^'\\]*'\])"""
_MACRO = re.compile(rf"\b{_WALKS}\b\s*[(/]")
_PLAIN = re.compile(rf"(?<![\w.\])])((?:input|nodes)(?:{_STEP})*)\.{_WALKS}\(\s*([A-Za-z_]\w*)\s*,")
_STEPS = re.compile(_STEP)
_NODE = re.compile(r"""\bnodes(?:\.([A-Za-z_]\w*)|\["([^"\\]*)"\]|\['([^'\\]*)'\])""")


class ExpressionError(Exception):
    """The expression cannot be used, or has no value here; the message says why and what to do."""


def wrong_with(expression: str) -> str | None:
    """Why an expression cannot be used; None where it can."""
    try:
        program = _compiled(expression)
    except ExpressionError as bad:
        return str(bad)
    own = {found[2] for found in _PLAIN.finditer(expression)}
    unknown = [name for name in program.variables() if name not in {*NAMES, *own}]
    if unknown:
        return (
            f"it speaks of {unknown[0]!r}: an expression knows {', '.join(NAMES)} (a text "
            "needs "
            "quotes)"
        )
    odd = [name for name in program.functions() if name[0].isalpha() and name not in KNOWN]
    return (
        f"there is no function {odd[0]!r}: use one of {', '.join(sorted(KNOWN))}" if odd else None
    )


def value_of(expression: str, knows: Mapping[str, Any]) -> Any:
    """The value, as JSON has it. Raises ExpressionError."""
    program = _compiled(expression)
    walks = [found[1] for found in _PLAIN.finditer(expression)]
    for path in walks:
        _walkable(path, _at(path, knows), ITEMS_MAX[len(walks)])
    value = _json_of(_run(lambda: program.execute(dict(knows))))
    if len(compact(value)) > VALUE_CHARS_MAX:
        raise ExpressionError(
            f"its value has more than {VALUE_CHARS_MAX:,} characters: take a part of it"
        )
    return value


def nodes_in(expression: str) -> Iterator[str]:
    """The nodes that an expression speaks of."""
    for found in _NODE.finditer(expression):
        yield found[1] or found[2] or found[3] or ""


@lru_cache(maxsize=2_000)
def _compiled(expression: str) -> Any:
    if not expression.strip():
        raise ExpressionError("it is empty: write an expression")
    if len(expression) > EXPRESSION_CHARS_MAX:
        raise ExpressionError(
            f"it has {len(expression):,} characters, at most {EXPRESSION_CHARS_MAX:,} are allowed"
        )
    found, plain = len(_MACRO.findall(expression)), _PLAIN.findall(expression)
    if found != len(plain):
        raise ExpressionError(
            "map, filter, all, exists and exists_one are to stand right behind a list of the "
            "input or of a node, as in input.json.items.exists(i, i.price > 10)"
        )
    if found > MACROS_MAX:
        raise ExpressionError(
            f"it walks {found} lists, at most {MACROS_MAX} are allowed: use a node for a part of it"
        )
    if any(own in NAMES for _, own in plain):
        raise ExpressionError("an element needs a name of its own, not `input` or `nodes`")
    import cel

    return _run(lambda: cel.compile(expression))


def _run(work: Any) -> Any:
    """What the library says. Its panics are no Exceptions, and must not end a worker either."""
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except KeyError as error:
        raise ExpressionError(
            f"there is no {cut(str(error), DETAIL_CHARS)}: ask for it with has() first"
        ) from error
    except BaseException as error:
        raise ExpressionError(cut(" ".join(str(error).split()), DETAIL_CHARS)) from error


def _at(path: str, knows: Mapping[str, Any]) -> Any:
    found = re.match(r"\w+", path)
    head = found[0] if found else ""
    value: Any = knows.get(head)
    for step in _STEPS.findall(path[len(head) :]):
        try:
            value = value[int(step[1:-1]) if step[1].isdigit() else step.strip(".[]'\"")]
        except (KeyError, IndexError, TypeError):
            return None
    return value


def _walkable(path: str, value: Any, items_max: int) -> None:
    if isinstance(value, Mapping):
        raise ExpressionError(f"{path} is an object, whose members have no order: walk a list")
    if isinstance(value, list) and len(value) > items_max:
        raise ExpressionError(
            f"{path} has {len(value):,} elements, at most {items_max:,} can be walked here"
        )


def _json_of(value: Any) -> Any:
    match value:
        case None | bool() | str() | int():
            return value
        case float() if value - value == 0:
            return value
        case list():
            return [_json_of(one) for one in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {key: _json_of(one) for key, one in sorted(value.items())}
    raise ExpressionError(
        f"its value is a {type(value).__name__}, which JSON does not have: make a text of it"
    )
