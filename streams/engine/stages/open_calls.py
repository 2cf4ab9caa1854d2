"""The questions of one partition that have no answer yet, as a part of the stage's state.

They stand in the changelog as every other state does, so that whoever takes a partition over asks
again what nobody answered. A question that is answered in the transaction that asks it is never
written there.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from schemas.events.base import Event
from streams.engine.calls.in_flight import CallKey
from streams.engine.shapes import Step, kinds
from streams.engine.stages.fold_state import GONE, Journal

PART_BYTES = 900_000
Cell = tuple[list, bytes | None]


@dataclass(frozen=True)
class OpenQuestion:
    """A question without an answer. `attempt` counts the processes that asked it, this one too."""

    step: Step
    event: Event
    words: str
    trace: str | None = None
    attempt: int = 1

    @property
    def key(self) -> CallKey:
        return CallKey(self.step.name, self.event.id, self.words)


class OpenCalls:
    """The open questions of one step, by the id of their event. With `by_words` off, what is asked
    under an id is taken for what was asked under it before: a negative control.
    """

    def __init__(self, step: Step, journal: Journal, by_words: bool = True):
        self.step, self._journal, self._by_words = step, journal, by_words
        self._open: dict[UUID, OpenQuestion] = {}
        self._dirty: dict[UUID, None] = {}
        self._parts: dict[UUID, int] = {}
        self._loaded: dict[UUID, dict[int, bytes]] = {}
        self._kinds = {kind.__name__: kind for kind in kinds(step.reads)}

    def open(self, event: Event) -> OpenQuestion:
        words = digest_of(event.model_dump_json()) if self._by_words else ""
        call = OpenQuestion(self.step, event, words)
        self._put(event.id, call)
        return call

    def find(self, key: CallKey) -> OpenQuestion | None:
        """The open question of that id and those words."""
        call = self._open.get(key.id)
        return call if call is not None and call.words == key.words else None

    def close(self, key: CallKey) -> None:
        self._put(key.id, GONE)

    def trace(self, key: CallKey, trace: str | None) -> OpenQuestion:
        """Notes the trace that what is told belongs to."""
        self._open[key.id] = call = replace(self._open[key.id], trace=trace)
        return call

    def again(self, key: CallKey) -> OpenQuestion:
        """Notes that a question is asked once more."""
        call = self._open[key.id]
        call = replace(call, attempt=call.attempt + 1)
        self._put(key.id, call)
        return call

    def all(self) -> Iterable[OpenQuestion]:
        return self._open.values()

    def _put(self, ident: UUID, call: Any) -> None:
        self._journal.put(self._open, ident, call)
        self._dirty[ident] = None

    def changes(self) -> Iterable[Cell]:
        """Cell and value (None: gone) of everything changed since the last call."""
        for ident in self._dirty:
            call, before = self._open.get(ident), self._parts.pop(ident, 0)
            parts = [] if call is None else _parts_of(call)
            yield from ((self._cell(ident, nth), part) for nth, part in enumerate(parts))
            yield from ((self._cell(ident, nth), None) for nth in range(len(parts), before))
            if parts:
                self._parts[ident] = len(parts)
        self._dirty.clear()

    def _cell(self, ident: UUID, nth: int) -> list:
        return ["call", self.step.name, str(ident), nth]

    def load(self, ident: str, nth: int, value: bytes | None) -> None:
        if value is not None:
            self._loaded.setdefault(UUID(ident), {})[nth] = value

    def join(self) -> list[UUID]:
        """Makes questions of what was loaded; the ids of those of which a part is missing."""
        incomplete = []
        for ident, parts in self._loaded.items():
            head, _, body = parts.get(0, b"").partition(b"\n")
            known = json.loads(head or b'{"parts":0}')
            if not head or len(parts) < known["parts"]:
                incomplete.append(ident)
                continue
            body += b"".join(parts[nth] for nth in range(1, known["parts"]))
            event = self._kinds[known["kind"]].model_validate_json(body)
            self._open[ident] = OpenQuestion(
                self.step, event, known["words"], known["trace"], known["attempt"]
            )
            self._parts[ident] = known["parts"]
        self._loaded.clear()
        return incomplete


def _parts_of(call: OpenQuestion) -> list[bytes]:
    """A question as records that Kafka takes: what is known of it on a line, then its event."""
    body = call.event.model_dump_json().encode()
    rest = [body[at : at + PART_BYTES] for at in range(PART_BYTES, len(body), PART_BYTES)]
    head = {
        "kind": type(call.event).__name__,
        "words": call.words,
        "trace": call.trace,
        "attempt": call.attempt,
        "parts": 1 + len(rest),
    }
    return [json.dumps(head).encode() + b"\n" + body[:PART_BYTES], *rest]


def digest_of(words: str) -> str:
    """A short name for exactly these words."""
    return hashlib.sha256(words.encode()).hexdigest()[:20]
