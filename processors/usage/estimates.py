"""Estimates what a call took of which the provider reported no usage.

An estimate stands beside the unknown cost and never in its place. It counts towards hard budgets,
so that a server that reports nothing does not spend without end.
"""

from processors.common.text import CHARS_A_TOKEN
from schemas.events.values import Tokens
from schemas.ports import ChatAnswer


def estimated_tokens(input_chars: int, answer: ChatAnswer) -> Tokens:
    """The tokens of a call by its lengths, and at least what was reported."""
    calls = sum(len(call.name) + len(call.arguments) for call in answer.tool_calls)
    output_chars = len(answer.content or "") + calls
    reported = answer.tokens
    return reported.model_copy(
        update={
            "input_tokens": reported.input_tokens or tokens_in_chars(input_chars),
            "output_tokens": max(reported.output_tokens, tokens_in_chars(output_chars)),
        }
    )


def tokens_in_chars(chars: int) -> int:
    """The tokens of a text of so many characters, rounded up: no text is free."""
    return -(-chars // CHARS_A_TOKEN)
