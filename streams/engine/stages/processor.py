"""What becomes of one record that a stage takes: which records follow from it, or which dead
letter?

No Kafka client here: bytes in, records to be written out. A stage decides the order between its
topics, so what it takes is numbered, and what follows carries the number (`weir_seq`).

Some dozens of records are taken together, in three passes: all are read, then all are taken, in
order, then what follows is written. One pass's code fits into the processor's caches and all of it
does not: a third is saved.
"""

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from confluent_kafka import Message

from schemas.definitions.kinds import Definitions
from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event, UnprocessableError
from schemas.events.operations import DeadLettered, Reason
from schemas.wire.codec import (
    Codec,
    DecodeError,
    Headers,
    headers_of,
    to_json,
    trace_of,
    traceparent_of,
)
from schemas.wire.large_bodies import ObjectStoreError
from schemas.wire.record_types import RecordTypes, UnknownRecordTypeError
from streams.config import Settings
from streams.engine import dead_letters
from streams.engine.calls.in_flight import CallKey
from streams.engine.calls.stage_calls import UnaskableError
from streams.engine.dead_letters import Rejection
from streams.engine.kafka import offset_of, partition_of, record_headers
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.schema_registry import NotRegisteredError, RegistryUnavailableError
from streams.engine.shapes import Fold, SessionGap, Step, Window, inputs
from streams.engine.stages.core import Core, Failed
from streams.engine.stages.open_calls import OpenQuestion
from streams.engine.stages.partition import Partition, Partitioner

Record = tuple[str, bytes, bytes, Headers]
"""Topic, value, key, headers."""

SEQ = "weir_seq"
ENDS = {RunFinished, RequestRefused}
"""What a request ends with."""
Refusal = tuple[Reason, str]
"""Why a record is a dead letter."""

Taken = tuple[Refusal | None, list[Event], int, list[tuple[str, Event]], list[Failed]]
"""The refusal, or what follows from a record: events, the record's number, late events by step,
what failed.
"""


Origin = Message | CallKey | None
"""What records follow from: a record, the answer to a call, or a timer (None)."""


class UnwritableError(Exception):
    """What followed from a record or an answer cannot be written: that becomes a dead letter."""

    def __init__(self, origin: Origin, why: str):
        super().__init__(why)
        self.origin = origin


