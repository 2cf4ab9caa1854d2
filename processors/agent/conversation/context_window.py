"""Context window: which messages of a long conversation the model goes on seeing.

By `Agent.context`: nothing changes while all fits its budget. Over it, results of tools older than
the last turns are shortened; where that is not enough, what is older is summarised by a call of its
own, whose answer takes its place, or is left out. A turn is an answer of the model with the results
of its calls: these are never parted. What is changed stays changed, and a quarter of the budget is
made free at once: the beginning is the same from step to step, as providers' caches want it, until
the next time. A token is estimated as four characters.
"""

from dataclasses import dataclass, replace

from processors.agent.conversation.messages import chars_in, user_says
from processors.agent.state import Active
from processors.common.text import CHARS_A_TOKEN, cut
from schemas.definitions.limits import Context
from schemas.events.values import Message, ToolSpec

SUMMARY_TOKENS = 1_000
CUT_MARK_CHARS = 60
"""The most characters by which the words that say so make a shortened result too long."""

SUMMARISE = (
    "The conversation has become long. Summarise it so far, for yourself: everything in it will be "
    "gone, and you will go on with your summary alone. Keep the task, what was decided and done, "
    "results with their exact names, numbers and ids, and what is still to be done. "
    "Call no tool now."
)
SUMMARY = "Summary of the conversation so far:\n"
LEFT_OUT = "What was said before this is left out, because the conversation had become too long."


@dataclass(frozen=True)
class Shaped:
    """The messages from now on. The first `older` of them are to be summarised first; `too_long`:
    nothing helps.
    """

    messages: tuple[Message, ...]
    older: int = 0
    too_long: bool = False


def room(context: Context, system: str, tools: tuple[ToolSpec, ...]) -> int:
    """The characters that are left for messages, beside the prompt and the tools."""
    fixed = len(system) + sum(
        len(tool.name) + len(tool.description) + len(tool.parameters) for tool in tools
    )
    return max(0, context.tokens * CHARS_A_TOKEN - fixed)


def shaped(messages: tuple[Message, ...], text: str, context: Context, room: int) -> Shaped:
    """These messages, about the request `text`, brought into `room` characters. Where not even the
    last turns fit as they are, with fewer of them, and with their results shortened too.
    """
    if chars_in(messages) <= room:
        return Shaped(messages)
    messages = _shortened(messages, _last_turns(messages, context.recent_turns), context)
    if chars_in(messages) <= room * 3 // 4:
        return Shaped(messages)
    for candidate in (messages, _shortened(messages, len(messages), context)):
        for turns in range(context.recent_turns, 0, -1):
            older = _last_turns(candidate, turns)
            task = _task(candidate, older, text)
            spared = chars_in(candidate[:older]) - chars_in(task)
            remaining = chars_in((*task, *candidate[older:]))
            summary = _summary_chars(room) + len(SUMMARY)
            if remaining <= room * 3 // 4 and spared > summary:
                if context.summary:
                    return Shaped(candidate, older)
                return _without(candidate, older, task)
    return Shaped(candidate, too_long=chars_in(candidate) > room)


def summarised(session: Active, text: str | None, room: int) -> Active:
    """The session with its older messages replaced by their summary, or by a sentence that they are
    left out.
    """
    run = session.run
    older = run.summary_of
    head = user_says(SUMMARY + cut(text, _summary_chars(room)) if text else LEFT_OUT)
    messages = (head, *_task(session.messages, older, run.task), *session.messages[older:])
    run = replace(run, summary_of=0, asides=run.asides + 1)
    return replace(session, messages=messages, run=run)


def question(messages: tuple[Message, ...], older: int, room: int) -> tuple[Message, ...]:
    """The messages to be summarised, the newest that there is room for, and the request for it."""
    newest = messages[:older]
    while newest and chars_in(newest) > room:
        newest = newest[1:]
        while newest and newest[0].role == "tool":  # a result is never without its call
            newest = newest[1:]
    return (*newest, user_says(SUMMARISE))


def _without(messages: tuple[Message, ...], older: int, task: tuple[Message, ...]) -> Shaped:
    return Shaped((user_says(LEFT_OUT), *task, *messages[older:]))


def _summary_chars(room: int) -> int:
    return min(room // 4, SUMMARY_TOKENS * CHARS_A_TOKEN)


def _last_turns(messages: tuple[Message, ...], turns: int) -> int:
    """The index at which the last turns of the model begin, with what they were asked."""
    answers = [index for index, message in enumerate(messages) if message.role == "assistant"]
    index = answers[-turns] if len(answers) >= turns else 0
    while index > 0 and messages[index - 1].role == "user":
        index -= 1
    return index


def _task(messages: tuple[Message, ...], older: int, text: str) -> tuple[Message, ...]:
    """The message with what the model is working on, where it stands in the older part: that is
    never summarised away.
    """
    asked = [message for message in messages[:older] if message.role == "user"]
    own = [message for message in asked if message.content == text]
    later = [message for message in messages[older:] if message.role == "user"]
    if any(message.content == text for message in later) or (later and not own):
        return ()
    return tuple((own or asked)[-1:])


def _shortened(messages: tuple[Message, ...], end: int, context: Context) -> tuple[Message, ...]:
    """The messages with long results of tools before `end` cut."""
    limit = context.tool_result_chars
    shortened = list(messages)
    for index, message in enumerate(messages[:end]):
        content = message.content or ""
        if message.role == "tool" and len(content) > limit + CUT_MARK_CHARS:
            shortened[index] = message.model_copy(update={"content": cut(content, limit)})
    return tuple(shortened)
