"""Checks collections, payload indexes and points before the edge engine sees them.

Pure functions. Points are checked before the engine sees them, because its upsert is not atomic:
one bad point among good ones would leave the good ones half applied.
"""

import math
import re
from collections.abc import Set as AbstractSet
from typing import Any

import qdrant_edge as edge

from infra.embedded.qdrant.filters import RequestRejectedError, point_id

DISTANCES = {
    name: getattr(edge.Distance, name) for name in ("Cosine", "Dot", "Euclid", "Manhattan")
}
INDEXES = {
    "keyword": edge.KeywordIndexParams,
    "integer": edge.IntegerIndexParams,
    "float": edge.FloatIndexParams,
    "bool": edge.BoolIndexParams,
    "datetime": edge.DatetimeIndexParams,
    "uuid": edge.UuidIndexParams,
}
_PLAIN_INDEXES = {name: getattr(edge.PayloadSchemaType, name.capitalize()) for name in INDEXES}
_NAME = re.compile(r"[^<>:\"/\\|?*\x00-\x1f]{1,255}")


def check_name(name: str) -> None:
    """Raise `RequestRejectedError` for a name that a collection, and so a folder, must not have."""
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise RequestRejectedError(
            422,
            f"Validation error: `{name}` is not a collection name: use 1 to 255 characters "
            'without < > : " / \\ | ? * and not beginning with a dot',
        )


def dense_params(body: dict) -> dict[str, dict]:
    """Size and distance by vector name; the vector without a name has the name ''."""
    given = body.get("vectors") or {}
    return {"": given} if "size" in given else given


def edge_config(body: dict) -> edge.EdgeConfig:
    """The engine's configuration of a new collection. Raises `RequestRejectedError`."""
    dense = {name: _dense(name, params) for name, params in dense_params(body).items()}
    sparse = {
        name: edge.EdgeSparseVectorParams(
            modifier=edge.Modifier.Idf if (params or {}).get("modifier") == "idf" else None
        )
        for name, params in (body.get("sparse_vectors") or {}).items()
    }
    if not dense and not sparse:
        raise RequestRejectedError(400, "Wrong input: a collection needs vectors or sparse_vectors")
    hnsw = body.get("hnsw_config")
    return edge.EdgeConfig(
        vectors=dense.get("", dense) if dense else None,
        sparse_vectors=sparse or None,
        hnsw_config=hnsw and _hnsw(hnsw),
    )


def _dense(name: str, params: dict) -> edge.EdgeVectorParams:
    size = params.get("size")
    distance = params.get("distance")
    if not isinstance(size, int) or not 1 <= size <= 65536:
        raise RequestRejectedError(
            422,
            f"Validation error in JSON body: [vectors.{name}.size: value {size} invalid, "
            "must be from 1 to 65536]",
        )
    if distance not in DISTANCES:
        raise RequestRejectedError(
            400,
            f"Format error in JSON body: unknown distance {distance}, expected one of "
            + ", ".join(DISTANCES),
        )
    if params.get("multivector_config"):
        raise RequestRejectedError(
            400,
            "The embedded Qdrant has no multivectors: leave multivector_config out, "
            "or use a Qdrant server",
        )
    return edge.EdgeVectorParams(size=size, distance=DISTANCES[distance])


def _hnsw(given: dict) -> edge.HnswIndexConfig:
    defaults = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}
    values = {
        name: value if given.get(name) is None else given[name] for name, value in defaults.items()
    }
    return edge.HnswIndexConfig(
        m=values["m"],
        ef_construct=values["ef_construct"],
        full_scan_threshold=values["full_scan_threshold"],
        payload_m=given.get("payload_m"),
    )


def index_schema(given: Any) -> "edge.PayloadSchemaType | edge.PayloadSchemaParams":
    """The schema of a payload index, from its name or its parameters. Raises
    `RequestRejectedError`.
    """
    kind = given.get("type") if isinstance(given, dict) else given
    if kind not in INDEXES:
        raise RequestRejectedError(
            400,
            f"The embedded Qdrant has no payload index of type {kind}: use one of "
            + ", ".join(INDEXES),
        )
    if isinstance(given, str):
        return _PLAIN_INDEXES[kind]
    return INDEXES[kind](
        **{name: value for name, value in given.items() if name != "type" and value is not None}
    )


def index_info(info) -> dict:
    """The protocol's description of a payload index."""
    kind = str(info.data_type).split(".")[-1].lower()
    described: dict[str, Any] = {"data_type": kind, "points": info.points}
    if info.params is None:
        return described
    names = ("is_tenant", "lookup", "range", "is_principal", "on_disk")
    params = {name: getattr(info.params, name, None) for name in names}
    return described | {
        "params": {"type": kind}
        | {name: value for name, value in params.items() if value is not None}
    }


def point(given: dict, dense: dict[str, dict], sparse: AbstractSet[str]) -> edge.Point:
    """A checked point. Raises `RequestRejectedError` on a bad id, vector or payload."""
    identity = point_id(given.get("id"))
    payload = given.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise RequestRejectedError(
            400, f"Format error in JSON body: the payload of point {identity} must be an object"
        )
    return edge.Point(identity, vectors(given.get("vector"), dense, sparse), payload or {})


def vectors(given: Any, dense: dict[str, dict], sparse: AbstractSet[str]) -> Any:
    """The checked vectors of one point: a list for the one without a name, or a dict by name."""
    if isinstance(given, list):
        return _dense_vector("", given, dense)
    if not isinstance(given, dict):
        raise RequestRejectedError(
            400,
            "Format error in JSON body: a point needs `vector`: a list of numbers, "
            "or an object by name",
        )
    return {
        name: _sparse_vector(name, each) if name in sparse else _dense_vector(name, each, dense)
        for name, each in given.items()
    }


def _dense_vector(name: str, given: Any, dense: dict[str, dict]) -> list[float]:
    if name not in dense:
        raise RequestRejectedError(400, f"Wrong input: Not existing vector name error: {name}")
    numbers = isinstance(given, list) and not any(
        isinstance(each, (list, str, dict, bool)) or each is None for each in given
    )
    if not numbers or not math.isfinite(sum(given)):
        raise RequestRejectedError(
            400, f"Wrong input: vector `{name}` must be a list of finite numbers"
        )
    if len(given) != dense[name]["size"]:
        raise RequestRejectedError(
            400,
            f"Wrong input: Vector dimension error: expected dim: {dense[name]['size']}, "
            f"got {len(given)}",
        )
    return given


def _sparse_vector(name: str, given: Any) -> edge.SparseVector:
    indices, values = (
        (given.get("indices"), given.get("values")) if isinstance(given, dict) else (None, None)
    )
    if not isinstance(indices, list) or not isinstance(values, list):
        raise RequestRejectedError(
            400,
            f"Format error in JSON body: sparse vector `{name}` needs lists `indices` and `values`",
        )
    if len(indices) != len(values) or len(set(indices)) != len(indices):
        raise RequestRejectedError(
            422,
            f"Validation error in JSON body: sparse vector `{name}` needs as many values as "
            "indices, each index once",
        )
    return edge.SparseVector(indices=indices, values=values)
