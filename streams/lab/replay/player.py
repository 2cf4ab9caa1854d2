"""Plays recorded conversations through the running pipeline and collects the result.

Each conversation is a session: its next user message is sent when the previous run is over. The
resulting conversation is assembled from the pipeline's events, to be compared with the recording.
"""

import queue
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from uuid import UUID

from schemas.events.agent.models import ResponseCleared
from schemas.events.agent.runs import RequestRefused, ResultCleared, RunFinished
from schemas.events.base import Event, SessionEvent
from schemas.events.values import Message
from schemas.wire.codec import Codec
from streams.config import Settings
from streams.engine.client import Publisher, Watch, request
from streams.lab.replay.recording import TENANT, Conversation, first_difference

WATCHED: tuple[type[Event], ...] = (RunFinished, RequestRefused, ResponseCleared, ResultCleared)


@dataclass
class Played:
    """The result of one conversation so far: its runs in order, with responses and results."""

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
        """The conversation of the events, with the prompt before it."""
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
        """Whether every event of the conversation came, from all topics."""
        return len(self.runs) >= len(talk.turns) and len(self.messages(talk.prompt)) >= len(
            talk.messages
        )


def difference(talk: Conversation, played: Played) -> str | None:
    """The first difference from the recording, in one line; None where all is equal."""
    if played.refused:
        return f"a request was refused: {played.refused}"
    failed = next((run for run in played.runs if run.outcome != "completed"), None)
    if failed:
        turn = played.runs.index(failed) + 1
        return f"turn {turn} ended {failed.outcome}: {failed.reason} {failed.detail}"[:600]
    return first_difference(talk.messages, played.messages(talk.prompt))


def play(
    settings: Settings,
    codec: Codec,
    talks: Iterable[Conversation],
    batch: str,
    progress: Callable[[int], None],
    quiet_s: float = 60,
) -> dict[int, Played]:
    """Play all conversations at once, until all are complete or nothing came for `quiet_s`."""
    waiting = {f"{batch}-{talk.number}": talk for talk in talks}
    played = {talk.number: Played() for talk in waiting.values()}
    events: queue.Queue[Event] = queue.Queue()
    publisher = Publisher(settings, codec)
    with Watch(settings, codec, WATCHED, events.put):
        for session in waiting:
            _send(publisher, waiting[session], played[waiting[session].number], session)
        while waiting:
            try:
                event = events.get(timeout=quiet_s)
            except queue.Empty:
                return played
            talk = waiting.get(event.session) if isinstance(event, SessionEvent) else None
            if talk is None or not isinstance(event, SessionEvent):
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
                del waiting[event.session]
                progress(len(played) - len(waiting))
    return played


def _send(publisher: Publisher, talk: Conversation, so_far: Played, session: str) -> None:
    publisher.publish(
        request(
            TENANT, talk.agent, talk.turns[len(so_far.runs)], session=session, user=str(talk.number)
        )
    )
    publisher.flush()
