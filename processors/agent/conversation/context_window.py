"""What of a conversation that has grown too long does the model go on seeing?

By `Agent.context`: nothing changes while all fits its budget. Over it, results of tools older than
the last turns are shortened; where that is not enough, what is older is summarised by a call of its
own, whose answer takes its place, or is left out. A turn is an answer of the model with the results
of its calls: these are never parted. What is changed stays changed, and a quarter of the budget is
made free at once: the beginning is the same from step to step, as providers' caches want it, until
the next time. A token is estimated as four characters.
"""

from dataclasses import dataclass, replace

from processors.agent.conversation.messages import chars_in, user_says
from processors.agent.state import Session
from processors.common.text import CHARS_A_TOKEN, cut
from schemas.definitions.limits import Context
from schemas.events.values import Message, ToolSpec

SUMMARY_TOKENS = 1_000
CUT_MARK_CHARS = 60
"""A result that was shortened is a little longer than it may be, by the words that say so."""

SUMMARISE = (
    "The conversation has become long. Summarise it so far, for yourself: everything in it will be gone, and you "
    "will go on with your summary alone. Keep the task, what was decided and done, results with their exact "
    "names, numbers and ids, and what is still to be done. Call no tool now."
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
    """How these messages, about the request `text`, get into `room` characters; where not even the
    last turns as they are do, with fewer of them, and with their results shortened too.
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
            if chars_in((*task, *candidate[older:])) <= room * 3 // 4 and spared > _summary_chars(
                room
            ) + len(SUMMARY):
                return (
                    Shaped(candidate, older)
                    if context.summary
                    else _without(candidate, older, task)
                )
    return Shaped(candidate, too_long=chars_in(candidate) > room)


def summarised(session: Session, text: str | None, room: int) -> Session:
    """The session with its older messages replaced by their summary, or by a word that they are
    left out.
    """
    run, older = session.run, session.run.summary_of
    head = user_says(LEFT_OUT if not text else SUMMARY + cut(text, _summary_chars(room)))
    messages = (head, *_task(session.messages, older, run.task), *session.messages[older:])
    return replace(
        session, messages=messages, run=replace(run, summary_of=0, asides=run.asides + 1)
    )


def question(messages: tuple[Message, ...], older: int, room: int) -> tuple[Message, ...]:
    """What is summarised, with the request to do so at its end: as much of it as there is room for,
    the newest.
    """
    kept = messages[:older]
    while kept and chars_in(kept) > room:
        kept = kept[1:]
        while kept and kept[0].role == "tool":
            kept = kept[1:]
    return (*kept, user_says(SUMMARISE))


def _without(messages: tuple[Message, ...], older: int, task: tuple[Message, ...]) -> Shaped:
    return Shaped((user_says(LEFT_OUT), *task, *messages[older:]))


def _summary_chars(room: int) -> int:
    return min(room // 4, SUMMARY_TOKENS * CHARS_A_TOKEN)


def _last_turns(messages: tuple[Message, ...], turns: int) -> int:
    """Where the last turns of the model begin, with what they were asked."""
    answers = [place for place, message in enumerate(messages) if message.role == "assistant"]
    place = answers[-turns] if len(answers) >= turns else 0
    while place > 0 and messages[place - 1].role == "user":
        place -= 1
    return place


def _task(messages: tuple[Message, ...], older: int, text: str) -> tuple[Message, ...]:
    """What the model is working on, where it was said in the older part: that is never summarised
    away.
    """
    asked = [message for message in messages[:older] if message.role == "user"]
    own = [message for message in asked if message.content == text]
    later = [message for message in messages[older:] if message.role == "user"]
    if any(message.content == text for message in later) or (later and not own):
        return ()
    return tuple((own or asked)[-1:])


def _shortened(messages: tuple[Message, ...], end: int, context: Context) -> tuple[Message, ...]:
    """The messages with long results of tools before `end` cut."""
    return tuple(
        message.model_copy(update={"content": cut(message.content, context.tool_result_chars)})
        if place < end
        and message.role == "tool"
        and len(message.content or "") > context.tool_result_chars + CUT_MARK_CHARS
        else message
        for place, message in enumerate(messages)
    )
