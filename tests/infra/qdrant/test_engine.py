"""The embedded Qdrant behaves as a Qdrant server to an unmodified qdrant-client."""

import asyncio
import datetime as dt
import uuid

import pytest
from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from infra.embedded.testing_servers import running_qdrant

pytestmark = pytest.mark.engine
DENSE = {"dense": models.VectorParams(size=4, distance=models.Distance.COSINE)}
SPARSE = {"bm25": models.SparseVectorParams(modifier=models.Modifier.IDF)}
IDS = [str(uuid.UUID(int=n + 1)) for n in range(6)]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with running_qdrant(tmp_path_factory.mktemp("qdrant")) as url:
        yield url


@pytest.fixture(scope="module")
def client(url):
    client = QdrantClient(url=url)
    yield client
    client.close()


@pytest.fixture
def docs(client):
    """Six points of two tenants with both vectors, dates, tags and a revision."""
    name = f"docs-{uuid.uuid4().hex[:8]}"
    client.create_collection(name, vectors_config=DENSE, sparse_vectors_config=SPARSE)
    client.create_payload_index(
        name, "tenant", models.KeywordIndexParams(type="keyword", is_tenant=True)
    )
    for field, kind in (
        ("tags", "keyword"),
        ("n", "integer"),
        ("at", "datetime"),
        ("rate", "float"),
        ("live", "bool"),
    ):
        client.create_payload_index(name, field, kind)
    client.upsert(name, [point(n) for n in range(6)])
    return name


def point(n):
    sparse = models.SparseVector(indices=[1, 2 + n], values=[1.0, 2.0])
    vector = {"dense": [1.0 * (n == 0), 1.0 * n, 0.5, 0.1], "bm25": sparse}
    payload = {
        "tenant": "a" if n < 3 else "b",
        "n": n,
        "at": day(n).isoformat(),
        "tags": ["x", "y"] if n % 2 else ["z"],
        "rate": n / 2,
        "live": n % 2 == 0,
        "rev": n,
    }
    return models.PointStruct(id=IDS[n], vector=vector, payload=payload)


def day(n):
    return dt.datetime(2024, 1, n + 1, tzinfo=dt.UTC)


def field(key, **test):
    return models.FieldCondition(key=key, **test)


def value(key, wanted):
    return field(key, match=models.MatchValue(value=wanted))


def tagged(tag):
    return field("tags", match=models.MatchAny(any=[tag]))


def numbers(client, docs, **parts):
    found, _ = client.scroll(docs, scroll_filter=models.Filter(**parts), limit=10)
    assert client.count(docs, count_filter=models.Filter(**parts)).count == len(found)
    return sorted(each.payload["n"] for each in found)


def test_collections_come_and_go(client):
    assert not client.collection_exists("passing")
    assert client.create_collection(
        "passing", vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT)
    )
    with pytest.raises(UnexpectedResponse) as caught:
        client.create_collection(
            "passing", vectors_config=models.VectorParams(size=3, distance=models.Distance.DOT)
        )
    assert caught.value.status_code == 409
    client.upsert("passing", [models.PointStruct(id=7, vector=[1.0, 2.0, 3.0])])
    assert client.query_points("passing", query=[1.0, 0.0, 0.0], with_vectors=True).points[
        0
    ].vector == [
        1.0,
        2.0,
        3.0,
    ]
    assert "passing" in [each.name for each in client.get_collections().collections]
    assert client.delete_collection("passing") and not client.collection_exists("passing")
    assert not client.delete_collection("passing")


def test_info_tells_what_it_was_made_of(client, docs):
    info = client.get_collection(docs)
    assert (info.points_count, info.status) == (6, models.CollectionStatus.GREEN)
    assert info.config.params.vectors["dense"].size == 4
    assert info.payload_schema["tenant"].params.is_tenant
    kinds = {key: str(index.data_type.value) for key, index in info.payload_schema.items()}
    assert kinds == {
        "tenant": "keyword",
        "tags": "keyword",
        "n": "integer",
        "at": "datetime",
        "rate": "float",
        "live": "bool",
    }
    client.delete_payload_index(docs, "rate")
    assert "rate" not in client.get_collection(docs).payload_schema


