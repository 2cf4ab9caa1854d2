"""Converts cases of the Berkeley Function-Calling Leaderboard into conversations to replay.

A multi-turn case has the user's messages by turn, and for each turn the calls that a model should
make, written as Python: `mv(source='a', destination='b')`. A turn becomes one step a call, in
order, and then a closing message. Results of tools were never recorded, so each tool returns that
it is done. The functions of the cases are in a file beside them, `bfcl_multi_turn_functions.json`;
their schemas are converted to the form of model providers.
"""

import ast
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from processors.tools.provider_schemas import written
from schemas.events.values import ToolSpec

CLASSES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
FUNCTIONS = "bfcl_multi_turn_functions.json"
RESULT = '{"done": true}'
LAST_WORD = "That is done."
Said = dict[str, Any]


class BfclCaseError(Exception):
    """An invalid case, or one that calls an unknown function."""


def is_case(row: Any) -> bool:
    """Whether an object is a multi-turn case."""
    return isinstance(row, dict) and {"turns", "ground_truth", "involved_classes"} <= row.keys()


@lru_cache(maxsize=4)
def functions_beside(path: Path) -> dict[str, dict[str, Said]]:
    """The functions of each class, by name. Raises BfclCaseError."""
    beside = path.with_name(FUNCTIONS)
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        return {
            name: {one["name"]: one for one in found[key]}
            for name, key in CLASSES.items()
            if key in found
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BfclCaseError(
            f"{path} needs the functions that its cases call, in {beside} "
            f"({type(error).__name__}: {error}): put it there"
        ) from error


def messages_of(
    row: Said, functions: dict[str, dict[str, Said]]
) -> tuple[list[Said], list[ToolSpec]]:
    """The conversation of a case, and the tools that it may call. Raises BfclCaseError."""
    known = {
        name: one
        for each in row["involved_classes"]
        for name, one in functions.get(each, {}).items()
    }
    offered = [
        ToolSpec(
            name=name,
            description=one.get("description", ""),
            parameters=json.dumps(written(one["parameters"])),
        )
        for name, one in known.items()
    ]
    prompt = (
        f"You act for a user, through the tools of {', '.join(sorted(row['involved_classes']))}."
    )
    said: list[Said] = [{"role": "system", "content": prompt}]
    number = 0
    for asked, calls in zip(row["turns"], row["ground_truth"], strict=True):
        said += [{"role": one["role"], "content": one["content"]} for one in asked]
        for text in calls:
            number += 1
            name, arguments = call_in(text, known)
            said += step(f"call_{number}", name, arguments)
        said.append({"role": "assistant", "content": LAST_WORD})
    return said, offered


def step(identity: str, name: str, arguments: Said) -> Iterator[Said]:
    """A tool call of the model, and its result."""
    yield {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": identity,
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
            }
        ],
    }
    yield {"role": "tool", "tool_call_id": identity, "name": name, "content": RESULT}


def call_in(text: str, known: dict[str, Said]) -> tuple[str, Said]:
    """Parse a call in Python: its function and arguments. Raises BfclCaseError."""
    try:
        call = ast.parse(text, mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            raise ValueError("it is no call of a function")
        name = call.func.id
        if name not in known:
            raise ValueError(f"the case has no function {name!r}")
        names = [*known[name]["parameters"]["properties"]]
        values = dict(zip(names, map(ast.literal_eval, call.args), strict=False))
        if len(call.args) > len(names):
            raise ValueError(f"{name} takes {len(names)} arguments")
        return name, values | {
            keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords if keyword.arg
        }
    except (SyntaxError, ValueError, KeyError, TypeError) as error:
        raise BfclCaseError(f"{text!r}: {error}") from error
