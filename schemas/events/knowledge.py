"""Events on documents and their chunks."""

from typing import ClassVar

from schemas.events.base import Audience, Count, DocumentEvent, Personal
from schemas.events.values import Label

FAMILY = "knowledge"


class DocumentPublished(DocumentEvent):
    """A document, whole. Publishing it again replaces what was known of it."""

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "knowledge"
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "admin"
    title: str = ""
    text: Personal
    url: str | None = None
    metadata: dict[str, str] = {}
    bodies: str = ""


class DocumentWithdrawn(DocumentEvent):
    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "knowledge"
    audience: ClassVar[Audience] = "public"
    sent_with: ClassVar[str] = "admin"
    reason: str = ""


class ChunkPrepared(DocumentEvent):
    """The `nth` piece of a document, ready to be embedded and stored. `digest` tells whether its
    text changed.
    """

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "knowledge"
    log: ClassVar[str] = "document.chunks"
    nth: Count
    title: str = ""
    text: Personal
    url: str | None = None
    digest: Label


class ChunkRetired(DocumentEvent):
    """The `nth` piece is no longer part of its document."""

    family: ClassVar[str] = FAMILY
    owner: ClassVar[str] = "knowledge"
    log: ClassVar[str] = "document.chunks"
    nth: Count
