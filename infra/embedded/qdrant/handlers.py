"""The table of paths of Qdrant's REST protocol, with a handler for each.

A handler takes the collections, the path's parameters and the parsed body, and returns the
`result` of the protocol's response. It raises `RequestRejectedError`, or what the engine raises.
"""

from collections.abc import Callable
from uuid import UUID

import qdrant_edge as edge

from infra.embedded.qdrant import queries, schema, updates
from infra.embedded.qdrant.engine import Collections
from infra.embedded.qdrant.filters import optional_filter, point_id

Handler = Callable[[Collections, dict[str, str], dict], object]


def _create(collections: Collections, path: dict, body: dict) -> bool:
    collections.create(path["name"], body)
    return True


def _index(collections: Collections, path: dict, body: dict) -> dict:
    operation = edge.UpdateOperation.create_field_index(
        body["field_name"], schema.index_schema(body.get("field_schema"))
    )
    return collections[path["name"]].apply([operation])[0]


def _drop_index(collections: Collections, path: dict, _: dict) -> dict:
    return collections[path["name"]].apply(
        [edge.UpdateOperation.delete_field_index(path["field"])]
    )[0]


def _update(operation: Callable) -> Handler:
    def handler(collections: Collections, path: dict, body: dict) -> dict:
        collection = collections[path["name"]]
        return collection.apply([operation(body, collection.has)])[0]

    return handler


def _batch(collections: Collections, path: dict, body: dict) -> list[dict]:
    collection = collections[path["name"]]
    return collection.apply(updates.batch(body, collection.has))


def _query(collections: Collections, path: dict, body: dict) -> dict:
    found = collections[path["name"]].shard.query(queries.query_request(body))
    return {"points": [queries.record(each, body, False) for each in found]}


def _query_batch(collections: Collections, path: dict, body: dict) -> list[dict]:
    request = edge.QueryBatchRequest([queries.query_request(each) for each in body["searches"]])
    found = collections[path["name"]].shard.query_batch(request)
    return [
        {"points": [queries.record(point, asked, False) for point in points]}
        for asked, points in zip(body["searches"], found, strict=True)
    ]


def _scroll(collections: Collections, path: dict, body: dict) -> dict:
    found, offset = collections[path["name"]].shard.scroll(queries.scroll_request(body))
    following = offset if offset is None or isinstance(offset, int) else str(offset)
    return {
        "points": [queries.record(each, body, True) for each in found],
        "next_page_offset": following,
    }


def _retrieve(collections: Collections, path: dict, body: dict) -> list[dict]:
    selector = queries.payload_selector(body.get("with_payload"), True)
    ids: list[int | UUID | str] = [point_id(each) for each in body["ids"]]
    found = collections[path["name"]].shard.retrieve(
        ids, selector, body.get("with_vector") or False
    )
    return [queries.record(each, body, True) for each in found]


def _count(collections: Collections, path: dict, body: dict) -> dict:
    request = edge.CountRequest(
        exact=body.get("exact", True), filter=optional_filter(body.get("filter"))
    )
    return {"count": collections[path["name"]].shard.count(request)}


def _facet(collections: Collections, path: dict, body: dict) -> dict:
    request = edge.FacetRequest(
        body["key"],
        body.get("limit") or queries.DEFAULT_LIMIT,
        bool(body.get("exact")),
        optional_filter(body.get("filter")),
    )
    hits = collections[path["name"]].shard.facet(request).hits
    return {"hits": [{"value": hit.value, "count": hit.count} for hit in hits]}


_ONE = "/collections/{name}"
HANDLERS: tuple[tuple[str, str, Handler], ...] = (
    (
        "GET",
        "/collections",
        lambda all_, path, body: {"collections": [{"name": name} for name in all_.names()]},
    ),
    ("GET", _ONE + "/exists", lambda all_, path, body: {"exists": path["name"] in all_}),
    ("GET", _ONE, lambda all_, path, body: all_[path["name"]].info()),
    ("PUT", _ONE, _create),
    ("DELETE", _ONE, lambda all_, path, body: all_.delete(path["name"])),
    ("PUT", _ONE + "/index", _index),
    ("DELETE", _ONE + "/index/{field}", _drop_index),
    ("PUT", _ONE + "/points", _update(updates.upsert)),
    ("POST", _ONE + "/points", _retrieve),
    ("POST", _ONE + "/points/delete", _update(updates.delete)),
    ("POST", _ONE + "/points/payload", _update(updates.set_payload)),
    ("PUT", _ONE + "/points/payload", _update(updates.overwrite_payload)),
    ("POST", _ONE + "/points/payload/delete", _update(updates.delete_payload)),
    ("POST", _ONE + "/points/payload/clear", _update(updates.clear_payload)),
    ("PUT", _ONE + "/points/vectors", _update(updates.update_vectors)),
    ("POST", _ONE + "/points/vectors/delete", _update(updates.delete_vectors)),
    ("POST", _ONE + "/points/batch", _batch),
    ("POST", _ONE + "/points/query", _query),
    ("POST", _ONE + "/points/query/batch", _query_batch),
    ("POST", _ONE + "/points/scroll", _scroll),
    ("POST", _ONE + "/points/count", _count),
    ("POST", _ONE + "/facet", _facet),
)
