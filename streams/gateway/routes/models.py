"""The agents that a client may name as `model`, and embeddings."""

import asyncio
import base64
import struct
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from processors.common.text import clean
from schemas.definitions.kinds import Agent, Definitions
from streams.gateway.auth import Requester
from streams.gateway.context import GatewayOf
from streams.gateway.errors import ProblemError
from streams.gateway.openapi import responses_of

router = APIRouter(tags=["OpenAI", "Anthropic"])
TEXTS_MAX = 256
ONE_AT_A_TIME = ThreadPoolExecutor(1, "embedder")
SINCE = "2026-01-01T00:00:00Z"
MODEL = {
    "id": "support",
    "object": "model",
    "created": 0,
    "owned_by": "weir",
    "type": "model",
    "display_name": "Answers customers, looks up orders",
    "created_at": SINCE,
}


class EmbeddingRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [{"model": "all-MiniLM-L6-v2-int8", "input": ["Where is my order?"]}]
        },
    )

    model: str = ""
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, description="only 384, what the model has")


def agents_of(definitions: Definitions, tenant: str) -> list[Agent]:
    """The agents that a tenant may use, by name."""
    return [
        agent
        for agent in definitions.in_force(Agent)
        if not agent.tenants or tenant in agent.tenants
    ]


def entry(agent: Agent) -> dict[str, Any]:
    """An agent as a model, in the fields of both protocols."""
    return {
        "id": agent.name,
        "object": "model",
        "created": 0,
        "owned_by": "weir",
        "type": "model",
        "display_name": agent.description or agent.name,
        "created_at": SINCE,
    }


@router.get(
    "/v1/models",
    responses=responses_of(
        {
            "object": "list",
            "data": [MODEL],
            "has_more": False,
            "first_id": "support",
            "last_id": "support",
        }
    ),
)
async def models(gateway: GatewayOf, caller: Requester) -> dict[str, Any]:
    """The agents that the caller's tenant may use."""
    data = [entry(agent) for agent in agents_of(gateway.link.current_definitions(), caller.tenant)]
    return {
        "object": "list",
        "data": data,
        "has_more": False,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }


@router.get("/v1/models/{name}", responses=responses_of(MODEL))
async def model(name: str, gateway: GatewayOf, caller: Requester) -> dict[str, Any]:
    """One of them."""
    for agent in agents_of(gateway.link.current_definitions(), caller.tenant):
        if agent.name == name:
            return entry(agent)
    raise ProblemError(
        404,
        "unknown_agent",
        f"there is no agent {name!r} for tenant {caller.tenant!r}: GET /v1/models lists "
        "those that there are",
    )


@cache
def embedder() -> Any:
    """The embedder, made when it is first needed: its libraries take a second."""
    from sinks.qdrant.embedder import Embedder

    return Embedder()


@router.post(
    "/v1/embeddings",
    responses=responses_of(
        {
            "object": "list",
            "model": "all-MiniLM-L6-v2-int8",
            "usage": {"prompt_tokens": 5, "total_tokens": 5},
            "data": [{"object": "embedding", "index": 0, "embedding": [0.034, -0.012]}],
        }
    ),
)
async def embed(body: EmbeddingRequest, gateway: GatewayOf, caller: Requester) -> dict[str, Any]:
    """Vectors of length 1 by the model that the knowledge is stored with: 384 numbers of the first
    256 tokens.
    """
    inputs = [body.input] if isinstance(body.input, str) else body.input
    texts = [clean(text) for text in inputs if isinstance(text, str) and text]
    if not 0 < len(inputs) <= TEXTS_MAX or len(texts) < len(inputs):
        raise ProblemError(
            422,
            "bad_input",
            f"`input` is a text, or a list of 1 to {TEXTS_MAX} texts that are not empty: "
            "numbers of tokens are another model's, send the text itself",
        )
    if body.dimensions not in (None, 384):
        raise ProblemError(
            422, "bad_dimensions", "the vectors have 384 dimensions: leave `dimensions` out"
        )
    vectors, tokens = await asyncio.get_running_loop().run_in_executor(
        ONE_AT_A_TIME, lambda: (embedder().dense(texts), embedder().tokens(texts))
    )
    packed = body.encoding_format == "base64"
    return {
        "object": "list",
        "model": body.model or "all-MiniLM-L6-v2-int8",
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "data": [
            {
                "object": "embedding",
                "index": nth,
                "embedding": _packed(vector) if packed else vector,
            }
            for nth, vector in enumerate(vectors)
        ],
    }


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
