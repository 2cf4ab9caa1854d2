"""Translates writes of Qdrant's REST protocol into checked operations of the edge engine.

Pure functions: JSON and a collection's vectors in, one checked operation out. Nothing reaches the
engine before a whole request is valid.
"""

from collections.abc import Callable
from dataclasses import dataclass

import qdrant_edge as edge

from infra.embedded.qdrant.filters import RequestRejectedError, filter_of, optional_filter, point_id
from infra.embedded.qdrant.schema import point, vectors

MODES = {
    None: None,
    "upsert": edge.UpdateMode.Upsert,
    "insert_only": edge.UpdateMode.InsertOnly,
    "update_only": edge.UpdateMode.UpdateOnly,
}
_update = edge.UpdateOperation


@dataclass(frozen=True)
class Vectors:
    """A collection's vectors: the parameters of dense ones by name, the names of sparse ones."""

    dense: dict[str, dict]
    sparse: frozenset[str]


def upsert(body: dict, has: Vectors) -> object:
    """Points, as a list or as columns, perhaps only where a filter or a mode allows it."""
    if body.get("update_mode") not in MODES:
        raise RequestRejectedError(
            400,
            "Format error in JSON body: update_mode must be one of "
            + ", ".join(filter(None, MODES)),
        )
    given = _rows(body["batch"]) if body.get("batch") is not None else body.get("points")
    if not isinstance(given, list):
        raise RequestRejectedError(
            400, "Format error in JSON body: an upsert needs `points` or `batch`"
        )
    points = [point(each, has.dense, has.sparse) for each in given]
    return _update.upsert_points(
        points,
        condition=optional_filter(body.get("update_filter")),
        update_mode=MODES[body.get("update_mode")],
    )


def _rows(batch: dict) -> list[dict]:
    ids = batch["ids"]
    columns = batch["vectors"]
    payloads = batch.get("payloads") or [None] * len(ids)
    named = isinstance(columns, dict)
    if {len(payloads), *map(len, columns.values() if named else [columns])} != {len(ids)}:
        raise RequestRejectedError(
            422, "Validation error in JSON body: a batch needs as many vectors and payloads as ids"
        )
    rows = (
        [{name: column[at] for name, column in columns.items()} for at in range(len(ids))]
        if named
        else columns
    )
    return [
        {"id": i, "vector": v, "payload": p} for i, v, p in zip(ids, rows, payloads, strict=True)
    ]


def delete(body: dict, _: Vectors) -> object:
    return _chosen(body, _update.delete_points, _update.delete_points_by_filter)


def set_payload(body: dict, _: Vectors) -> object:
    return _chosen(
        body, _update.set_payload, _update.set_payload_by_filter, _payload(body), body.get("key")
    )


def overwrite_payload(body: dict, _: Vectors) -> object:
    return _chosen(
        body,
        _update.overwrite_payload,
        _update.overwrite_payload_by_filter,
        _payload(body),
        body.get("key"),
    )


def delete_payload(body: dict, _: Vectors) -> object:
    return _chosen(body, _update.delete_payload, _update.delete_payload_by_filter, body["keys"])


def clear_payload(body: dict, _: Vectors) -> object:
    return _chosen(body, _update.clear_payload, _update.clear_payload_by_filter)


def update_vectors(body: dict, has: Vectors) -> object:
    changed = [
        edge.PointVectors(point_id(each["id"]), vectors(each["vector"], has.dense, has.sparse))
        for each in body["points"]
    ]
    return _update.update_vectors(changed, condition=optional_filter(body.get("update_filter")))


def delete_vectors(body: dict, _: Vectors) -> object:
    names = body.get("vector") or body.get("vectors")
    return _chosen(body, _update.delete_vectors, _update.delete_vectors_by_filter, names)


BATCHED: dict[str, Callable[[dict, Vectors], object]] = {
    "upsert": upsert,
    "delete": delete,
    "set_payload": set_payload,
    "overwrite_payload": overwrite_payload,
    "delete_payload": delete_payload,
    "clear_payload": clear_payload,
    "update_vectors": update_vectors,
    "delete_vectors": delete_vectors,
}


def batch(body: dict, has: Vectors) -> list[object]:
    """All operations of a batch, each checked before the first is applied."""
    return [
        _batched(kind)(inner, has) for each in body["operations"] for kind, inner in each.items()
    ]


def _batched(kind: str) -> Callable[[dict, Vectors], object]:
    if kind not in BATCHED:
        raise RequestRejectedError(
            400,
            f"Format error in JSON body: unknown operation {kind}, expected one of "
            + ", ".join(BATCHED),
        )
    return BATCHED[kind]


def _payload(body: dict) -> dict:
    if not isinstance(body.get("payload"), dict):
        raise RequestRejectedError(400, "Format error in JSON body: `payload` must be an object")
    return body["payload"]


def _chosen(body: dict, by_ids: Callable, by_filter: Callable, *rest: object) -> object:
    if body.get("points") is not None:
        return by_ids([point_id(each) for each in body["points"]], *rest)
    if body.get("filter") is not None:
        return by_filter(filter_of(body["filter"]), *rest)
    raise RequestRejectedError(
        400, "Format error in JSON body: say which points, by `points` or by `filter`"
    )
