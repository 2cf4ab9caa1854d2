"""Which definitions are in force? A compacted topic holds every version; each worker reads it whole
and follows it.
"""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from pydantic import ValidationError

from schemas.definitions.base import Definition
from schemas.definitions.kinds import KINDS, Agent, DefinitionApplied, Definitions
from schemas.definitions.prompts import Alias, PromptUse
from schemas.wire.codec import Codec, DecodeError, headers_of
from streams.config import Settings
from streams.engine.kafka import consumer, high_watermark, offset_of, producer

log = logging.getLogger(__name__)

EVERYONE = "weir"
"""The tenant of definitions: they are the installation's."""


@dataclass(frozen=True)
class Authorship:
    """When a definition was put in force or taken out of it, and by whom."""

    at: datetime
    author: str


class Follower:
    """Reads the topic to its end, then follows it in a daemon thread. Needs a codec of its own (one
    a thread).
    """

    def __init__(self, settings: Settings, codec: Codec, beat: Callable[[], None] = lambda: None):
        self._settings, self._codec, self._beat = settings, codec, beat
        self._topic = settings.prefix + DefinitionApplied.topic()
        self._snapshot = Definitions()
        self._loaded, self._closing = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="definitions", daemon=True)
        self._thread.start()

    def current_definitions(self) -> Definitions:
        """The newest snapshot. Waits for the first one.

        Raises RuntimeError where the topic cannot be read any further.
        """
        if not self._loaded.is_set():
            while not self._loaded.wait(1.0):
                self._beat()
        if self._failure is not None:
            raise RuntimeError(
                f"the definitions on {self._topic} can no longer be followed ({self._failure}): "
                f"see that the topic is there (`weir up` makes it) and start again"
            ) from self._failure
        return self._snapshot

    def known(self) -> int:
        """How many versions of definitions have been read so far."""
        return len(self._snapshot.bodies)

    def close(self) -> None:
        self._closing.set()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            self._follow()
        except BaseException as error:
            self._failure = error
            log.exception("definitions are no longer followed")
        finally:
            self._loaded.set()

    def _follow(self) -> None:
        first, end = high_watermark(self._settings, self._topic, 0)
        reader = consumer(
            self._settings,
            "definitions",
            **{"enable.partition.eof": True, "group.protocol": "classic", "fetch.wait.max.ms": 500},
        )
        reader.assign([TopicPartition(self._topic, 0, first)])
        if first >= end:
            self._loaded.set()
        try:
            while not self._closing.is_set():
                self._take(reader, end)
        finally:
            reader.close()

    def _take(self, reader: Consumer, end: int) -> None:
        message = reader.poll(0.2)
        messages = [] if message is None else [message, *reader.consume(10_000, 0)]
        changes, reached = [], 0
        for message in messages:
            error = message.error()
            if error is None:
                changes.extend(self._read(message))
                reached = offset_of(message) + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                reached = offset_of(message)
            elif error.fatal() or (not error.retriable() and error.code() > 0):
                raise KafkaException(error)
        if changes:
            self._snapshot = self._snapshot.having(changes)
        if reached >= end:
            self._loaded.set()

    def _read(self, message: Message) -> list[DefinitionApplied]:
        """A definition that cannot be read is left out and said aloud: the others must stay in
        force.
        """
        if message.value() is None:
            return []
        try:
            change = self._codec.decode(DefinitionApplied, message.value(), message.key())
            Definitions().having([change])
        except (DecodeError, ValidationError) as error:
            log.error(
                "definition at offset %s of %s left out: %s", message.offset(), self._topic, error
            )
            return []
        return [change]


def read_all(settings: Settings, codec: Codec) -> Definitions:
    """The definitions in force now, read once."""
    follower = Follower(settings, codec)
    try:
        return follower.current_definitions()
    finally:
        follower.close()


def plan(
    current: Definitions, wanted: Iterable[Definition], at: datetime | None = None, author: str = ""
) -> list[DefinitionApplied]:
    """What has to be applied, as of `at` (now, unless given), so that the wanted definitions are in
    force.

    A definition that is in force with the same content makes no event.
    """
    changes = []
    by = Authorship(at or datetime.now(UTC), author)
    for definition in wanted:
        body = canonical(definition)
        kind, name = definition.kind, definition.name
        now = current.of_kind(kind, name)
        if now is None or canonical(now) != body:
            version = current.newest.get((kind, name), 0) + 1
            changes.append(applied(kind, name, version, body, by))
    return changes


def versions_missing(definitions: Definitions, wanted: Iterable[Definition]) -> list[str]:
    """Sentences on versions of prompts that are named and would not be there: their runs would
    fail.
    """
    named = [
        (f"the alias {name!r} of prompt {d.name!r} names version {version}", d.name, version)
        for d in wanted
        if isinstance(d, Alias)
        for name, version in d.versions.items()
    ]
    named += [
        (
            f"agent {d.name!r} names version {d.prompt.version} of prompt {d.prompt.use!r}",
            d.prompt.use,
            d.prompt.version,
        )
        for d in wanted
        if isinstance(d, Agent) and isinstance(d.prompt, PromptUse) and d.prompt.version is not None
    ]
    known = {
        name: ", ".join(
            str(v)
            for kind, other, v in sorted(definitions.bodies)
            if (kind, other) == ("prompt", name)
        )
        for _, name, _ in named
    }
    return [
        f"{what}, which is not there: there are {known[name] or 'none'}. Apply the prompt first, "
        "or correct the number"
        for what, name, version in named
        if ("prompt", name, version) not in definitions.bodies
    ]


def removal(
    current: Definitions, kind: str, name: str, at: datetime, author: str = ""
) -> DefinitionApplied:
    """Takes a name out of force. Raises KeyError with a sentence where it is not in force."""
    version = current.version(kind, name)
    definition = current.of_kind(kind, name)
    if version is None or definition is None:
        raise KeyError(
            f"no {kind} named {name} is in force: `weir apply --list` shows those that are"
        )
    by = Authorship(at, author)
    return applied(kind, name, version, canonical(definition), by, removed=True)


def applied(
    kind: str, name: str, version: int, body: str, by: Authorship, removed: bool = False
) -> DefinitionApplied:
    """The event that puts one version of a definition in force, or takes its name out of it."""
    place = f"{kind}/{name}@{version}"
    return DefinitionApplied.about(
        place,
        removed,
        at=by.at,
        tenant=EVERYONE,
        place=place,
        kind=kind,
        name=name,
        version=version,
        body=body,
        digest=hashlib.sha256(body.encode()).hexdigest(),
        author=by.author,
        removed=removed,
    )


def canonical(definition: Definition) -> str:
    """The definition as JSON with sorted names: equal definitions have equal text."""
    if definition.kind not in KINDS:
        raise ValueError(
            f"{definition.kind} is no kind of definition: use one of {', '.join(KINDS)}"
        )
    return json.dumps(
        definition.model_dump(mode="json"),
        sort_keys=True,
        ensure_ascii=False,
        separators=(",", ":"),
    )


def publish(
    settings: Settings, codec: Codec, changes: Iterable[DefinitionApplied], timeout_s: float = 30
) -> int:
    """Puts changes on the topic, in order, all or none; returns how many. Raises KafkaException."""
    changes = list(changes)
    if not changes:
        return 0
    writer = producer(settings, "definitions")
    writer.init_transactions(timeout_s)
    writer.begin_transaction()
    for change in changes:
        writer.produce(
            settings.prefix + change.topic(),
            codec.encode(change),
            change.partition_key().encode(),
            headers=headers_of(change),
        )
    writer.commit_transaction(timeout_s)
    return len(changes)
