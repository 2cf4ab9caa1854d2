"""The answer that every protocol's reader makes of what it has read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from schemas.events.values import ToolRequest
from schemas.vendors.usage import ReportedUsage
from sinks.models.reading.endings import check_complete, finish_reason


@dataclass(frozen=True)
class ReadAnswer:
    """An answer as its provider wrote it; `ended` is the provider's own word for why it ended."""

    model: str
    content: str
    calls: tuple[ToolRequest, ...]
    ended: Any
    usage: ReportedUsage
    service_tier: Any

    def fields(self, endings: Mapping[str, str]) -> dict[str, Any]:
        """The fields of a ChatAnswer that an endpoint decides. Raises CallError where the answer
        ended badly, or says nothing.
        """
        reason = finish_reason(endings, self.ended, bool(self.calls))
        check_complete(self.content, bool(self.calls), reason, self.usage.tokens.output_tokens)
        return {
            "response_model": self.model,
            "content": self.content or None,
            "tool_calls": self.calls,
            "finish_reason": reason,
            "tokens": self.usage.tokens,
            "usage_known": self.usage.known,
            "service_tier": self.service_tier if isinstance(self.service_tier, str) else "",
        }
