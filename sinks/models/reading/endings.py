"""How an answer of a model ended: one table of the words that providers write for it.

A word that means success, a limit or a filter is written as OpenAI writes it. A word that means a
failure, or that nobody knows, is an error: an unknown ending is never taken for a whole answer.
Servers of one protocol often write the words of another, so each table begins with the common one.
"""

from collections.abc import Mapping
from typing import Any

from sinks.http import CallError, preview

STOP = "stop"
TOOL_CALLS = "tool_calls"
LENGTH = "length"
CONTENT_FILTER = "content_filter"
PROVIDER_FAILED = "failed"

COMMON: Mapping[str, str] = {
    **dict.fromkeys(("stop", "end_turn", "stop_sequence", "eos", "eos_token", "complete"), STOP),
    **dict.fromkeys(("completed", "finish_reason_stop"), STOP),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), TOOL_CALLS),
    **dict.fromkeys(("length", "max_tokens", "model_length", "max_output_tokens"), LENGTH),
    **dict.fromkeys(("max_length", "model_context_window_exceeded", "pause_turn"), LENGTH),
    **dict.fromkeys(("finish_reason_max_tokens", "incomplete"), LENGTH),
    **dict.fromkeys(("content_filter", "content_filtered", "refusal", "sensitive"), CONTENT_FILTER),
    **dict.fromkeys(("safety", "recitation", "blocklist", "prohibited_content"), CONTENT_FILTER),
    **dict.fromkeys(("spii", "image_safety", "guardrail_intervened"), CONTENT_FILTER),
    **dict.fromkeys(("error_toxic", "image_prohibited_content"), CONTENT_FILTER),
    **dict.fromkeys(("error", "failed", "abort", "aborted", "cancelled"), PROVIDER_FAILED),
    **dict.fromkeys(("canceled", "network_error", "timeout", "other"), PROVIDER_FAILED),
    **dict.fromkeys(("insufficient_system_resource", "server_error"), PROVIDER_FAILED),
    **dict.fromkeys(("user_cancel", "error_limit", "load", "unload"), PROVIDER_FAILED),
    **dict.fromkeys(("malformed_function_call", "malformed_response"), PROVIDER_FAILED),
    **dict.fromkeys(("malformed_model_output", "malformed_tool_use"), PROVIDER_FAILED),
    **dict.fromkeys(("unexpected_tool_call", "language"), PROVIDER_FAILED),
    **dict.fromkeys(("too_many_tool_calls", "missing_thought_signature"), PROVIDER_FAILED),
}
"""The words of chat completions, of Gemini's, Mistral's, Cohere's, DeepSeek's, Zhipu's and
Bedrock's answers, and of servers of open models; in small letters, with underscores.
"""
OPENAI: Mapping[str, str] = COMMON
ANTHROPIC: Mapping[str, str] = {**COMMON, "compaction": LENGTH}

EMPTY = "neither text nor a tool call"


def finish_reason(endings: Mapping[str, str], told: Any, has_calls: bool) -> str:
    """The reason in OpenAI's words. Raises CallError where it is a failure, or unknown.

    A provider that gives no reason has ended its answer as its protocol says.
    """
    if told in (None, ""):
        return TOOL_CALLS if has_calls else STOP
    if not isinstance(told, str):
        raise CallError("bad_answer", f"the reason of the end should be text: {preview(told)}")
    meaning = endings.get(told.strip().lower().replace("-", "_"))
    if meaning is None:
        raise CallError(
            "unknown_finish_reason",
            f"the provider ended its answer with {told[:100]!r}, which is no end that is known",
            uncertain=True,
        )
    if meaning == PROVIDER_FAILED:
        detail = f"the provider broke its answer off: {told[:100]}"
        raise CallError("provider_error", detail, retryable=True, uncertain=True)
    return TOOL_CALLS if has_calls and meaning == STOP else meaning


def check_complete(content: str, has_calls: bool, reason: str, output_tokens: int) -> None:
    """Raises CallError where the answer says nothing, or lacks the calls that its end names.

    One that stopped at its limit may have only thought; one that took no tokens either was never
    begun.
    """
    if has_calls:
        return
    if reason == TOOL_CALLS and content:
        detail = "the provider says that the model calls tools, and names none"
        raise CallError("lost_calls", detail, retryable=True, uncertain=True)
    never_begun = reason == LENGTH and not output_tokens
    if not content and (reason in (STOP, TOOL_CALLS) or never_begun):
        raise CallError("empty_answer", EMPTY, retryable=True, uncertain=True)
