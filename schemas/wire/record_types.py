"""Which event class a record is of, without decoding it.

A public topic holds one class, and its name says which. A log that Weir's own workers share holds
several: there the header `ce_type` says it, so that a reader that wants a few of them passes over
the rest at the price of a look at the headers.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Protocol

from schemas.catalogue import event_classes
from schemas.events.base import Event

TYPE = "ce_type"
RecordHeaders = Iterable[tuple[str, str | bytes | None]] | None


class Record(Protocol):
    """A Kafka record, as far as it tells of its class."""

    def topic(self) -> str | None: ...

    def headers(self) -> Any: ...


class UnknownRecordTypeError(ValueError):
    """A record in a shared log that names no class of that log: none of Weir's workers wrote it."""


@cache
def type_name(kind: type[Event]) -> str:
    """The class's name in the header `ce_type`."""
    return f"weir.{kind.family}.{kind.__name__}"


def type_of(headers: RecordHeaders) -> str:
    """What the header `ce_type` says; empty where there is none."""
    for name, value in headers or ():
        if name == TYPE and value:
            return value if isinstance(value, str) else value.decode("utf-8", "replace")
    return ""


def event_name(headers: RecordHeaders) -> str:
    """The name of the event class in the header `ce_type`."""
    return type_of(headers).rpartition(".")[2]


class RecordTypes:
    """The classes that a reader wants, by topic and type."""

    def __init__(self, prefix: str, wanted: Iterable[type[Event]]):
        self.wanted = tuple(wanted)
        by_topic: dict[str, list[type[Event]]] = defaultdict(list)
        for kind in self.wanted:
            by_topic[prefix + kind.topic()].append(kind)
        self._by_topic = {topic: tuple(those) for topic, those in by_topic.items()}
        self.topics = sorted(self._by_topic)
        self._alone = {prefix + kind.topic(): kind for kind in self.wanted if not kind.log}
        self._wanted = {
            (prefix + kind.topic(), type_name(kind)): kind for kind in self.wanted if kind.log
        }
        self._known = {
            (prefix + kind.topic(), type_name(kind))
            for kind in (*event_classes().values(), *self.wanted)
            if kind.log
        }

    def of(self, record: Record) -> type[Event] | None:
        """The class of a record; None where it is one that this reader does not want. Raises
        UnknownRecordTypeError.
        """
        return self.at(record.topic() or "", record.headers)

    def at(self, topic: str, headers: Callable[[], RecordHeaders]) -> type[Event] | None:
        """The same by a topic and whatever gives the headers, which are asked only where the topic
        does not say it.
        """
        alone = self._alone.get(topic)
        if alone is not None:
            return alone
        name = type_of(headers())
        found = self._wanted.get((topic, name))
        if found is None and (topic, name) not in self._known:
            raise UnknownRecordTypeError(
                f"the header {TYPE} is {name[:200]!r}, which is no class of {topic}: only Weir's "
                f"own workers write there"
            )
        return found

    def classes_in(self, topic: str) -> tuple[type[Event], ...]:
        """The classes wanted of a topic."""
        return self._by_topic.get(topic, ())
