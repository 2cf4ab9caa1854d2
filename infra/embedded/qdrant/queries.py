"""Translates reads of Qdrant's REST protocol to the edge engine, and their results back.

All functions are pure.
"""

from typing import Any

import qdrant_edge as edge

from infra.embedded.qdrant.filters import RequestRejectedError, as_list, optional_filter, point_id

DEFAULT_LIMIT = 10
RRF_K = 2  # a server's default
_DIRECTIONS = {None: None, "asc": edge.Direction.Asc, "desc": edge.Direction.Desc}


def query_request(body: dict) -> edge.QueryRequest:
    """A query with its prefetches. Raises `RequestRejectedError`."""
    return edge.QueryRequest(
        limit=_limit(body),
        offset=body.get("offset") or 0,
        query=scoring(body.get("query"), body.get("using")),
        prefetches=[prefetch(each) for each in as_list(body.get("prefetch"))],
        with_vector=body.get("with_vector") or False,
        with_payload=payload_selector(body.get("with_payload"), False),
        filter=optional_filter(body.get("filter")),
        score_threshold=body.get("score_threshold"),
        params=_params(body.get("params")),
    )


def prefetch(body: dict) -> edge.Prefetch:
    """One source of candidates, itself perhaps with sources."""
    return edge.Prefetch(
        limit=_limit(body),
        query=scoring(body.get("query"), body.get("using")),
        prefetches=[prefetch(each) for each in as_list(body.get("prefetch"))],
        params=_params(body.get("params")),
        filter=optional_filter(body.get("filter")),
        score_threshold=body.get("score_threshold"),
    )


def scoring(given: object, using: str | None) -> Any:
    """What a query ranks by: a vector, a fusion of prefetches, an order, chance, or nothing."""
    match given:
        case None:
            return None
        case list() | {"indices": _, "values": _}:
            return edge.Query.Nearest(_vector(given), using=using)
        case {"nearest": inner, **rest} if not any(rest.values()):
            return scoring(inner, using)
        case {"fusion": "rrf"}:
            return edge.Fusion.Rrf(k=RRF_K)
        case {"fusion": "dbsf"}:
            return edge.Fusion.Dbsf()
        case {"rrf": rrf}:
            return edge.Fusion.Rrf(k=rrf.get("k") or RRF_K, weights=rrf.get("weights"))
        case {"order_by": order}:
            return order_by(order)
        case {"sample": "random"}:
            return edge.Sample.Random
    raise RequestRejectedError(
        400,
        "The embedded Qdrant ranks by a dense or sparse vector, rrf, dbsf, order_by or sample: "
        "use one of them, or point Weir at a Qdrant server",
    )


def _vector(given: Any) -> Any:
    return (
        edge.SparseVector(indices=given["indices"], values=given["values"])
        if isinstance(given, dict)
        else given
    )


def order_by(given: Any) -> edge.OrderBy:
    """An order by a payload field that has a range index."""
    if isinstance(given, str):
        return edge.OrderBy(given)
    return edge.OrderBy(given["key"], _DIRECTIONS[given.get("direction")], given.get("start_from"))


def scroll_request(body: dict) -> edge.ScrollRequest:
    """One page of points, in the order of their ids or by a field."""
    offset = body.get("offset")
    order = body.get("order_by")
    return edge.ScrollRequest(
        offset=None if offset is None else point_id(offset),
        limit=_limit(body),
        filter=optional_filter(body.get("filter")),
        with_payload=payload_selector(body.get("with_payload"), True),
        with_vector=body.get("with_vector") or False,
        order_by=None if order is None else order_by(order),
    )


def payload_selector(given: Any, default: bool) -> "edge.WithPayloadType":
    """All, none, a list of keys, or all but some."""
    match given:
        case None:
            return default
        case {"include": keys}:
            return edge.PayloadSelector.Include(keys)
        case {"exclude": keys}:
            return edge.PayloadSelector.Exclude(keys)
    return given


def record(found, body: dict, payload_default: bool) -> dict:
    """A point in the protocol's form; `version` and `score` only where it was ranked."""
    point: dict[str, Any] = {"id": found.id if isinstance(found.id, int) else str(found.id)}
    if hasattr(found, "score"):
        point |= {"version": found.version, "score": found.score}
    if (
        payload_selector(body.get("with_payload"), payload_default) is not False
        and found.payload is not None
    ):
        point["payload"] = found.payload
    if body.get("with_vector") and found.vector is not None:
        point["vector"] = _vector_json(found.vector)
    if found.order_value is not None:
        point["order_value"] = found.order_value
    return point


def _vector_json(vector: object) -> object:
    if isinstance(vector, edge.SparseVector):
        return {"indices": list(vector.indices), "values": list(vector.values)}
    return (
        {name: _vector_json(each) for name, each in vector.items()}
        if isinstance(vector, dict)
        else vector
    )


def _limit(body: dict) -> int:
    limit = DEFAULT_LIMIT if body.get("limit") is None else body["limit"]
    if not isinstance(limit, int) or limit < 1:
        raise RequestRejectedError(
            422,
            f"Validation error in JSON body: [limit: value {limit} invalid, must be 1 or larger]",
        )
    return limit


def _params(given: dict | None) -> edge.SearchParams | None:
    if not given:
        return None
    return edge.SearchParams(
        hnsw_ef=given.get("hnsw_ef"),
        exact=bool(given.get("exact")),
        indexed_only=bool(given.get("indexed_only")),
    )