@pytest.mark.parametrize("parts, expected", [
    ({"must": [value("tenant", "a")]}, [0, 1, 2]),
    ({"must_not": value("tenant", "a")}, [3, 4, 5]),
    ({"must_not": [value("tenant", "a")], "should": [value("n", 5), tagged("z")]}, [4, 5]),
    ({"must": [field("at", range=models.DatetimeRange(gte=day(2), lt=day(4)))]}, [2, 3]),
    ({"must": [field("tenant", match=models.MatchExcept(**{"except": ["a"]}))]}, [3, 4, 5]),
    ({"must": [models.HasIdCondition(has_id=IDS[:2])]}, [0, 1]),
    (
        {"must": [models.IsEmptyCondition(is_empty=models.PayloadField(key="nothing"))]},
        [0, 1, 2, 3, 4, 5],
    ),
    ({"must": [value("live", True), field("rate", range=models.Range(lte=1.0))]}, [0, 2]),
    ({"must": [field("tags", values_count=models.ValuesCount(gt=1))]}, [1, 3, 5]),
    ({"must": [models.Filter(should=[value("n", 1), value("n", 2)])]}, [1, 2]),
])  # fmt: skip
def test_filters(client, docs, parts, expected):
    assert numbers(client, docs, **parts) == expected


def test_dense_queries(client, docs):
    mine = models.Filter(must=[value("tenant", "a")])
    found = client.query_points(
        docs, query=[1.0, 0, 0, 0], using="dense", limit=2, query_filter=mine
    ).points
    assert found[0].id == IDS[0] and len(found) == 2 and found[0].payload["n"] == 0
    excluded = models.PayloadSelectorExclude(exclude=["at"])
    [best] = client.query_points(
        docs,
        query=[1.0, 0, 0, 0],
        using="dense",
        limit=1,
        with_payload=excluded,
        with_vectors=["bm25"],
    ).points
    assert "at" not in best.payload and best.vector["bm25"].indices == [1, 2]
    asked = [
        models.QueryRequest(query=[1.0, 0, 0, 0], using="dense", limit=1),
        models.QueryRequest(limit=3),
    ]
    assert [len(each.points) for each in client.query_batch_points(docs, asked)] == [1, 3]


def test_fusion_of_dense_and_sparse(client, docs):
    sources = [
        models.Prefetch(query=[1.0, 0, 0, 0], using="dense", limit=5),
        models.Prefetch(
            query=models.SparseVector(indices=[2], values=[1.0]), using="bm25", limit=5
        ),
    ]
    for k, fusion in (
        (2, models.FusionQuery(fusion=models.Fusion.RRF)),
        (60, models.RrfQuery(rrf=models.Rrf(k=60))),
    ):
        found = client.query_points(docs, prefetch=sources, query=fusion, limit=3).points
        assert found[0].id == IDS[0] and found[0].score == pytest.approx(
            2 / k, rel=0.05
        )  # first in both, rank from 0
    found = client.query_points(
        docs, prefetch=sources, query=models.FusionQuery(fusion=models.Fusion.DBSF), limit=3
    ).points
    assert found[0].id == IDS[0]


def test_scroll_by_pages_and_by_order(client, docs):
    seen = []
    offset = None
    while offset is not None or not seen:
        page, offset = client.scroll(docs, limit=4, offset=offset, with_payload=False)
        seen += [each.id for each in page]
    assert seen == IDS
    newest, _ = client.scroll(
        docs, limit=2, order_by=models.OrderBy(key="at", direction=models.Direction.DESC)
    )
    assert [each.payload["n"] for each in newest] == [5, 4]
    with pytest.raises(UnexpectedResponse) as caught:
        client.scroll(docs, order_by="rev")
    assert caught.value.status_code == 400


def test_payloads(client, docs):
    client.set_payload(docs, {"flag": True}, points=[IDS[0]])
    client.set_payload(docs, {"flag": False}, points=models.Filter(must=[value("n", 1)]))
    client.overwrite_payload(docs, {"only": 1}, points=[IDS[2]])
    client.delete_payload(docs, ["tags"], points=[IDS[3]])
    client.clear_payload(docs, points_selector=[IDS[4]])
    found = {each.id: each.payload for each in client.retrieve(docs, IDS)}
    assert (found[IDS[0]]["flag"], found[IDS[1]]["flag"], found[IDS[2]]) == (
        True,
        False,
        {"only": 1},
    )
    assert "tags" not in found[IDS[3]] and found[IDS[4]] == {}
    with pytest.raises(UnexpectedResponse) as caught:
        client.set_payload(docs, {"a": 1}, points=[str(uuid.UUID(int=999))])
    assert caught.value.status_code == 404


