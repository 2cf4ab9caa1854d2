"""Filters, points, queries and errors of Qdrant's REST protocol."""

import math
from uuid import UUID

import pytest
import qdrant_edge as edge

from infra.embedded.qdrant.filters import RequestRejectedError, as_list, filter_of, point_id
from infra.embedded.qdrant.http import error_response
from infra.embedded.qdrant.queries import payload_selector, query_request, scoring, scroll_request
from infra.embedded.qdrant.schema import check_name, edge_config, index_schema
from infra.embedded.qdrant.updates import Vectors, batch, upsert

HAS = Vectors({"dense": {"size": 2, "distance": "Cosine"}}, frozenset({"bm25"}))
ID = "3f2c0f7e-58c1-4b3a-9d0e-1b3f5d5e6a77"


@pytest.mark.parametrize(
    "given, read", [(0, 0), (2**64 - 1, 2**64 - 1), (ID, UUID(ID)), (ID.replace("-", ""), UUID(ID))]
)
def test_ids(given, read):
    assert point_id(given) == read


@pytest.mark.parametrize("given", [-1, 2**64, 1.5, "abc", "", None, True, [], {}])
def test_what_is_no_id(given):
    with pytest.raises(RequestRejectedError, match="not a valid point ID"):
        point_id(given)


@pytest.mark.parametrize(
    "given",
    [
        {"must": {"key": "a", "match": {"value": "x"}}},
        {
            "must": [
                {"key": "a", "range": {"gte": 1, "lt": None}},
                {"key": "a", "range": {"gte": "2024-01-01T00:00:00Z"}},
            ]
        },
        {
            "should": [
                {"has_id": [1, ID]},
                {"is_empty": {"key": "a"}},
                {"is_null": {"key": "a"}},
                {"has_vector": "dense"},
            ]
        },
        {"must_not": [{"must": [{"key": "a", "match": {"any": ["x"]}, "range": {"gt": 1}}]}]},
        {"min_should": {"conditions": [{"key": "a", "match": {"except": ["x"]}}], "min_count": 1}},
        {
            "must": [
                {
                    "nested": {
                        "key": "a[]",
                        "filter": {"must": [{"key": "b", "values_count": {"gte": 1, "lt": None}}]},
                    }
                }
            ]
        },
        {},
    ],
)
def test_filters_that_the_engine_takes(given):
    assert isinstance(filter_of(given), edge.Filter)


@pytest.mark.parametrize(
    "given, status, says",
    [
        ({"msut": []}, 400, "unknown field `msut`"),
        ({"must": [{"key": "a"}]}, 422, "tests nothing"),
        ({"must": [{"key": "a", "geo_radius": {}}]}, 400, "no condition `geo_radius`"),
        ({"must": [{"key": "a", "match": {"regex": "x"}}]}, 400, "unknown match"),
        ({"must": [{"has_id": ["abc"]}]}, 400, "not a valid point ID"),
    ],
)
def test_filters_that_are_refused(given, status, says):
    with pytest.raises(RequestRejectedError, match=says) as caught:
        filter_of(given)
    assert caught.value.status == status


SPARSE = {"indices": [1, 5], "values": [0.5, 1.0]}


@pytest.mark.parametrize(
    "points, status, says",
    [
        ([{"id": 1, "vector": {"dense": [1.0]}}], 400, "expected dim: 2, got 1"),
        (
            [{"id": 1, "vector": {"other": [1.0, 2.0]}}],
            400,
            "Not existing vector name error: other",
        ),
        ([{"id": 1, "vector": [1.0, 2.0]}], 400, "Not existing vector name"),
        ([{"id": 1, "vector": {"dense": [1.0, "2"]}}], 400, "finite numbers"),
        ([{"id": 1, "vector": {"dense": [1.0, math.inf]}}], 400, "finite numbers"),
        ([{"id": 1, "vector": {"dense": SPARSE}}], 400, "finite numbers"),
        ([{"id": 1, "vector": {"bm25": [1.0, 2.0]}}], 400, "`indices` and `values`"),
        (
            [{"id": 1, "vector": {"bm25": {"indices": [1, 1], "values": [1.0, 2.0]}}}],
            422,
            "each index once",
        ),
        ([{"id": 1, "vector": {"bm25": {"indices": [1], "values": []}}}], 422, "as many values"),
        ([{"id": 1}], 400, "needs `vector`"),
        ([{"id": 1, "vector": {}, "payload": [1]}], 400, "must be an object"),
        ([{"vector": {}}], 400, "not a valid point ID"),
        (None, 400, "needs `points` or `batch`"),
    ],
)
def test_a_bad_point_is_refused_before_the_engine_sees_any(points, status, says):
    with pytest.raises(RequestRejectedError, match=says) as caught:
        upsert({"points": points}, HAS)
    assert caught.value.status == status


