"""What does one node of a workflow do: which call, which question, which wait, and what did it come
to?

What an expression knows: `input.text`, `input.json` where the text is a JSON object or list,
`input.metadata`; and of each node that was here `nodes.NAME.result`, `.error`, `.count`. A result
that is a JSON object or list is one; any other is a text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

from processors.agent import subagents
from processors.agent.conversation.messages import user_says
from processors.agent.model_requests import limit_reached
from processors.agent.progress import Spot, Undo
from processors.agent.state import Pending, Run, Session, agent_of
from processors.agent.tool_calls import Made, call_of, pending_for
from processors.agent.workflow.graph import usable
from processors.common.cel_expressions import BadExpression, value_of
from processors.common.json_schema import Unfit
from processors.common.text import clean, compact, cut, ms_between
from processors.prompts.render import system_text
from processors.prompts.sandbox import Unrendered
from schemas.definitions.kinds import Definitions, Tool
from schemas.definitions.patterns import Edge, Node
from schemas.events.agent.models import ModelAsked, ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import AgentRequested, ResultCleared, ToolFailed, ToolUncertain
from schemas.events.base import Event
from schemas.events.values import Message, ToolRequest

DETAIL_CHARS = 1_000
UNDO = "undo:"
NOTHING_UNDOES = "nothing is declared that undoes it"


class NotBegun(Exception):
    """A node, or what undoes one, that cannot be begun; the message says why."""


class LimitReached(Exception):
    """A limit of the agent forbids another node."""

    def __init__(self, name: str, sentence: str):
        super().__init__(sentence)
        self.name, self.sentence = name, sentence


@dataclass(frozen=True)
class Begun:
    """A node that began: what is said, and what it waits for. `gone` are the edges of one that is
    over at once.
    """

    run: Run
    events: tuple[Event, ...] = ()
    spot: Spot | None = None
    gone: tuple[Edge, ...] | None = None


def begun(
    session: Session, event: Event, given: Definitions, name: str, node: Node, before: list[Event]
) -> Begun:
    """Begin a node. Raises BadExpression, NotBegun and LimitReached."""
    run = session.run
    match node.kind:
        case "branch":
            return Begun(run, gone=_chosen(run, name, node))
        case "fail":
            raise NotBegun(
                text_of(valued(node.message, known(run)))
                if node.message
                else "the workflow ends in it"
            )
        case "wait":
            return Begun(
                run, spot=Spot("open", due=event.at + timedelta(seconds=node.seconds or 0))
            )
        case "event":
            due = event.at + timedelta(seconds=node.timeout_s) if node.timeout_s else None
            return Begun(run, spot=Spot("open", due=due, event=node.event or ""))
    agent, call = agent_of(run, given), f"{name}#{run.flow.counts[name]}"
    reached = limit_reached(agent, run)
    if reached:
        raise LimitReached(*reached)
    run = replace(run, step=run.step + 1)
    if node.kind == "model":
        made, pending = (
            _asked(session, run, event, given, node, call),
            Pending(call, "", step=run.step),
        )
    else:
        made = (_tool_called if node.kind == "tool" else _agent_asked)(
            run, event, given, name, node, call, before
        )
        run = _counting(run, made)
        pending = pending_for(made, ToolRequest(id=call, name=node.tool or name, arguments=""))
    return Begun(replace(run, pending=(*run.pending, pending)), (made,))


def _chosen(run: Run, name: str, node: Node) -> tuple[Edge, ...]:
    """The way that a branch goes. A case whose loop was gone as often as it may is passed over."""
    for case in node.cases:
        value = valued(case.when, known(run))
        if not isinstance(value, bool):
            raise BadExpression(
                f"the condition {case.when!r} is {cut(compact(value), 100)}, neither true nor false"
            )
        if value and usable(run.flow, name, case.next):
            return case.next
    return node.otherwise if usable(run.flow, name, node.otherwise) else ()


def _tool_called(
    run: Run,
    event: Event,
    given: Definitions,
    name: str,
    node: Node,
    call: str,
    before: list[Event],
) -> Event:
    request = ToolRequest(
        id=call, name=node.tool, arguments=compact(filled(node.arguments, known(run)))
    )
    try:
        return call_of(run, event, call, request, given, before)
    except Unfit as unfit:
        raise NotBegun(f"not_called: {unfit}") from unfit


def _agent_asked(
    run: Run,
    event: Event,
    given: Definitions,
    name: str,
    node: Node,
    call: str,
    before: list[Event],
) -> Event:
    task = text_of(valued(node.task or "input.text", known(run)))
    wrong = subagents.too_many(run, sum(isinstance(one, AgentRequested) for one in before), given)
    if wrong:
        raise NotBegun(f"not_called: {wrong}")
    tool, request = (
        Tool(name=name, via="agent", agent=node.agent),
        ToolRequest(id=call, name=name, arguments="{}"),
    )
    try:
        return subagents.request_of(run, event, call, request, tool, {"task": task}, given)
    except Unfit as unfit:
        raise NotBegun(f"not_called: {unfit}") from unfit


def _asked(
    session: Session, run: Run, event: Event, given: Definitions, node: Node, call: str
) -> Event:
    agent = agent_of(run, given)
    prompt = text_of(valued(node.prompt or "input.text", known(run)))
    try:
        own = system_text(agent, run.prompt_version, run.request, given)
    except Unrendered as wrong:
        raise NotBegun(f"prompt_unfit: {wrong}") from wrong
    system = own if node.system is None else node.system
    name = node.model or agent.model
    messages = (
        *([Message(role="system", content=system)] if system else []),
        user_says(clean(prompt)),
    )
    return run.says(
        event,
        ModelAsked,
        call,
        step=run.step,
        model=name,
        fallback=agent.fallback,
        messages=messages,
        temperature=agent.temperature,
        max_output_tokens=agent.max_output_tokens,
        timeout_ms=max(1, ms_between(event.at, run.ends_at(event.at))),
    )


def answers(pending: Pending, answer: Any, run: Run) -> bool:
    """Is this what a pending call waits for? A model's answer has no call: its step is its own."""
    if answer.run != run.request.run or pending.content is not None:
        return False
    if isinstance(answer, ResponseCleared | ResponseBlocked | ModelFailed):
        return pending.step > 0 and answer.step == pending.step
    return answer.call == pending.call


