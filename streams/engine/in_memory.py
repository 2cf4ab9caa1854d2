"""The pipeline in memory, without Kafka: for tests, and for trying an agent.

Every stage is one `Core` with all keys in one partition, and every Call is asked at once, in the
order in which its questions arose; so a run here is one of the orders that Kafka allows, and always
the same one. There are no batches, transactions or restarts here. What would be dead-lettered there
is a DeadLettered event here too.
"""

import asyncio
import inspect
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from schemas.definitions.kinds import Definitions
from schemas.events.base import Event, UnprocessableError
from schemas.events.operations import DeadLettered, Reason
from schemas.ports import ChatQuestion, Failure, Impossible
from schemas.wire.codec import to_json
from streams.engine.calls.conversation_cache import Conversations
from streams.engine.shapes import Call, Step, inputs, kinds, stages
from streams.engine.stages.core import Core, Failed
from streams.engine.stages.windows import NEVER


class Local:
    """A pipeline in memory. `ports` answer the Calls: name -> callable of a question, plain or
    async.

    `definitions` is a snapshot of the definitions, or a function that returns the one in force.
    `heard` is told of every event as soon as it is made.
    """

    def __init__(
        self,
        pipeline: tuple[Step, ...],
        definitions: Definitions | Callable[[], Definitions] = Definitions,
        ports: Mapping[str, Callable[[Any], Any]] | None = None,
        heard: Callable[[Event], None] = lambda event: None,
    ):
        self._heard = heard
        self._newest = definitions if callable(definitions) else lambda: definitions
        self._ports = {"webhook": _nobody} | dict(ports or {})
        inner = tuple(step for step in pipeline if not isinstance(step.by, Call))
        self._cores = {key: Core(steps, self._newest) for key, steps in stages(inner).items()}
        self._stages_of: dict[type[Event], list[str]] = {}
        for key, steps in stages(inner).items():
            for kind in inputs(steps, inner):
                self._stages_of.setdefault(kind, []).append(key)
        calls = [step for step in pipeline if isinstance(step.by, Call)]
        self._calls = [(step, frozenset(kinds(step.reads))) for step in calls]
        for step, _ in self._calls:
            if step.call.port not in self._ports:
                raise ValueError(
                    f"{step.name} asks the port {step.call.port!r}: give Local "
                    f"ports={{{step.call.port!r}: ...}}, a function from its question to its answer"
                )
        self._loop: asyncio.Runner | None = None
        self._letters = 0
        self._conversations = Conversations()
        self.now = NEVER

    def send(self, *events: Event) -> list[Event]:
        """Everything that these events cause, in order; the events themselves are not among it."""
        said: list[Event] = []
        queue = deque(events)
        while queue:
            caused = self._take(queue.popleft())
            for event in caused:
                self._heard(event)
            said += caused
            queue += caused
        return said

    def advance(self, to: datetime) -> list[Event]:
        """Moves time on to `to`: timers fire in their order, then windows that are over speak. What
        that causes.
        """
        said: list[Event] = []
        while (due := self._next_wake()) is not None and due[0] <= to:
            at, key = due
            self.now = max(self.now, at)
            said += self._spread(self._cores[key].fire(at), key)
        self.now = max(self.now, to)
        for key, core in self._cores.items():
            said += self._spread(core.pass_time(to), key)
        return said

    def close(self) -> None:
        """Ends the loop that async ports ran in, if there was one."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _next_wake(self) -> tuple[datetime, str] | None:
        return min(
            ((at, key) for key, core in self._cores.items() if (at := core.next_wake)), default=None
        )

    def _spread(self, made: list[Event], key: str) -> list[Event]:
        made = made + self._letters_of(self._cores[key], key)
        for event in made:
            self._heard(event)
        return made + self.send(*made)

    def _take(self, event: Event) -> list[Event]:
        self.now = max(self.now, event.at)
        caused: list[Event] = []
        for key in self._stages_of.get(type(event), ()):
            core = self._cores[key]
            try:
                caused += core.take(event)
            except Exception as error:
                caused.append(self._letter(key, event, error))
            caused += self._letters_of(core, key)
        for step, reads in self._calls:
            if type(event) in reads:
                caused += self._call(step, event)
        return caused

    def _call(self, step: Step, event: Event) -> list[Event]:
        definitions = self._newest()
        try:
            question = step.call.run_ask(event, definitions)
            if isinstance(question, ChatQuestion):
                question = self._conversations.whole(question)
            if isinstance(question, Impossible):
                answer = Failure(question.reason, question.detail, started_at=self.now, at=self.now)
            else:
                answer = self._answer(self._ports[step.call.port](question))
            return list(step.call.run_tell(event, answer, definitions))
        except Exception as error:
            return [self._letter(step.name, event, error)]

    def _answer(self, answer: Any) -> Any:
        if not inspect.isawaitable(answer):
            return answer
        if self._loop is None:
            self._loop = asyncio.Runner()
        return self._loop.run(_awaited(answer))

    def _letters_of(self, core: Core, key: str) -> list[Event]:
        late: list[Event] = [
            self._dead(
                f"{key}/{step}",
                event.topic(),
                to_json(event),
                event.tenant,
                event.at,
                ("late", f"the windows of {step} that it belongs to were over"),
            )
            for step, event in core.drain_late()
        ]
        return late + [self._letter_of(key, failed) for failed in core.drain_failed()]

    def _letter_of(self, key: str, failed: Failed) -> DeadLettered:
        tenant = failed.key.partition("/")[0]
        return self._dead(
            f"{key}/{failed.step}",
            failed.step,
            failed.subject,
            tenant,
            failed.at,
            _why(failed.error),
        )

    def _letter(self, consumer: str, event: Event, error: Exception) -> DeadLettered:
        return self._dead(
            consumer, event.topic(), to_json(event), event.tenant, event.at, _why(error)
        )

    def _dead(
        self,
        consumer: str,
        source: str,
        text: str,
        tenant: str,
        at: datetime,
        why: tuple[Reason, str],
    ) -> DeadLettered:
        """There is no record here: the dead letter's value is the event's JSON, its offset the dead
        letter's own number.
        """
        self._letters += 1
        reason, detail = why
        return DeadLettered.about(
            "local",
            self._letters,
            at=at,
            tenant=tenant,
            source=f"local/{source}",
            topic_name=source,
            partition=0,
            offset=self._letters - 1,
            record_value=text.encode(),
            consumer=consumer,
            reason=reason,
            detail=detail,
        )


def _nobody(question: Any) -> Failure:
    """Nobody outside is told anything by a run in memory, unless it is given a port for it."""
    return Failure("no_port", f"{question} is not sent by a run in memory", NEVER, NEVER)


async def _awaited(answer: Any) -> Any:
    return await answer


def _why(error: Exception) -> tuple[Reason, str]:
    if isinstance(error, UnprocessableError):
        return "unprocessable", str(error)
    return "error", f"{type(error).__name__}: {error}"
