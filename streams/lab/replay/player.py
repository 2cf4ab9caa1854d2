"""How is a recording played through the running pipeline, and what did the pipeline make of it?

Each conversation is a session: its next user message is sent when the run of the one before is
over. What was said is put together again from the pipeline's own events, so that it can be held
against the recording.
"""

import queue
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from schemas.events.agent.models import ResponseCleared
from schemas.events.agent.runs import RequestRefused, ResultCleared, RunFinished
from schemas.events.base import Event
from schemas.events.values import Message
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.engine.client import Publisher, Watch, request
from streams.lab.replay.recording import TENANT, Conversation, first_difference

HEARD: tuple[type[Event], ...] = (RunFinished, RequestRefused, ResponseCleared, ResultCleared)


@dataclass
class Played:
    """What came out of one conversation so far: its runs in order, and what each run said."""

    runs: list[RunFinished] = field(default_factory=list)
    responses: dict[UUID, dict[int, ResponseCleared]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    results: dict[tuple[UUID, int], dict[str, ResultCleared]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    refused: str = ""

    def note(self, event: Event) -> None:
        if isinstance(event, RunFinished):
            self.runs.append(event)
        elif isinstance(event, ResponseCleared):
            self.responses[event.run][event.step] = event
        elif isinstance(event, ResultCleared):
            self.results[event.run, event.step][event.call] = event
        elif isinstance(event, RequestRefused):
            self.refused = f"{event.reason}: {event.detail}"

    def messages(self, prompt: str) -> tuple[Message, ...]:
        """The conversation as the events tell it, with the prompt before it."""
        said = [Message(role="system", content=prompt)]
        for run in self.runs:
            said.append(Message(role="user", content=run.text))
            for step, response in sorted(self.responses[run.run].items()):
                said.append(
                    Message(
                        role="assistant", content=response.content, tool_calls=response.tool_calls
                    )
                )
                results = self.results[run.run, step]
                said.extend(
                    Message(
                        role="tool",
                        content=results[call.id].content,
                        tool_call_id=call.id,
                        name=call.name,
                    )
                    for call in response.tool_calls
                    if call.id in results
                )
        return tuple(said)

    def complete(self, talk: Conversation) -> bool:
        """Whether every event of the conversation has been heard; they come on several topics, in
        any order.
        """
        return len(self.runs) >= len(talk.turns) and len(self.messages(talk.prompt)) >= len(
            talk.messages
        )


def difference(talk: Conversation, played: Played) -> str | None:
    """What is not as recorded, in one line; None where all is equal."""
    if played.refused:
        return f"a request was refused: {played.refused}"
    failed = next((run for run in played.runs if run.outcome != "completed"), None)
    if failed:
        return f"turn {played.runs.index(failed) + 1} ended {failed.outcome}: {failed.reason} {failed.detail}"[
            :600
        ]
    return first_difference(talk.messages, played.messages(talk.prompt))


def play(
    settings: Settings,
    codec: Codec,
    talks: Iterable[Conversation],
    batch: str,
    progress: Callable[[int], None],
    quiet_s: float = 60,
) -> dict[int, Played]:
    """Plays all conversations at once; ends when all are through, or when nothing was heard for
    `quiet_s`.
    """
    waiting = {f"{batch}-{talk.number}": talk for talk in talks}
    played = {talk.number: Played() for talk in waiting.values()}
    heard: queue.Queue[Event] = queue.Queue()
    publisher = Publisher(settings, codec)
    with Watch(settings, codec, HEARD, heard.put):
        for session in waiting:
            _send(publisher, waiting[session], played[waiting[session].number], session)
        while waiting:
            try:
                event = heard.get(timeout=quiet_s)
            except queue.Empty:
                return played
            talk = waiting.get(event.session)  # type: ignore[attr-defined]
            if talk is None:
                continue
            so_far = played[talk.number]
            so_far.note(event)
            if (
                isinstance(event, RunFinished)
                and event.outcome == "completed"
                and len(so_far.runs) < len(talk.turns)
            ):
                _send(publisher, talk, so_far, event.session)
            ended = isinstance(event, RequestRefused) or (
                isinstance(event, RunFinished) and event.outcome != "completed"
            )
            if ended or so_far.complete(talk):
                del waiting[event.session]  # type: ignore[attr-defined]
                progress(len(played) - len(waiting))
    return played


def _send(publisher: Publisher, talk: Conversation, so_far: Played, session: str) -> None:
    publisher.publish(
        request(
            TENANT, talk.agent, talk.turns[len(so_far.runs)], session=session, user=str(talk.number)
        )
    )
    publisher.flush()
