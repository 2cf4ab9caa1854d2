"""The key of the response cache: when two requests are the same, so that one answer serves both.

Never across tenants, and only where all that a model sees is equal, and the models themselves: a
definition changed is another question. The user is no part of it: opting in says that answers do
not depend on who asks.
"""

import hashlib
import json

from processors.common.text import compact
from schemas.events.agent.models import ModelAsked
from schemas.ports import Endpoint, Kept


def kept(asked: ModelAsked, endpoints: tuple[Endpoint, ...]) -> Kept | None:
    """Where the answer may be kept; None where the agent did not opt in, or a tool failed on the
    way: what was said to a failure must not be said again. Nor is a question cached that does not
    show its whole conversation.
    """
    failed = any(_tells_an_error(m.content) for m in asked.messages if m.role == "tool")
    if not asked.cache_ttl_s or asked.follows or failed:
        return None
    question = {
        "tenant": asked.tenant,
        "model": asked.model,
        "endpoints": [[e.name, e.provider, e.base_url, e.upstream] for e in endpoints],
        "messages": [message.model_dump(mode="json") for message in asked.messages],
        "tools": [tool.model_dump(mode="json") for tool in asked.tools],
        "temperature": asked.temperature,
        "max_output_tokens": asked.max_output_tokens,
        "output_schema": getattr(asked, "output_schema", None),
    }
    key = hashlib.sha256(compact(question).encode("utf-8", "replace")).hexdigest()
    return Kept(asked.tenant, key, asked.cache_ttl_s)


def _tells_an_error(content: str | None) -> bool:
    """As `conversation.error_result` writes it."""
    if not content or not content.startswith('{"error":'):
        return False
    try:
        return json.loads(content).keys() == {"error", "detail"}
    except (ValueError, AttributeError, RecursionError):
        return False