def outcome(answer: Any) -> tuple[str, str]:
    """What a node said, and its trouble: one of the two is empty, or both."""
    match answer:
        case ResultCleared():
            return answer.content, ""
        case ToolFailed() | ModelFailed():
            return "", f"{answer.reason}: {answer.detail}"
        case ToolUncertain():
            return "", f"unknown: nobody knows whether it was done ({answer.detail})"
        case ResponseBlocked():
            return "", f"blocked: {answer.rule} {answer.detail}"
        case ResponseCleared(finish_reason="length"):
            return "", "truncated: the answer reached the model's limit on output tokens"
        case ResponseCleared() if answer.tool_calls:
            return "", "bad_tool_calls: the model called a tool where none was offered"
        case ResponseCleared() if answer.content:
            return answer.content, ""
    return "", "empty_answer: the model said nothing"


def refusal(content: str) -> str:
    """Why a call was not made, out of what a model would be told of it."""
    told = _read(content)
    return f"{told.get('error')}: {told.get('detail')}" if isinstance(told, dict) else content


def undo_of(session: Session, given: Definitions, name: str, node: Node) -> Undo | None:
    """What would undo a node's work. None where there is nothing to undo."""
    run = session.run
    if node.compensate:
        try:
            return Undo(
                name, node.compensate.tool, compact(filled(node.compensate.arguments, known(run)))
            )
        except BadExpression as bad:
            return Undo(
                name,
                cannot=f"the arguments of its compensation have no value: {cut(str(bad), DETAIL_CHARS)}",
            )
    if node.kind == "tool":
        tool = given.tool(node.tool, run.tool_versions.get(node.tool))
        harmless = tool is not None and (tool.effect == "pure" or tool.via == "search")
        return None if harmless else Undo(name, cannot=NOTHING_UNDOES)
    if node.kind == "agent":
        agent = given.agent(node.agent)
        works = agent is not None and (agent.tools or agent.workflow)
        return Undo(name, cannot=NOTHING_UNDOES) if works else None
    return None


def undoing(session: Session, event: Event, given: Definitions, undo: Undo) -> tuple[Run, Event]:
    """The call that undoes a node's work. Raises NotBegun."""
    run = replace(session.run, step=session.run.step + 1)
    call = f"{UNDO}{undo.node}#{run.step}"
    try:
        made = call_of(
            run,
            event,
            call,
            ToolRequest(id=call, name=undo.tool, arguments=undo.arguments),
            given,
            [],
        )
    except Unfit as unfit:
        raise NotBegun(f"not_called: {cut(str(unfit), DETAIL_CHARS)}") from unfit
    pending = pending_for(made, ToolRequest(id=call, name=undo.tool, arguments=undo.arguments))
    return replace(_counting(run, made), pending=(pending,)), made


def _counting(run: Run, made: Event) -> Run:
    """A call that waits for people's word is counted when it is made."""
    return replace(run, tool_calls=run.tool_calls + isinstance(made, Made))


def known(run: Run) -> dict[str, Any]:
    """What an expression may speak of, at this moment of the run."""
    request, flow = run.request, run.flow
    given = {"text": request.text, "metadata": dict(request.metadata)}
    parsed = _read(request.text)
    names = [*flow.results, *(name for name in flow.errors if name not in flow.results)]
    return {
        "input": given if isinstance(parsed, str) else given | {"json": parsed},
        "nodes": {
            name: {
                "result": _read(flow.results.get(name, "")),
                "error": flow.errors.get(name, ""),
                "count": flow.counts.get(name, 0),
            }
            for name in names
        },
    }


def valued(expression: str, knows: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises BadExpression, with the expression."""
    try:
        return value_of(expression, knows)
    except BadExpression as bad:
        raise BadExpression(f"{cut(expression, 200)!r}: {bad}") from bad


def filled(value: Any, knows: Mapping[str, Any]) -> Any:
    """Arguments with the values of their expressions: every text is one."""
    if isinstance(value, dict):
        return {name: filled(one, knows) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled(one, knows) for one in value]
    return valued(value, knows) if isinstance(value, str) else value


def text_of(value: Any) -> str:
    return clean(value if isinstance(value, str) else compact(value))


@lru_cache(maxsize=64)
def _read(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
