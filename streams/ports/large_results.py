"""Results of tools that are longer than a model may read.

The whole result is stored in the object store, before there is an event that names it; the event
has what the tool's `shorten` leaves of it. In a thread, few at a time: hundreds of calls do not
wait while one result of 20 MB is read through.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from processors.tools.call import broken
from processors.tools.truncate import shortened
from schemas.ports import Failure, ToolAnswer, ToolQuestion
from schemas.wire.large_bodies import Objects, ObjectStoreError, body_of
from sinks.runtime import now_utc

log = logging.getLogger(__name__)

AT_ONCE = 2


class LargeResults:
    """Shortens such a result, for a ToolRunner."""

    def __init__(self, objects: Objects, now: Callable[[], datetime] = now_utc):
        self._objects = objects
        self._now = now
        self._places = asyncio.Semaphore(AT_ONCE)

    async def __call__(self, question: ToolQuestion, answer: ToolAnswer) -> ToolAnswer | Failure:
        async with self._places:
            return await asyncio.to_thread(self._kept, question, answer)

    def _kept(self, question: ToolQuestion, answer: ToolAnswer) -> ToolAnswer | Failure:
        wrong = broken(question.returns, question.effect, answer.content)
        if wrong:
            return Failure("bad_result", wrong, answer.started_at, self._now())
        body, data = body_of(question.context.get("tenant", ""), answer.content)
        try:
            self._objects.put(body.key, data)
        except (
            ObjectStoreError
        ) as away:  # the call is done, and the model can go on with what it sees of it
            log.error("a result of %s is not kept: %s", question.tool, away)
            body = None
        shown = shortened(
            answer.content, question.shorten, question.shown_chars, kept=body is not None
        )
        return replace(answer, content=shown, whole=body)
