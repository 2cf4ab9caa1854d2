"""What the live views add up, out of what finished, was refused, was asked of a model or was found
by a policy: one small event each, so that the views need not read the events themselves.
"""

from typing import Any

from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.guardrails import VerdictReached
from schemas.events.operations import LiveFigures
from schemas.events.usage import TokensUsed

ERRORS = ("failed", "stopped")
NOTHING: dict[str, Any] = {
    name: info.default
    for name, info in LiveFigures.model_fields.items()
    if not info.is_required() and name != "cause"
}
"""All that an event does not say; fields of the same name in its cause are other figures."""


def figures_of_session(event: RunFinished | RequestRefused | VerdictReached) -> list[LiveFigures]:
    """A run counts when it has finished, a refusal and a verdict at once."""
    said: dict[str, Any]
    match event:
        case RunFinished():
            said = {
                "model": event.model,
                "runs": 1,
                "errors": int(event.outcome in ERRORS),
                "blocked": int(event.outcome == "blocked"),
                "wait_ms": event.wait_ms,
            }
        case RequestRefused():
            said = {"refused": 1}
        case _:
            said = {"verdicts": 1}
    return [event.then(LiveFigures, **(NOTHING | {"agent": event.agent} | said))]


def figures_of_usage(used: TokensUsed) -> list[LiveFigures]:
    """A model call counts when it is metered: a run that still goes on shows what it took."""
    said = {
        "agent": used.agent,
        "model": used.model,
        "model_calls": 1,
        "unpriced_calls": int(used.cost_usd is None),
        "input_tokens": used.tokens.input_tokens,
        "output_tokens": used.tokens.output_tokens,
        "cost_usd": used.cost_usd,
    }
    return [used.then(LiveFigures, **(NOTHING | said))]
