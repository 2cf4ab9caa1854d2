"""Says which chunks the index adds and retires when a document is published again or withdrawn."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from processors.common.text import cut
from processors.knowledge.chunk import split
from schemas.events.knowledge import (
    ChunkPrepared,
    ChunkRetired,
    DocumentPublished,
    DocumentWithdrawn,
)

TITLE_CHARS = 500


@dataclass(frozen=True)
class Document:
    """What the index holds of a document: the digest of each piece, by its number."""

    digests: tuple[str, ...] = ()


def chunk(
    document: Document, event: DocumentPublished | DocumentWithdrawn
) -> tuple[Document | None, Sequence[ChunkPrepared | ChunkRetired]]:
    """Only pieces that changed are prepared again, and only those there are no more are retired."""
    if isinstance(event, DocumentWithdrawn):
        return None, _retired(event, 0, len(document.digests))
    title = cut(event.title, TITLE_CHARS)
    pieces = split(event.text)
    digests = tuple(_digest(title, event.url or "", piece) for piece in pieces)
    known = document.digests + ("",) * (len(digests) - len(document.digests))
    prepared = [
        event.then(ChunkPrepared, nth, nth=nth, title=title, text=piece, digest=digest)
        for nth, (piece, digest) in enumerate(zip(pieces, digests, strict=True))
        if known[nth] != digest
    ]
    retired = _retired(event, len(digests), len(document.digests))
    return (Document(digests) if digests else None), [*prepared, *retired]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _retired(
    event: DocumentPublished | DocumentWithdrawn, first: int, end: int
) -> list[ChunkRetired]:
    return [event.then(ChunkRetired, nth, nth=nth) for nth in range(first, end)]
