"""Makes OTLP exports of spans of an LLM application for the benchmarks, all of them different.

An agent, its calls of a model with their messages, its tools, its HTTP calls, in traces of ten
spans.
"""

import json
import random
import time
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SEED = 7
TRACE_SPANS = 10
EXPORT_SPANS = 512
WORDS = [f"word{n:x}" for n in range(4_096)]
TEXT_WORDS = 60
NS = 1_000_000_000


def exports(spans: int, seed: int = SEED) -> Iterator[ExportTraceServiceRequest]:
    """Exports of so many spans in all; another seed makes other spans."""
    dice = random.Random(seed)
    now_ns = time.time_ns() - 60 * NS
    left = spans
    trace = b""
    while left:
        request = ExportTraceServiceRequest()
        around = request.resource_spans.add()
        for name, value in (
            ("service.name", "shop"),
            ("telemetry.sdk.language", "python"),
            ("host.name", "web-1"),
        ):
            around.resource.attributes.add(key=name).value.string_value = value
        scope = around.scope_spans.add()
        scope.scope.name = "acme.llm"
        for _ in range(min(EXPORT_SPANS, left)):
            trace = dice.randbytes(16) if left % TRACE_SPANS == 0 or not trace else trace
            start_ns = now_ns + dice.randrange(NS)
            _fill(
                scope.spans.add(
                    trace_id=trace,
                    span_id=dice.randbytes(8),
                    parent_span_id=trace[:8],
                    kind=3,
                    start_time_unix_nano=start_ns,
                    end_time_unix_nano=start_ns + NS,
                ),
                left,
                dice,
            )
            left -= 1
        yield request


def _fill(span: Span, nth: int, dice: random.Random) -> None:
    what = ("chat", "chat", "execute_tool", "http", "chat")[nth % 5]
    span.name = {"chat": "chat gpt-4o-mini", "execute_tool": "execute_tool lookup", "http": "GET"}[
        what
    ]
    attributes: dict[str, Any] = {
        "server.address": "api.openai.com",
        "server.port": 443,
        "thread.id": nth % 8,
    }
    if what == "http":
        attributes |= {
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "url.path": "/orders/A-1001",
        }
    else:
        attributes |= {
            "gen_ai.operation.name": what,
            "gen_ai.conversation.id": f"chat-{nth // 50}",
            "user.id": f"u-{nth % 99}",
        }
    if what == "execute_tool":
        attributes |= {
            "gen_ai.tool.name": "lookup",
            "gen_ai.tool.call.arguments": '{"order":"A-1001"}',
        }
    elif what == "chat":
        said = [
            {
                "role": "user",
                "parts": [{"type": "text", "content": " ".join(dice.choices(WORDS, k=TEXT_WORDS))}],
            }
        ]
        attributes |= {
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "gpt-4o-mini",
            "gen_ai.request.seed": 7,
            "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
            "gen_ai.response.id": f"r-{nth}",
            "gen_ai.usage.input_tokens": dice.randrange(4_000),
            "gen_ai.usage.output_tokens": dice.randrange(500),
            "gen_ai.input.messages": json.dumps(said),
            "gen_ai.output.messages": json.dumps(said),
        }
    for name, value in attributes.items():
        setattr(
            span.attributes.add(key=name).value,
            "int_value" if isinstance(value, int) else "string_value",
            value,
        )
