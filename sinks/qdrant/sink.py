"""The Qdrant sink: the newest version of each chunk of knowledge is stored, whatever comes twice or
late.

A chunk's point has an id derived from tenant, document and number, the sequence number that its
stage gave the event (`seq`), and the name of that numbering: the id of the stage's changelog topic,
because a stage whose changelog was made anew begins at 1 again. Every write is conditional on a
smaller number, or another numbering, and a retired chunk leaves a point without text, vectors or
tenant. So prepared and retired chunks, which come on two topics, may arrive in any order and any
number of times.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from qdrant_client import QdrantClient, models

from schemas.events.base import Event
from schemas.events.knowledge import ChunkPrepared
from schemas.wire.plain_values import Plain
from sinks.base import Batch, EncodedBatch, decoded
from sinks.qdrant.embedder import DIMENSIONS, MODEL, Embedder

DENSE = "dense"
SPARSE = "bm25"
PAYLOAD = ("tenant", "document", "nth", "title", "text", "url", "digest", "at")
INDEXES: dict[str, Any] = {
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
    "document": models.PayloadSchemaType.KEYWORD,
    "seq": models.PayloadSchemaType.INTEGER,
}


class CollectionError(Exception):
    """A collection of that name exists and is not Weir's. The message says what to do."""


@dataclass(frozen=True)
class ChunkPoint:
    """The last event of a batch on one chunk: its fields, or None where it is retired."""

    id: str
    seq: int
    fields: Plain | None


def client_of(url: str, key: str) -> QdrantClient:
    """A client of a Qdrant server."""
    return QdrantClient(url=url, api_key=key or None, timeout=30, check_compatibility=False)


def prepare_collection(url: str, key: str, collection: str) -> None:
    """Creates the collection and its indexes where they are missing. Raises CollectionError where
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
            raise CollectionError(
                f"the collection {collection!r} has no vector {DENSE!r} of {DIMENSIONS} numbers, "
                "so "
                "it is not Weir's: set WEIR_QDRANT_COLLECTION to another name"
            )
        for name, index in INDEXES.items():
            if name not in found.payload_schema:
                client.create_payload_index(collection, name, index)
    finally:
        client.close()


def point_id(tenant: str, document: str, nth: int) -> str:
    """The id of a chunk's point."""
    return str(uuid5(NAMESPACE_OID, f"{tenant}/{document}/{nth}"))


class QdrantSink:
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
        numbering: Callable[[], str] = str,
    ):
        self._client = client_of(url, key)
        self._collection = collection
        self._embedder = embedder or Embedder()
        self._ask_numbering = numbering

    @cached_property
    def _numbering(self) -> str:
        """The name of the numbering of `seq`; asked for at the first write, as the broker knows
        it.
        """
        return self._ask_numbering()

    def accepts_encoded(self, kind: type[Event]) -> bool:
        return False  # what is embedded has to be read

    def greatest_offsets(self, kind: type[Event], partition: int) -> dict[str, int]:
        return {}  # what comes again is only stored where nothing newer is

    def prepare(self, batch: Batch | EncodedBatch) -> list[ChunkPoint]:
        """The last event on each chunk; the batch is in order."""
        batch = decoded(batch)
        last: dict[str, ChunkPoint] = {}
        for seq, fields in zip(batch.seqs, batch.fields, strict=True):
            name = point_id(fields["tenant"], fields["document"], fields["nth"])
            last[name] = ChunkPoint(name, seq, fields if batch.kind is ChunkPrepared else None)
        return list(last.values())

    def group_of(self, kind: type[Event]) -> str:
        return kind.__name__

    def joined(self, prepared: Sequence[list[ChunkPoint]]) -> list[ChunkPoint]:
        return prepared[0]

    def write(self, prepared: list[ChunkPoint], token: str) -> None:
        """Stores the points, any number of times: one is only replaced by one with the same `seq`,
        a greater one, or one of another numbering.
        """
        points = self._points(prepared)
        first = min(chunk.seq for chunk in prepared)
        self._upsert(list(points.values()), first)
        for chunk in self._passed_over(prepared):
            self._upsert([points[chunk.id]], chunk.seq)

    def _upsert(self, points: list[models.PointStruct], seq: int) -> None:
        """New ids are always stored, others where the stored `seq` is not greater, or was numbered
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

    def _passed_over(self, chunks: Sequence[ChunkPoint]) -> list[ChunkPoint]:
        """The chunks that the batch's common condition did not store although what is stored is
        older.
        """
        stored = self._client.retrieve(
            self._collection, [chunk.id for chunk in chunks], with_payload=["seq", "numbering"]
        )
        payloads = {str(point.id): payload_of(point) for point in stored}
        seqs = {
            name: payload["seq"]
            for name, payload in payloads.items()
            if payload.get("numbering") == self._numbering
        }
        return [chunk for chunk in chunks if seqs.get(chunk.id, -1) < chunk.seq]

    def _points(self, chunks: Sequence[ChunkPoint]) -> dict[str, models.PointStruct]:
        """Every chunk's point: a retired one's without vectors, the others embedded."""
        made: dict[str, models.PointStruct] = {}
        full: list[tuple[ChunkPoint, Plain]] = []
        for chunk in chunks:
            if chunk.fields is None:
                payload = self._numbered(chunk, {"retired": True})
                made[chunk.id] = models.PointStruct(id=chunk.id, vector={}, payload=payload)
            else:
                full.append((chunk, chunk.fields))
        texts = [text_of(fields) for _, fields in full]
        dense = self._embedder.dense(texts)
        sparse = self._embedder.sparse_documents(texts)
        for (chunk, fields), meaning, words in zip(full, dense, sparse, strict=True):
            terms = models.SparseVector(indices=words.indices, values=words.values)
            payload = self._numbered(chunk, {name: fields[name] for name in PAYLOAD})
            made[chunk.id] = models.PointStruct(
                id=chunk.id, vector={DENSE: meaning, SPARSE: terms}, payload=payload
            )
        return made

    def _numbered(self, chunk: ChunkPoint, payload: dict[str, Any]) -> dict[str, Any]:
        return payload | {"seq": chunk.seq, "numbering": self._numbering}


def payload_of(point: models.Record) -> dict[str, Any]:
    """A stored point's payload. Raises ValueError where it was read without."""
    if point.payload is None:
        raise ValueError(f"point {point.id} was read without its payload")
    return point.payload


def text_of(fields: Plain) -> str:
    """The text that is embedded: a title says what a chunk from the middle is about."""
    return f"{fields['title']}\n{fields['text']}" if fields["title"] else fields["text"]


def stored_chunks(url: str, key: str, collection: str) -> set[tuple[str, str, int]]:
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
            stored = [payload for payload in map(payload_of, points) if "retired" not in payload]
            found |= {(each["tenant"], each["document"], each["nth"]) for each in stored}
            if offset is None:
                return found
    finally:
        client.close()
