"""The search of an agent: the query to the index, and the passages that it gave."""

from processors.common.text import clean, label, ms_between
from schemas.events.agent.runs import PassagesAsked, PassagesFound, ToolFailed
from schemas.ports import Failure, Impossible, SearchAnswer, SearchQuestion, Uncertain


def ask(asked: PassagesAsked) -> SearchQuestion | Impossible:
    """A tenant's own knowledge only: the tenant is the event's, never the model's to choose."""
    if not asked.query.strip():
        return Impossible("empty_query", "the query has no text: say what to search for")
    return SearchQuestion(asked.tenant, asked.query, asked.limit)


def tell(
    asked: PassagesAsked, answer: SearchAnswer | Failure | Uncertain
) -> list[PassagesFound | ToolFailed]:
    times = {
        "at": answer.at,
        "started_at": answer.started_at,
        "wait_ms": ms_between(answer.started_at, answer.at),
    }
    if isinstance(answer, SearchAnswer):
        return [asked.then(PassagesFound, passages=answer.passages, **times)]
    reason = answer.reason if isinstance(answer, Failure) else "uncertain"
    return [asked.then(ToolFailed, reason=label(reason), detail=clean(answer.detail), **times)]