def test_good_points_pass_as_rows_and_as_columns():
    rows = {
        "points": [
            {"id": 1, "vector": {"dense": [1, 2.0], "bm25": SPARSE}, "payload": None},
            {"id": ID, "vector": {}},
        ]
    }
    columns = {
        "batch": {
            "ids": [1, 2],
            "vectors": {"dense": [[1.0, 2.0], [3.0, 4.0]]},
            "payloads": [{"a": 1}, None],
        }
    }
    assert all(isinstance(upsert(body, HAS), edge.UpdateOperation) for body in (rows, columns))
    with pytest.raises(RequestRejectedError, match="as many vectors"):
        upsert({"batch": {"ids": [1, 2], "vectors": {"dense": [[1.0, 2.0]]}}}, HAS)


def test_a_batch_is_checked_whole():
    good = {"delete": {"points": [1]}}
    assert len(batch({"operations": [good, {"clear_payload": {"filter": {}}}]}, HAS)) == 2
    for bad, says in (
        ({"delete": {}}, "say which points"),
        ({"explode": {}}, "unknown operation"),
        ({"set_payload": {"points": [1]}}, "`payload` must be an object"),
    ):
        with pytest.raises(RequestRejectedError, match=says):
            batch({"operations": [good, bad]}, HAS)


def test_rankings():
    assert isinstance(scoring({"nearest": SPARSE}, "bm25"), edge.Query.Nearest)
    assert repr(scoring({"fusion": "rrf"}, None)) == "Fusion.Rrf(k=2)"
    assert repr(scoring({"rrf": {"k": 60}}, None)) == "Fusion.Rrf(k=60)"
    assert isinstance(scoring({"order_by": {"key": "a", "direction": "desc"}}, None), edge.OrderBy)
    for unknown in ({"recommend": {}}, {"nearest": [1.0], "mmr": {"diversity": 1}}, ID, 5):
        with pytest.raises(RequestRejectedError, match="point Weir at a Qdrant server"):
            scoring(unknown, None)


def test_requests():
    nested = {
        "query": {"fusion": "dbsf"},
        "prefetch": {"query": [1.0], "using": "dense", "prefetch": [{"limit": 3}]},
        "limit": 7,
    }
    assert query_request(nested).limit == 7
    assert scroll_request({"order_by": "a", "offset": ID, "with_payload": ["a"]}).limit == 10
    for limit in (0, -1, "ten"):
        with pytest.raises(RequestRejectedError, match="must be 1 or larger"):
            query_request({"limit": limit})
    assert (payload_selector(None, True), payload_selector(False, True), as_list({})) == (
        True,
        False,
        [{}],
    )


@pytest.mark.parametrize(
    "body, status, says",
    [
        ({}, 400, "needs vectors"),
        ({"vectors": {"size": 0, "distance": "Cosine"}}, 422, "must be from 1 to 65536"),
        ({"vectors": {"a": {"size": 2, "distance": "Far"}}}, 400, "unknown distance"),
        (
            {
                "vectors": {
                    "size": 2,
                    "distance": "Dot",
                    "multivector_config": {"comparator": "max_sim"},
                }
            },
            400,
            "no multivectors",
        ),
    ],
)
def test_collections_that_are_refused(body, status, says):
    with pytest.raises(RequestRejectedError, match=says) as caught:
        edge_config(body)
    assert caught.value.status == status


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "a\\b", "a" * 256, "a\nb"])
def test_names_that_are_no_folder(name):
    with pytest.raises(RequestRejectedError, match="not a collection name"):
        check_name(name)


def test_indexes():
    assert isinstance(
        index_schema({"type": "keyword", "is_tenant": True, "on_disk": None}),
        edge.KeywordIndexParams,
    )
    assert index_schema("datetime") == edge.PayloadSchemaType.Datetime
    for unknown in ("geo", None, {"type": "text"}):
        with pytest.raises(RequestRejectedError, match="no payload index"):
            index_schema(unknown)


@pytest.mark.parametrize(
    "error, status",
    [
        (RequestRejectedError(409, "x"), 409),
        (KeyError("ids"), 400),
        (TypeError("x"), 400),
        (OSError(28, "No space left"), 500),
        (Exception("No point with id 5"), 404),
        (Exception("Service runtime error: x"), 500),
        (Exception("anything"), 400),
    ],
)
def test_failures_become_statuses(error, status):
    assert error_response(error)[0] == status
