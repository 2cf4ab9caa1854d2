"""What could not be processed, and how is it given back whole?"""

from typing import ClassVar, Literal

from schemas.agent import Label
from schemas.base import Count, Event

Reason = Literal["not_avro", "unknown_schema", "invalid", "wrong_key", "future", "expired", "late", "unprocessable",
                 "error", "rejected"]


class DeadLettered(Event):
    """A record that no step could take: its bytes, its headers, where it stood, and why. `source` is that place."""

    family: ClassVar[str] = "operations"
    key: ClassVar[str] = "source"
    source: Label
    topic_name: Label
    partition: Count
    offset: Count
    record_key: bytes | None = None
    record_value: bytes | None = None
    headers: dict[str, str] = {}
    consumer: Label
    reason: Reason
    detail: str = ""
