"""Progress of a run: a call that is made again and again with the same result makes none.

The model is told so before the run is stopped. Equal calls whose results change are progress: a
state that is polled, a page that is turned.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from processors.agent.calls.pending import AnsweredCall, PendingCall
from processors.agent.conversation.messages import NOT_CALLED, error_result
from processors.common.text import compact
from schemas.events.values import ToolRequest

NOTED_FROM = 3
DECLINED = error_result(
    NOT_CALLED,
    "this answer asks for the same call too often: its result is that of the calls before it",
)
"""The result of a call that one answer of the model repeats too often."""


@dataclass(frozen=True)
class RepeatCounts:
    """By call, as `same_call` names it: how often in a row it had the same result, and the digest
    of that result.
    """

    times: Mapping[str, int]
    results: Mapping[str, str]


def same_call(request: ToolRequest) -> str:
    """Equal for calls of one tool with equal arguments, however they are written."""
    try:
        arguments = compact(json.loads(request.arguments))
    except (ValueError, RecursionError):
        arguments = request.arguments
    return _digest(f"{request.name}\n{arguments}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def must_stop(times: Mapping[str, int], request: ToolRequest, limit: int | None) -> bool:
    """Whether this is the `limit`-th equal call, and all before it had the same result."""
    return limit is not None and times.get(same_call(request), 0) >= limit - 1


def with_results_counted(
    pending: Iterable[PendingCall],
    requests: Iterable[ToolRequest],
    repeats: RepeatCounts,
    limit: int | None,
) -> tuple[tuple[PendingCall, ...], RepeatCounts]:
    """The calls of a turn and the counts, each result counted. Before a result that came too often
    stands a note for the model, at the latest before the call that would end the run.
    """
    asked = {request.id: request for request in requests}
    times = dict(repeats.times)
    results = dict(repeats.results)
    noted: list[PendingCall] = []
    for call in pending:
        request = asked.get(call.call)
        if request and isinstance(call, AnsweredCall) and call.content != DECLINED:
            key = same_call(request)
            result = _digest(call.content)
            times[key] = times.get(key, 0) + 1 if results.get(key) == result else 1
            results[key] = result
            call = _noted(call, times[key], limit)
        noted.append(call)
    return tuple(noted), RepeatCounts(times, results)


def _noted(call: AnsweredCall, times: int, limit: int | None) -> AnsweredCall:
    if limit is None or call.ends or times < min(NOTED_FROM, limit - 1):
        return call
    note = (
        f"[This call was made {times} times with the same arguments and the same result: do "
        f"something else, or answer with what is known. At {limit} times the run is stopped.]\n"
    )
    return replace(call, remark=note + call.remark)
