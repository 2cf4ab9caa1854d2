"""How do chunks of knowledge get into Qdrant, so that the last word on each one stands, whatever
comes twice or late?

A chunk's point has an id of its place (tenant, document, number), the number that its stage gave
the event (`seq`), and the name of that numbering: the id of the stage's changelog topic, for a
stage whose changelog was made anew begins at 1 again. Every write is conditional on a smaller
number, or another numbering, and a retired chunk leaves a point without text, vectors or tenant. So
prepared and retired chunks, which come on two topics, may arrive in any order and any number of
times.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from qdrant_client import QdrantClient, models

from schemas.events.base import Event
from schemas.events.knowledge import ChunkPrepared
from schemas.wire.plain_values import Plain
from sinks.base import Batch
from sinks.qdrant.embedder import DIMENSIONS, MODEL, Embedder

DENSE = "dense"
SPARSE = "bm25"
INDEXES: dict[str, Any] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "document": models.PayloadSchemaType.KEYWORD,
    "seq": models.PayloadSchemaType.INTEGER,
}


class CollectionRefused(Exception):
    """A collection of that name is there and is not Weir's. The message says what to do."""


@dataclass(frozen=True)
class Chunk:
    """The last word of a batch on one place: a chunk's fields, or None when it is retired."""

    id: str
    seq: int
    fields: Plain | None


def client_of(url: str, key: str) -> QdrantClient:
    return QdrantClient(url=url, api_key=key or None, timeout=30, check_compatibility=False)


def prepare(url: str, key: str, collection: str) -> None:
    """Makes the collection and its indexes where they are missing. Raises CollectionRefused where
    it is another's.
    """
    client = client_of(url, key)
    try:
        if not client.collection_exists(collection):
            client.create_collection(
                collection,
                vectors_config={
                    DENSE: models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
                },
                sparse_vectors_config={
                    SPARSE: models.SparseVectorParams(modifier=models.Modifier.IDF)
                },
            )
        found = client.get_collection(collection)
        dense = found.config.params.vectors
        if not isinstance(dense, dict) or DENSE not in dense or dense[DENSE].size != DIMENSIONS:
            raise CollectionRefused(
                f"the collection {collection!r} has no vector {DENSE!r} of {DIMENSIONS} numbers, so "
                "it is not Weir's: set WEIR_QDRANT_COLLECTION to another name"
            )
        for name, index in INDEXES.items():
            if name not in found.payload_schema:
                client.create_payload_index(collection, name, index)
    finally:
        client.close()


def place_id(tenant: str, document: str, nth: int) -> str:
    """The id of a chunk's point."""
    return str(uuid5(NAMESPACE_OID, f"{tenant}/{document}/{nth}"))


class Qdrant:
    """The sink. `write` embeds and stores; it returns when Qdrant has acknowledged."""

    name = "qdrant"
    rows_max = 128
    epoch = MODEL

    def __init__(
        self,
        url: str,
        key: str,
        collection: str,
        embedder: Embedder | None = None,
        numbering: str = "",
    ):
        self._client = client_of(url, key)
        self._collection = collection
        self._embedder = embedder or Embedder()
        self._numbering = numbering

    def takes_bytes(self, kind: type[Event]) -> bool:
        return False  # what is embedded has to be read

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        return {}  # what comes again is only stored where nothing newer is

    def prepare(self, batch: Batch) -> list[Chunk]:
        """The last word on each place; the batch is in order."""
        last: dict[str, Chunk] = {}
        for seq, fields in zip(batch.seqs, batch.fields, strict=True):
            place = place_id(fields["tenant"], fields["document"], fields["nth"])
            last[place] = Chunk(place, seq, fields if batch.kind is ChunkPrepared else None)
        return list(last.values())

    def write(self, prepared: list[Chunk], token: str) -> None:
        """Any number of times: a point is only replaced by one with a greater `seq`, or the same,
        or of another numbering.
        """
        points = self._points(prepared)
        first = min(chunk.seq for chunk in prepared)
        self._upsert(list(points.values()), first)
        for chunk in self._passed_over(prepared):
            self._upsert([points[chunk.id]], chunk.seq)

    def _upsert(self, points: list[models.PointStruct], seq: int) -> None:
        """New ids are stored in any case, others where theirs is not greater, or was counted
        otherwise.
        """
        ours = models.FieldCondition(
            key="numbering", match=models.MatchValue(value=self._numbering)
        )
        older = models.Filter(
            should=[
                models.FieldCondition(key="seq", range=models.Range(lte=seq)),
                models.Filter(must_not=[ours]),
            ]
        )
        self._client.upsert(self._collection, points, wait=True, update_filter=older)

    def _passed_over(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Those that the batch's common condition kept back although what is stored is older than
        they are.
        """
        stored = self._client.retrieve(
            self._collection, [chunk.id for chunk in chunks], with_payload=["seq", "numbering"]
        )
        seqs = {
            str(point.id): point.payload["seq"]
            for point in stored
            if point.payload.get("numbering") == self._numbering
        }
        return [chunk for chunk in chunks if seqs.get(chunk.id, -1) < chunk.seq]

    def _points(self, chunks: Sequence[Chunk]) -> dict[str, models.PointStruct]:
        full = [chunk for chunk in chunks if chunk.fields is not None]
        texts = [text_of(chunk.fields) for chunk in full]
        vectors = zip(
            self._embedder.dense(texts), self._embedder.sparse_documents(texts), strict=True
        )
        made = {
            chunk.id: models.PointStruct(
                id=chunk.id, vector={}, payload=self._numbered(chunk, {"retired": True})
            )
            for chunk in chunks
            if chunk.fields is None
        }
        for chunk, (dense, sparse) in zip(full, vectors, strict=True):
            vector = {
                DENSE: dense,
                SPARSE: models.SparseVector(indices=sparse.indices, values=sparse.values),
            }
            made[chunk.id] = models.PointStruct(
                id=chunk.id, vector=vector, payload=self._numbered(chunk, payload_of(chunk))
            )
        return made

    def _numbered(self, chunk: Chunk, payload: dict[str, Any]) -> dict[str, Any]:
        return payload | {"seq": chunk.seq, "numbering": self._numbering}


def payload_of(chunk: Chunk) -> dict[str, Any]:
    kept = ("tenant", "document", "nth", "title", "text", "url", "digest", "at")
    return {name: chunk.fields[name] for name in kept}


def text_of(fields: Plain) -> str:
    """What is embedded: a title says what a piece out of the middle is about."""
    return f"{fields['title']}\n{fields['text']}" if fields["title"] else fields["text"]


def places(url: str, key: str, collection: str) -> set[tuple[str, str, int]]:
    """Every chunk that is stored and not retired: tenant, document, number. For counting, not for
    serving.
    """
    client = client_of(url, key)
    found = set()
    offset = None
    try:
        while True:
            points, offset = client.scroll(
                collection, limit=1_000, offset=offset, with_payload=True
            )
            found |= {
                (p.payload["tenant"], p.payload["document"], p.payload["nth"])
                for p in points
                if "retired" not in p.payload
            }
            if offset is None:
                return found
    finally:
        client.close()