def test_a_conditional_upsert_does_not_go_back_in_time(client, docs):
    def put(revision):
        older = models.Filter(must=[field("rev", range=models.Range(lt=revision))])
        changed = models.PointStruct(
            id=IDS[5], vector={"dense": [1, 1, 1, 1]}, payload={"rev": revision}
        )
        client.upsert(docs, [changed], update_filter=older)
        return client.retrieve(docs, [IDS[5]])[0].payload["rev"]

    assert [put(10), put(7), put(11)] == [10, 10, 11]


def test_deletes_and_batches(client, docs):
    client.delete(docs, points_selector=[IDS[5]])
    client.delete(docs, points_selector=models.Filter(must=[value("tenant", "b")]))
    assert client.count(docs).count == 3
    done = client.batch_update_points(
        docs,
        [
            models.UpsertOperation(
                upsert=models.PointsList(
                    points=[models.PointStruct(id=3, vector={"dense": [1, 1, 1, 1]})]
                )
            ),
            models.DeleteOperation(delete=models.PointIdsList(points=[IDS[0]])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"b": 1}, points=[3])),
        ],
    )
    assert (
        len(done) == 3
        and client.count(docs).count == 3
        and client.retrieve(docs, [3])[0].payload == {"b": 1}
    )
    columns = models.Batch(
        ids=[1, 2],
        vectors={"dense": [[1.0, 1, 1, 1], [2.0, 1, 1, 1]]},
        payloads=[{"a": 1}, {"a": 2}],
    )
    client.upsert(docs, columns)
    client.upload_points(
        docs,
        [models.PointStruct(id=n, vector={"dense": [1.0, 1, 1, n]}) for n in range(10, 30)],
        batch_size=8,
        wait=True,
    )
    assert client.count(docs).count == 25


def test_facet_counts_values(client, docs):
    assert {hit.value: hit.count for hit in client.facet(docs, key="tags", exact=True).hits} == {
        "x": 3,
        "y": 3,
        "z": 3,
    }


def test_a_failing_upsert_changes_nothing(client, docs):
    with pytest.raises(UnexpectedResponse) as caught:
        client.upsert(
            docs,
            [
                models.PointStruct(id=100, vector={"dense": [1.0, 1, 1, 1]}),
                models.PointStruct(id=101, vector={"dense": [1.0]}),
            ],
        )
    assert caught.value.status_code == 400 and b"expected dim: 4, got 1" in caught.value.content
    assert client.retrieve(docs, [100, 101]) == []


@pytest.mark.parametrize(
    "wrong, status",
    [
        (lambda client, docs: client.count("nowhere"), 404),
        (lambda client, docs: client.query_points(docs, query=[1.0, 2.0], using="dense"), 400),
        (lambda client, docs: client.query_points(docs, query=[1.0] * 4, using="nothing"), 400),
        (lambda client, docs: client.upsert(docs, [models.PointStruct(id="abc", vector={})]), 400),
        (lambda client, docs: client.facet(docs, key="rev"), 400),
        (lambda client, docs: client.create_collection(".x", vectors_config=DENSE), 422),
        (lambda client, docs: client.create_snapshot(docs), 404),
    ],
)
def test_errors_have_the_servers_status(client, docs, wrong, status):
    with pytest.raises(UnexpectedResponse) as caught:
        wrong(client, docs)
    assert caught.value.status_code == status


def test_the_async_client(url, docs):
    async def use():
        client = AsyncQdrantClient(url=url, check_compatibility=False)
        await client.upsert(
            docs, [models.PointStruct(id=50, vector={"dense": [0, 0, 0, 1.0]}, payload={"n": 50})]
        )
        found = await asyncio.gather(
            *(
                client.query_points(docs, query=[0, 0, 0, 1.0], using="dense", limit=1)
                for _ in range(10)
            )
        )
        await client.close()
        return {each.points[0].id for each in found}

    assert asyncio.run(use()) == {50}
