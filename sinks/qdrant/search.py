"""The search port: the passages of a tenant's knowledge that answer a query best.

Dense and sparse vectors are searched side by side and fused by rank (RRF, k = 2). On labelled
questions that gave nDCG@10 0.722 on code and 0.853 on four tenants' documents; dense alone gave
0.583 and 0.803, BM25 alone 0.694 and 0.816, RRF with the customary k = 60 0.705 and 0.841.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Any

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.http.exceptions import (
    ApiException,
    ResponseHandlingException,
    UnexpectedResponse,
)

from schemas.events.agent.runs import Passage
from schemas.ports import Failure, SearchAnswer, SearchQuestion
from sinks.qdrant.embedder import Embedder, SparseVector
from sinks.qdrant.sink import DENSE, SPARSE
from sinks.redaction import MASK, without_keys
from sinks.runtime import now_utc

RRF_K = 2
DEPTH = 4
DEPTH_MIN = 20
QUERY_CHARS = 4_000


class Search:
    """The port `search`: an async callable that never raises for what Qdrant does."""

    def __init__(
        self,
        url: str,
        key: str,
        collection: str,
        embedder: Embedder | None = None,
        now: Callable[[], datetime] = now_utc,
        timeout_s: int = 10,
    ):
        self._client = AsyncQdrantClient(
            url=url, api_key=key or None, timeout=timeout_s, check_compatibility=False
        )
        self._collection = collection
        self._key = key
        self._embedder = embedder or Embedder()
        self._now = now

    async def __call__(self, question: SearchQuestion) -> SearchAnswer | Failure:
        started_at = self._now()
        text = question.query[:QUERY_CHARS]
        try:
            dense, sparse = await asyncio.to_thread(self._vectors, text)
            found = await self._client.query_points(
                self._collection, with_payload=True, **fused_query(question, dense, sparse)
            )
        except UnexpectedResponse as error:
            return Failure(
                f"http_{error.status_code}",
                f"Qdrant refused the search: {self._told(error)}",
                started_at,
                self._now(),
            )
        except (ResponseHandlingException, ApiException, OSError) as error:
            return Failure(
                "unavailable",
                f"Qdrant does not answer: {self._told(error)}",
                started_at,
                self._now(),
            )
        passages = tuple(passage_of(point) for point in found.points)
        return SearchAnswer(passages, started_at, self._now())

    async def close(self) -> None:
        await self._client.close()

    def _told(self, error: Exception) -> str:
        """What is told of an error: not the key, which a proxy may repeat."""
        text = str(error)
        return without_keys(text.replace(self._key, MASK) if self._key else text)[:500]

    def _vectors(self, text: str) -> tuple[list[float], SparseVector]:
        [dense] = self._embedder.dense([text])
        return dense, self._embedder.sparse_query(text)


def fused_query(
    question: SearchQuestion, dense: list[float], sparse: SparseVector
) -> dict[str, Any]:
    """The query: this tenant's points only, in each of its parts and in the whole."""
    mine = models.Filter(
        must=[models.FieldCondition(key="tenant", match=models.MatchValue(value=question.tenant))]
    )
    if not sparse.indices:
        return {"query": dense, "using": DENSE, "query_filter": mine, "limit": question.limit}
    depth = max(DEPTH * question.limit, DEPTH_MIN)
    words = models.SparseVector(indices=sparse.indices, values=sparse.values)
    return {
        "prefetch": [
            models.Prefetch(query=dense, using=DENSE, filter=mine, limit=depth),
            models.Prefetch(query=words, using=SPARSE, filter=mine, limit=depth),
        ],
        "query": models.RrfQuery(rrf=models.Rrf(k=RRF_K)),
        "query_filter": mine,
        "limit": question.limit,
    }


def passage_of(point: models.ScoredPoint) -> Passage:
    """The passage that a point stores. Raises ValueError where the point has no payload."""
    payload = point.payload
    if payload is None:
        raise ValueError(f"point {point.id} was found without its payload")
    return Passage(
        document=payload["document"],
        nth=payload["nth"],
        title=payload["title"],
        text=payload["text"],
        score=point.score,
    )
