"""Does the last word on each chunk stand, whatever comes twice or late, and does nobody find
another's knowledge?
"""

import asyncio
import itertools
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from qdrant_client import models

from schemas.events.knowledge import ChunkPrepared, ChunkRetired
from schemas.ports import Failure, SearchAnswer, SearchQuestion
from schemas.wire.plain_values import plain_of
from sinks.base import Batch
from sinks.qdrant.embedder import Embedder
from sinks.qdrant.search import Search
from sinks.qdrant.sink import CollectionError, QdrantSink, client_of, prepare_collection

pytestmark = pytest.mark.engine
EMBEDDER = Embedder()


def prepared(*chunks: tuple[int, str, int, str], tenant: str = "acme") -> Batch:
    """Chunks as (seq, document, nth, text)."""
    fields = [
        plain_of(ChunkPrepared(**about(tenant, document, nth), text=text, title="Help", digest="d"))
        for _, document, nth, text in chunks
    ]
    return Batch(
        ChunkPrepared,
        [0] * len(chunks),
        list(range(len(chunks))),
        [seq for seq, *_ in chunks],
        fields,
    )


def retired(seq: int, document: str, nth: int) -> Batch:
    return Batch(
        ChunkRetired, [0], [0], [seq], [plain_of(ChunkRetired(**about("acme", document, nth)))]
    )


def about(tenant: str, document: str, nth: int) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "at": datetime.now(UTC),
        "tenant": tenant,
        "document": document,
        "nth": nth,
    }


@pytest.fixture
def sink(qdrant_url: str, collection: str) -> QdrantSink:
    prepare_collection(qdrant_url, "", collection)
    return QdrantSink(qdrant_url, "", collection, EMBEDDER)


def write(sink: QdrantSink, *batches: Batch) -> None:
    for batch in batches:
        sink.write(sink.prepare(batch), "")


def stored(url: str, collection: str) -> set[tuple[str, int, str]]:
    points, _ = client_of(url, "").scroll(collection, limit=100)
    return {
        (p.payload["document"], p.payload["nth"], p.payload["text"])
        for p in points
        if "text" in p.payload
    }


def search(
    url: str, collection: str, tenant: str, query: str, limit: int = 5
) -> SearchAnswer | Failure:
    async def asked() -> SearchAnswer | Failure:
        port = Search(url, "", collection, EMBEDDER)
        try:
            return await port(SearchQuestion(tenant, query, limit))
        finally:
            await port.close()

    return asyncio.run(asked())


STORY = (
    prepared((1, "d", 0, "refunds take five days"), (2, "d", 1, "shipping is free")),
    retired(5, "d", 1),
    prepared((7, "d", 0, "refunds take ten days"), (8, "d", 1, "shipping costs five")),
    retired(9, "d", 0),
)


def test_a_stage_that_counts_anew_is_listened_to(sink, qdrant_url, collection):
    """Its changelog was made anew, and its numbers begin at 1 again: what it says is newer all the
    same.
    """
    write(sink, prepared((70, "d", 0, "refunds take five days"), (71, "d", 1, "shipping is free")))
    anew = QdrantSink(qdrant_url, "", collection, EMBEDDER, numbering=lambda: "another")
    write(anew, prepared((3, "d", 0, "refunds take ten days")), retired(4, "d", 1))
    assert stored(qdrant_url, collection) == {("d", 0, "refunds take ten days")}
    write(anew, prepared((2, "d", 0, "too late"), (5, "d", 1, "shipping costs five")))
    assert stored(qdrant_url, collection) == {
        ("d", 0, "refunds take ten days"),
        ("d", 1, "shipping costs five"),
    }


@pytest.mark.parametrize(
    "order",
    [*itertools.permutations(range(4))][::5] + [(0, 1, 2, 3, 0, 1), (3, 3, 2, 2, 0)],
    ids=str,
)
def test_the_last_word_stands_in_whatever_order_and_however_often_it_comes(
    sink, qdrant_url, collection, order
):
    write(sink, *(STORY[number] for number in order))
    assert stored(qdrant_url, collection) == {("d", 1, "shipping costs five")}


def test_within_one_batch_the_last_word_stands(sink, qdrant_url, collection):
    write(sink, prepared((1, "d", 0, "old"), (2, "d", 0, "new")))
    assert stored(qdrant_url, collection) == {("d", 0, "new")}


def test_a_batch_between_whose_numbers_another_came_is_stored_whole(sink, qdrant_url, collection):
    write(sink, retired(5, "e", 0), prepared((1, "d", 0, "one"), (9, "e", 0, "back again")))
    assert stored(qdrant_url, collection) == {("d", 0, "one"), ("e", 0, "back again")}


def test_nobody_finds_what_is_another_tenant_s_or_retired(sink, qdrant_url, collection):
    write(
        sink,
        prepared((1, "d", 0, "refunds take five days"), (2, "d", 1, "refunds by post")),
        prepared((1, "d", 0, "our secret refund rule"), tenant="other"),
        retired(3, "d", 1),
    )
    mine = search(qdrant_url, collection, "acme", "how long does a refund take")
    assert [(p.document, p.nth, p.text) for p in mine.passages] == [
        ("d", 0, "refunds take five days")
    ]
    assert search(qdrant_url, collection, "nobody", "refund").passages == ()


@pytest.mark.parametrize("query", ["", "???", "the of and", "x" * 100_000], ids=len)
def test_a_query_without_words_is_answered_by_meaning_alone(sink, qdrant_url, collection, query):
    write(sink, prepared((1, "d", 0, "refunds take five days")))
    assert len(search(qdrant_url, collection, "acme", query).passages) == 1


def test_a_search_that_fails_is_a_value(qdrant_url):
    assert search(qdrant_url, "not-there", "acme", "x").reason == "http_404"
    assert search("http://127.0.0.1:9", "c", "acme", "x").reason == "unavailable"


def test_preparing_twice_changes_nothing_and_another_s_collection_is_refused(
    qdrant_url, collection
):
    prepare_collection(qdrant_url, "", collection)
    prepare_collection(qdrant_url, "", collection)
    client_of(qdrant_url, "").create_collection(
        collection + "-other",
        vectors_config={"dense": models.VectorParams(size=4, distance=models.Distance.DOT)},
    )
    with pytest.raises(CollectionError, match="WEIR_QDRANT_COLLECTION"):
        prepare_collection(qdrant_url, "", collection + "-other")