class Taker:
    """Takes records for the partitions of one stage. `partitions` is the count that all its topics
    have.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        steps: tuple[Step, ...],
        codec: Codec,
        partitions: int,
        pipeline: tuple[Step, ...],
    ):
        self.types = RecordTypes(settings.prefix, inputs(steps, pipeline))
        self.dead: dict[Reason, int] = {}
        self.ended: dict[str, int] = {}
        self.share = dead_letters.ShareLimit(settings.dead_share_max)
        self._settings, self._name, self._codec = settings, name, codec
        self._partitioner = Partitioner(partitions)
        self._steps = steps
        self._wakes = {
            step.by.wakes for step in steps if isinstance(step.by, Fold) and step.by.wakes
        }
        self._topics: dict[type[Event], str] = {}
        self._definitions = Definitions()
        self._refused: dict[tuple[str, int, int] | CallKey, str] = {}
        self.asked: list[tuple[int, OpenQuestion]] = []
        self.over: list[tuple[str, UUID]] = []
        self._window_span = max(
            (span_of(step.by) for step in steps if isinstance(step.by, Window)), default=timedelta()
        )
        self._future, self._age = (
            timedelta(seconds=settings.future_s),
            timedelta(days=settings.expired_days),
        )

    @property
    def has_windows(self) -> bool:
        return any(isinstance(step.by, Window) for step in self._steps)

    def core(self) -> Core:
        """A core as it is before any event, on the definitions that `use` was given last."""
        by_words = self._settings.control != "words"
        return Core(self._steps, lambda: self._definitions, self.types.wanted, by_words)

    @property
    def definitions(self) -> Definitions:
        """The definitions that `use` was given last."""
        return self._definitions

    def use(self, definitions: Callable[[], Definitions]) -> None:
        """Takes the newest definitions: between transactions, so that what cannot be read stops the
        worker.
        """
        if any(step.needs_definitions for step in self._steps):
            self._definitions = definitions()

    def refuse(self, origin: Message | CallKey, why: str) -> None:
        """From now on this record or answer is a dead letter: what follows from it was tried and
        cannot be written.
        """
        place = origin if isinstance(origin, CallKey) else _place_of(origin)
        self._refused[place] = why

    def tell(self, metrics: Metrics | None) -> None:
        """What became of the records since the last time, as numbers; of a transaction that was not
        to be, nothing.
        """
        if metrics is not None:
            for reason, count in self.dead.items():
                metrics.count("weir_dead_letters", count, consumer=self._name, reason=reason)
            for outcome, count in self.ended.items():
                metrics.count("weir_runs_ended", count, outcome=outcome)
        self.dead.clear()
        self.ended.clear()
        self.over.clear()

    def take(
        self,
        held: dict[int, Partition],
        messages: list[Message],
        now: datetime,
        until: float = math.inf,
    ) -> list[list[Record]]:
        """What follows from each record, a dead letter where it cannot be taken. Raises
        UnwritableError.

        Takes the first, and others until `time.perf_counter()` has reached `until`.
        """
        read = [self._read(message) for message in messages]
        partitions = [held[partition_of(message)[1]] for message in messages]
        latest, oldest = now + self._future, now - self._age
        taken: list[Taken] = []
        for partition, message, event in zip(partitions, messages, read, strict=True):
            taken.append(self._taken(partition, message, event, latest, oldest))
            if time.perf_counter() >= until:
                break
        return [
            self._written(partition, message, each, now)
            for partition, message, each in zip(partitions, messages, taken, strict=False)
        ]

    def _read(self, message: Message) -> Event | Refusal | None:
        """The record's event, why it is none, or None where its class is none of this stage's."""
        if self._refused:
            why = self._refused.get(_place_of(message))
            if why is not None:
                return "rejected", why
        try:
            kind = self.types.of(message)
            if kind is None:
                return None
            return self._codec.decode(kind, message.value(), message.key() or b"")
        except UnknownRecordTypeError as error:
            return "unknown_schema", str(error)
        except DecodeError as error:
            return error.reason, error.detail

    def _taken(
        self,
        partition: Partition,
        message: Message,
        event: Event | Refusal | None,
        latest: datetime,
        oldest: datetime,
    ) -> Taken:
        partition.pass_over(message)
        core = partition.core
        if event is None:
            return None, [], core.seq, [], []
        made: list[Event] = []
        refusal: Refusal | None
        if isinstance(event, tuple):
            refusal = event
        elif (refusal := self._misplaced(event, message, latest, oldest)) is None:
            try:
                made = core.take(event)
            except UnprocessableError as error:
                refusal = "unprocessable", str(error)
            except Exception as error:  # a processor's mistake: the partition goes on without it
                refusal = "error", f"{type(error).__name__}: {error}"
        self.share.add(refusal is not None)
        self._ask(partition, trace_of(record_headers(message)) if made else None)
        return refusal, made, core.seq, core.drain_late(), core.drain_failed()

    def _ask(self, partition: Partition, trace: str | None) -> None:
        self.asked += [(partition.number, call) for call in partition.core.drain_asked(trace)]

    def answer(
        self, partition: Partition, call: OpenQuestion, answer: Any, now: datetime
    ) -> list[Record]:
        """What follows from the answer to an open question, a dead letter where nothing can be told
        of it. Raises UnwritableError.
        """
        core = partition.core
        partition.is_busy()
        why = self._refused.get(call.key)
        try:
            if why is not None:
                raise ValueError(f"its answer cannot be written: {why}")
            if isinstance(answer, UnaskableError):
                raise answer.__cause__ or answer
            made = core.answer(call.key, answer)
        except Exception as error:  # a mistake of the step that tells; the partition goes on
            core.give_up(call.key)
            failed = Failed(
                call.step.name,
                call.event.partition_key(),
                call.event.at,
                to_json(call.event),
                error,
            )
            return self._failures([failed], partition, core.seq, now)
        self._ask(partition, call.trace)
        number = b"%d" % core.seq
        try:
            records = [self._record(event, call.trace, number) for event in made]
        except (NotRegisteredError, RegistryUnavailableError, ObjectStoreError):
            raise
        except Exception as error:  # whatever an encoder meets in a value that an answer brought
            raise UnwritableError(call.key, f"{type(error).__name__}: {error}") from error
        return records + self._failures(core.drain_failed(), partition, core.seq, now)

    def _written(
        self, partition: Partition, message: Message, taken: Taken, now: datetime
    ) -> list[Record]:
        refusal, made, seq, late, failed = taken
        if refusal is not None:
            rejection = Rejection(*refusal, self._name, now)
            return [self._letter(dead_letters.letter(message, rejection))]
        try:
            number = b"%d" % seq
            trace = trace_of(record_headers(message))
            records = [self._record(event, trace, number) for event in made]
            if late:
                records += [self._late(message, step, event, now) for step, event in late]
            return records + self._failures(failed, partition, seq, now) if failed else records
        except (NotRegisteredError, RegistryUnavailableError, ObjectStoreError):
            raise
        except Exception as error:  # whatever an encoder meets in a value that a step made
            raise UnwritableError(
                message, f"what follows from it cannot be written: {type(error).__name__}: {error}"
            ) from error

    def _misplaced(
        self, event: Event, message: Message, latest: datetime, oldest: datetime
    ) -> Refusal | None:
        """A record on a partition that is not its key's would split the state of the key in two."""
        home = self._partitioner.of(message.key() or b"")
        number = message.partition()
        if home != number:
            return "wrong_key", (
                f"its key belongs on partition {home}, not {number}: set "
                f"partitioner=murmur2_random where it is produced"
            )
        if event.at > latest and self._from_outside(message):
            return (
                "future",
                f"it happened at {event.at.isoformat()}, more than {self._future} from now",
            )
        if event.at < oldest and self._from_outside(message):
            return "expired", f"it happened at {event.at.isoformat()}, more than {self._age} ago"
        return None

    def _from_outside(self, message: Message) -> bool:
        return all(name != SEQ for name, _ in message.headers() or ())

    def wake(self, partition: Partition, now: datetime) -> list[Record]:
        """What follows from the timers that are due."""
        seq, records = partition.core.seq, []
        fired = partition.core.fire(now)
        self._ask(partition, None)
        for event in fired:
            seq += type(event) in self._wakes
            records.append(self._record(event, None, b"%d" % seq))
        return records + self._failures(
            partition.core.drain_failed(), partition, partition.core.seq, now
        )

    def pass_time(self, partition: Partition, to: datetime, now: datetime) -> list[Record]:
        """What follows from the end of windows on a partition that is quiet."""
        core = partition.core
        seq = b"%d" % core.seq
        partition.last_event_at = partition.last_event_at or core.watermark
        records = [self._record(event, None, seq) for event in core.pass_time(to)]
        partition.windows_may_be_open = to < partition.last_event_at + self._window_span
        return records + self._failures(core.drain_failed(), partition, core.seq, now)

    def _record(self, event: Event, trace: str | None, seq: bytes) -> Record:
        kind = type(event)
        if kind in ENDS:
            outcome = getattr(event, "outcome", "refused")
            self.over.append((event.partition_key(), getattr(event, "run", event.id)))
            self.ended[outcome] = self.ended.get(outcome, 0) + 1
        topic = self._topics.get(kind)
        if topic is None:
            topic = self._topics[kind] = self._settings.prefix + kind.topic()
        headers = headers_of(event, traceparent_of(event, trace) if trace else None)
        headers.append((SEQ, seq))
        return topic, self._codec.encode(event), event.partition_key().encode(), headers

    def _letter(self, letter: DeadLettered) -> Record:
        self.dead[letter.reason] = self.dead.get(letter.reason, 0) + 1
        self.last_death = f"{letter.reason}: {letter.detail}"
        topic = self._settings.prefix + letter.topic()
        return (
            topic,
            self._codec.encode(letter),
            letter.partition_key().encode(),
            headers_of(letter),
        )

    def _late(self, message: Message, step: str, event: Event, now: datetime) -> Record:
        detail = f"the windows of {step} that its time {event.at.isoformat()} belongs to were over"
        rejection = Rejection("late", detail, f"{self._name}/{step}", now)
        value = self._codec.encode(event)
        return self._letter(dead_letters.letter_about(event, value, message, rejection))

    def _failures(
        self, failed: list[Failed], partition: Partition, seq: int, now: datetime
    ) -> list[Record]:
        return [
            self._letter(
                dead_letters.letter_of_timer(
                    each.key,
                    each.at.isoformat(),
                    each.subject,
                    partition.number,
                    seq,
                    Rejection(
                        "unprocessable" if isinstance(each.error, UnprocessableError) else "error",
                        f"{type(each.error).__name__}: {each.error}",
                        f"{self._name}/{each.step}",
                        now,
                    ),
                )
            )
            for each in failed
        ]


def span_of(window: Window) -> timedelta:
    """How long after its last event a window may stay open, in event time."""
    length = window.spans.gap if isinstance(window.spans, SessionGap) else window.spans.size
    return length + window.grace


def _place_of(message: Message) -> tuple[str, int, int]:
    return (*partition_of(message), offset_of(message))


def now_utc() -> datetime:
    return datetime.now(UTC)
