"""The semantic conventions of spans: which attribute holds the model, the tokens, the tool, the
answer.

One row a dialect. An attribute that begins with one of its `marks` gives a dialect away; the first
that fits is it. `fields` names, for each column, the attributes that may hold it, best first; what
a dialect does not say itself may stand in OpenTelemetry's own words (`OTEL`), as Vercel's and
OpenLLMetry's spans do. `operations` translates what a dialect says that a span did. `said` and
`answered` are where messages stand: an attribute of JSON, or the beginning of many.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

Names = tuple[str, ...]

MODEL_CALLS = frozenset({"chat", "text_completion", "generate_content", "embeddings"})
"""Only these carry tokens and cost: what a span around them adds up would be counted twice."""


@dataclass(frozen=True)
class Dialect:
    """How one family of instrumentation speaks."""

    name: str
    marks: Names
    fields: Mapping[str, Names]
    operations: Mapping[str, str] = field(default_factory=dict)
    said: Names = ()
    answered: Names = ()


OTEL = Dialect(
    "otel",
    ("gen_ai.",),
    {
        "operation": ("gen_ai.operation.name", "weir.operation"),
        "provider": ("gen_ai.provider.name", "gen_ai.system"),
        "request_model": ("gen_ai.request.model",),
        "response_model": ("gen_ai.response.model",),
        "finish_reason": ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reason"),
        "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
        "cached_input_tokens": (
            "gen_ai.usage.cache_read.input_tokens",
            "gen_ai.usage.cache_read_input_tokens",
            "gen_ai.usage.input_tokens.cached",
            "gen_ai.usage.cached_input_tokens",
            "gen_ai.usage.details.cache_read_tokens",
            "gen_ai.usage.details.cached_tokens",
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_write.input_tokens",
            "gen_ai.usage.cache_creation.input_tokens",
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write_input_tokens",
            "gen_ai.usage.input_tokens.cache_write",
            "gen_ai.usage.details.cache_write_tokens",
        ),
        "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
        "reasoning_tokens": (
            "gen_ai.usage.reasoning.output_tokens",
            "gen_ai.usage.reasoning_output_tokens",
            "gen_ai.usage.output_tokens.reasoning",
            "gen_ai.usage.reasoning_tokens",
            "gen_ai.usage.details.reasoning_tokens",
        ),
        "input_audio_tokens": ("gen_ai.usage.details.input_audio_tokens",),
        "output_audio_tokens": ("gen_ai.usage.details.output_audio_tokens",),
        "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
        "feature": ("weir.feature", "feature"),
        "team": ("weir.team", "team"),
        "agent": ("gen_ai.agent.name",),
        "session": ("gen_ai.conversation.id", "session.id"),
        "user": ("user.id", "enduser.id", "gen_ai.user"),
        "tool": ("gen_ai.tool.name",),
        "error_type": ("error.type",),
        "input": ("gen_ai.tool.call.arguments", "gen_ai.retrieval.query.text"),
        "output": ("gen_ai.tool.call.result", "gen_ai.retrieval.documents"),
    },
    operations={
        "completion": "text_completion",
        "embedding": "embeddings",
        "response": "chat",
        "responses": "chat",
        "message": "chat",
        "messages": "chat",
        "rerank": "retrieval",
        "tool": "execute_tool",
        "agent": "invoke_agent",
        "workflow": "invoke_workflow",
    },
    said=("gen_ai.input.messages", "gen_ai.prompt"),
    answered=("gen_ai.output.messages", "gen_ai.completion"),
)

OPENINFERENCE = Dialect(
    "openinference",
    (
        "openinference.",
        "llm.token_count.",
        "llm.model_name",
        "llm.input_messages.",
        "llm.output_messages.",
    ),
    {
        "operation": ("openinference.span.kind",),
        "provider": ("llm.provider", "llm.system"),
        "request_model": (
            "llm.request.model_name",
            "llm.model_name",
            "embedding.model_name",
            "reranker.model_name",
        ),
        "response_model": ("llm.response.model_name", "llm.model_name", "embedding.model_name"),
        "finish_reason": ("llm.finish_reason",),
        "input_tokens": ("llm.token_count.prompt",),
        "cached_input_tokens": (
            "llm.token_count.prompt_details.cache_read",
            "llm.token_count.prompt_details.cache_input",
        ),
        "cache_write_tokens": ("llm.token_count.prompt_details.cache_write",),
        "output_tokens": ("llm.token_count.completion",),
        "reasoning_tokens": ("llm.token_count.completion_details.reasoning",),
        "input_audio_tokens": ("llm.token_count.prompt_details.audio",),
        "output_audio_tokens": ("llm.token_count.completion_details.audio",),
        "agent": ("agent.name", "graph.node.id"),
        "session": ("session.id",),
        "tool": ("tool.name", "tool_call.function.name"),
        "input": ("tool_call.function.arguments", "tool.parameters", "input.value"),
        "output": ("output.value",),
    },
    operations={
        "LLM": "chat",
        "EMBEDDING": "embeddings",
        "AGENT": "invoke_agent",
        "TOOL": "execute_tool",
        "RETRIEVER": "retrieval",
        "RERANKER": "retrieval",
        "GUARDRAIL": "guardrail",
        "CHAIN": "invoke_workflow",
    },
    said=("llm.input_messages",),
    answered=("llm.output_messages",),
)

OPENLLMETRY = Dialect(
    "openllmetry",
    (
        "traceloop.",
        "llm.usage.",
        "llm.request.type",
        "gen_ai.prompt.",
        "gen_ai.completion.",
    ),
    {
        "operation": ("llm.request.type", "traceloop.span.kind"),
        "provider": ("gen_ai.provider.name", "gen_ai.system", "llm.vendor"),
        "request_model": ("gen_ai.request.model", "llm.request.model"),
        "response_model": ("gen_ai.response.model", "llm.response.model"),
        "finish_reason": ("gen_ai.completion.0.finish_reason", "llm.response.finish_reason"),
        "input_tokens": (
            "gen_ai.usage.input_tokens",
            "gen_ai.usage.prompt_tokens",
            "llm.usage.prompt_tokens",
        ),
        "cached_input_tokens": (
            "gen_ai.usage.cache_read_input_tokens",
            "llm.usage.cache_read_input_tokens",
        ),
        "cache_write_tokens": (
            "gen_ai.usage.cache_creation_input_tokens",
            "llm.usage.cache_creation_input_tokens",
        ),
        "output_tokens": (
            "gen_ai.usage.output_tokens",
            "gen_ai.usage.completion_tokens",
            "llm.usage.completion_tokens",
        ),
        "reasoning_tokens": ("gen_ai.usage.reasoning_tokens", "llm.usage.reasoning_tokens"),
        "agent": ("gen_ai.agent.name", "traceloop.workflow.name"),
        "feature": ("traceloop.association.properties.feature",),
        "team": ("traceloop.association.properties.team",),
        "session": (
            "traceloop.association.properties.session_id",
            "traceloop.association.properties.chat_id",
        ),
        "user": ("traceloop.association.properties.user_id", "llm.user"),
        "tool": ("gen_ai.tool.name", "traceloop.entity.name"),
        "input": ("traceloop.entity.input",),
        "output": ("traceloop.entity.output",),
    },
    operations={
        "chat": "chat",
        "completion": "text_completion",
        "embedding": "embeddings",
        "rerank": "retrieval",
        "workflow": "invoke_workflow",
        "agent": "invoke_agent",
        "tool": "execute_tool",
    },
    said=("gen_ai.prompt",),
    answered=("gen_ai.completion",),
)

VERCEL = Dialect(
    "vercel",
    (
        "ai.operationId",
        "ai.model.",
        "ai.usage.",
        "ai.toolCall.",
        "ai.response.",
    ),
    {
        "operation": ("ai.operationId",),
        "provider": ("gen_ai.provider.name", "gen_ai.system", "ai.model.provider"),
        "request_model": ("ai.model.id", "gen_ai.request.model"),
        "response_model": ("ai.response.model", "gen_ai.response.model"),
        "finish_reason": ("ai.response.finishReason",),
        "input_tokens": ("ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
        "cached_input_tokens": (
            "ai.usage.inputTokenDetails.cacheReadTokens",
            "ai.usage.cachedInputTokens",
        ),
        "cache_write_tokens": (
            "ai.usage.inputTokenDetails.cacheWriteTokens",
            "ai.usage.cacheCreationInputTokens",
        ),
        "output_tokens": ("ai.usage.outputTokens", "ai.usage.completionTokens"),
        "reasoning_tokens": (
            "ai.usage.outputTokenDetails.reasoningTokens",
            "ai.usage.reasoningTokens",
        ),
        "agent": ("ai.telemetry.functionId",),
        "feature": ("ai.telemetry.metadata.feature",),
        "team": ("ai.telemetry.metadata.team",),
        "session": ("ai.telemetry.metadata.sessionId", "ai.telemetry.metadata.chatId"),
        "user": ("ai.telemetry.metadata.userId",),
        "tool": ("ai.toolCall.name",),
        "input": ("ai.toolCall.args", "ai.toolCall.input", "ai.value"),
        "output": ("ai.toolCall.result", "ai.toolCall.output"),
    },
    operations={
        "ai.generateText": "invoke_agent",
        "ai.streamText": "invoke_agent",
        "ai.generateObject": "invoke_agent",
        "ai.streamObject": "invoke_agent",
        "ai.generateText.doGenerate": "chat",
        "ai.streamText.doStream": "chat",
        "ai.generateObject.doGenerate": "chat",
        "ai.streamObject.doStream": "chat",
        "ai.toolCall": "execute_tool",
        "ai.embed.doEmbed": "embeddings",
        "ai.embedMany.doEmbed": "embeddings",
        "ai.rerank.doRerank": "retrieval",
    },
    said=("ai.prompt.messages", "ai.prompt"),
    answered=("ai.response.text", "ai.response.toolCalls", "ai.response.object"),
)

OPENAI = Dialect(
    "openai",
    (
        "openai.",
        "choices.",
        "usage.prompt_tokens",
        "usage.completion_tokens",
        "usage.input_tokens",
        "usage.output_tokens",
    ),
    {
        "operation": ("openai.object", "object"),
        "provider": ("openai.provider",),
        "request_model": ("openai.request.model", "request.model", "openai.model", "model"),
        "response_model": ("openai.response.model", "response.model", "openai.model", "model"),
        "finish_reason": ("choices.0.finish_reason", "openai.choices.0.finish_reason"),
        "input_tokens": (
            "usage.prompt_tokens",
            "usage.input_tokens",
            "openai.usage.prompt_tokens",
            "openai.usage.input_tokens",
        ),
        "cached_input_tokens": (
            "usage.prompt_tokens_details.cached_tokens",
            "usage.input_tokens_details.cached_tokens",
            "openai.usage.prompt_tokens_details.cached_tokens",
        ),
        "output_tokens": (
            "usage.completion_tokens",
            "usage.output_tokens",
            "openai.usage.completion_tokens",
            "openai.usage.output_tokens",
        ),
        "reasoning_tokens": (
            "usage.completion_tokens_details.reasoning_tokens",
            "usage.output_tokens_details.reasoning_tokens",
            "openai.usage.completion_tokens_details.reasoning_tokens",
        ),
        "input_audio_tokens": (
            "usage.prompt_tokens_details.audio_tokens",
            "openai.usage.prompt_tokens_details.audio_tokens",
        ),
        "output_audio_tokens": (
            "usage.completion_tokens_details.audio_tokens",
            "openai.usage.completion_tokens_details.audio_tokens",
        ),
        "service_tier": ("service_tier", "openai.service_tier"),
        "user": ("user", "openai.user"),
    },
    operations={
        "chat.completion": "chat",
        "response": "chat",
        "text_completion": "text_completion",
        "list": "embeddings",
    },
    said=("messages", "openai.messages"),
    answered=("choices", "openai.choices"),
)

DIALECTS = (VERCEL, OPENINFERENCE, OPENLLMETRY, OTEL, OPENAI)
"""In this order: Vercel's and OpenLLMetry's spans speak OpenTelemetry's words beside their own."""

PLAIN = Dialect("plain", (), {})
"""A span that says nothing of a model: kept, because a trace without it has a hole."""

PROVIDERS = {
    "azure": "azure.ai.openai",
    "az.ai.openai": "azure.ai.openai",
    "azure_openai": "azure.ai.openai",
    "aws": "aws.bedrock",
    "bedrock": "aws.bedrock",
    "aws_bedrock": "aws.bedrock",
    "amazon-bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "gemini": "gcp.gemini",
    "google.generative-ai": "gcp.gemini",
    "vertex_ai": "gcp.vertex_ai",
    "vertexai": "gcp.vertex_ai",
    "google.vertex": "gcp.vertex_ai",
    "gcp.gen_ai": "gcp.gemini",
    "mistral": "mistral_ai",
    "mistralai": "mistral_ai",
    "xai": "x_ai",
    "x-ai": "x_ai",
    "azure-openai": "azure.ai.openai",
}
"""Providers as others write them, in small letters, and as OpenTelemetry names them."""

MAKERS = (
    ("gpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding-", "openai"),
    ("claude-", "anthropic"),
    ("gemini-", "gcp.gemini"),
)
"""Where a span names no provider: whose a model is by the beginning of its name."""
