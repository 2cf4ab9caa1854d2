"""Nodes of a workflow: the call, question or wait that a node begins with, and what came of it.

What an expression knows: `input.text`, `input.json` where the text is a JSON object or list,
`input.metadata`; and of each node that was here `nodes.NAME.result`, `.error`, `.count`. A result
that is a JSON object or list is one; any other is a text.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from processors.agent.calls import subagents
from processors.agent.calls.pending import (
    AwaitingModel,
    AwaitingSubAgent,
    AwaitingTool,
    PendingCall,
)
from processors.agent.calls.tool_calls import call_of, counting, pending_for
from processors.agent.conversation.messages import user_says
from processors.agent.decisions import (
    AskModel,
    AskSubAgent,
    CallDecision,
    Decision,
    ToolDecision,
)
from processors.agent.model_requests import limit_reached, time_left_ms
from processors.agent.modes import NodeCompensation, NodeState, WorkflowMode
from processors.agent.state import ActiveRun, CallResult, ModelAnswer, agent_of
from processors.agent.workflow.graph import usable
from processors.agent.workflow.node_calls import call_of_node, compensation_call
from processors.common.cel_expressions import ExpressionError, value_of
from processors.common.json_schema import InvalidValueError
from processors.common.text import clean, compact, cut
from processors.prompts.render import system_text
from processors.prompts.sandbox import RenderError
from schemas.definitions.kinds import Definitions
from schemas.definitions.patterns import Edge, Node, Workflow
from schemas.definitions.tools import SearchTarget
from schemas.events.agent.models import ModelFailed, ResponseBlocked, ResponseCleared
from schemas.events.agent.runs import ResultCleared, ToolFailed, ToolUncertain
from schemas.events.base import UnprocessableError
from schemas.events.values import Message, ToolRequest

DETAIL_CHARS = 1_000
NOTHING_COMPENSATES = "nothing is declared that undoes it"


class NotBegunError(Exception):
    """A node or a compensation that cannot begin; the message says why."""


class LimitReachedError(Exception):
    """A limit of the agent forbids another node."""

    def __init__(self, name: str, sentence: str):
        super().__init__(sentence)
        self.name = name
        self.sentence = sentence


@dataclass(frozen=True)
class NodeCall:
    """A node that began with a call or a question. The run waits for its result."""

    run: ActiveRun
    decision: CallDecision | AskModel


@dataclass(frozen=True)
class NodeWait:
    """A node that began to wait for a time or a signal."""

    state: NodeState


@dataclass(frozen=True)
class NodeChoice:
    """A branch: it is over at once, and took these edges."""

    taken: tuple[Edge, ...]


def workflow_of(run: ActiveRun, definitions: Definitions) -> Workflow:
    """The graph that a run follows."""
    agent = agent_of(run, definitions)
    if agent.workflow is None:
        raise UnprocessableError(f"agent {agent.name!r} has no workflow any more: apply it again")
    return agent.workflow


def mode_of(run: ActiveRun) -> WorkflowMode:
    """How far a run that follows a workflow has come."""
    if not isinstance(run.mode, WorkflowMode):
        raise TypeError(f"run {run.request.run} follows no workflow")
    return run.mode


def start_node(
    run: ActiveRun,
    name: str,
    node: Node,
    before: Sequence[Decision],
    at: datetime,
    definitions: Definitions,
) -> NodeCall | NodeWait | NodeChoice:
    """Begin a node. `before` is what was decided in this turn already. Raises ExpressionError,
    NotBegunError and LimitReachedError.
    """
    match node.kind:
        case "branch":
            return NodeChoice(_chosen(run, name, node))
        case "fail":
            message = text_of(valued(node.message, known(run))) if node.message else ""
            raise NotBegunError(message if node.message else "the workflow ends in it")
        case "wait":
            return NodeWait(NodeState("open", due=at + timedelta(seconds=node.seconds or 0)))
        case "event":
            due = at + timedelta(seconds=node.timeout_s) if node.timeout_s else None
            return NodeWait(NodeState("open", due=due, event=node.event or ""))
    reached = limit_reached(agent_of(run, definitions), run)
    if reached:
        raise LimitReachedError(*reached)
    call = call_of_node(name, mode_of(run).counts[name])
    run = replace(run, step=run.step + 1)
    if node.kind == "model":
        asked = _ask_model(run, node, call, at, definitions)
        return NodeCall(_pending(run, AwaitingModel(call, run.step)), asked)
    earlier = [one for one in before if isinstance(one, CallDecision)]
    try:
        if node.kind == "tool":
            decision = _call_tool(run, node, call, earlier, at, definitions)
        else:
            request = ToolRequest(id=call, name=name, arguments="{}")
            decision = _ask_sub_agent(run, node, request, earlier, definitions)
    except InvalidValueError as unfit:
        raise NotBegunError(f"not_called: {unfit}") from unfit
    pending = pending_for(decision, node.tool or name, at)
    run = counting(_pending(run, pending), isinstance(decision, ToolDecision))
    return NodeCall(run, replace(decision, nth=call))


def _pending(run: ActiveRun, pending: PendingCall) -> ActiveRun:
    return replace(run, pending=(*run.pending, pending))


def _chosen(run: ActiveRun, name: str, node: Node) -> tuple[Edge, ...]:
    """The edges that a branch takes. A case whose loop was taken as often as it may is passed
    over.
    """
    mode = mode_of(run)
    for case in node.cases:
        value = valued(case.when, known(run))
        if not isinstance(value, bool):
            shown = cut(compact(value), 100)
            raise ExpressionError(f"the condition {case.when!r} is {shown}, neither true nor false")
        if value and usable(mode, name, case.next):
            return case.next
    return node.otherwise if usable(mode, name, node.otherwise) else ()


def _call_tool(
    run: ActiveRun,
    node: Node,
    call: str,
    earlier: Sequence[CallDecision],
    at: datetime,
    definitions: Definitions,
) -> CallDecision:
    """The call of a node's tool. Raises InvalidValueError."""
    arguments = compact(filled(node.arguments, known(run)))
    request = ToolRequest(id=call, name=node.tool or "", arguments=arguments)
    return call_of(run, request, earlier, at, definitions)


def _ask_sub_agent(
    run: ActiveRun,
    node: Node,
    request: ToolRequest,
    earlier: Sequence[CallDecision],
    definitions: Definitions,
) -> AskSubAgent:
    """The request to a node's agent. Raises InvalidValueError."""
    task = text_of(valued(node.task or "input.text", known(run)))
    asked = sum(isinstance(one, AskSubAgent) for one in earlier)
    wrong = subagents.too_many(run, asked, definitions)
    if wrong:
        raise InvalidValueError(wrong)
    return subagents.ask_sub_agent(run, request, node.agent or "", task, definitions)


def _ask_model(
    run: ActiveRun, node: Node, call: str, at: datetime, definitions: Definitions
) -> AskModel:
    """The question of a node, which knows nothing of the other nodes' questions."""
    agent = agent_of(run, definitions)
    prompt = text_of(valued(node.prompt or "input.text", known(run)))
    try:
        system = system_text(agent, run.prompt_version, run.request, definitions)
    except RenderError as wrong:
        raise NotBegunError(f"prompt_unfit: {wrong}") from wrong
    if node.system is not None:
        system = node.system
    messages = (user_says(clean(prompt)),)
    if system:
        messages = (Message(role="system", content=system), *messages)
    return AskModel(
        of=run.request,
        step=run.step,
        model=node.model or agent.model,
        messages=messages,
        timeout_ms=time_left_ms(run, at),
        fallback=agent.fallback,
        temperature=agent.temperature,
        max_output_tokens=agent.max_output_tokens,
        nth=call,
    )


def awaited_by(run: ActiveRun, answer: ModelAnswer | CallResult) -> PendingCall | None:
    """The pending call that waits for this answer. A model's answer has no call: its step is its
    own.
    """
    if answer.run != run.request.run:
        return None
    for pending in run.pending:
        match pending:
            case AwaitingModel():
                found = isinstance(answer, ModelAnswer) and answer.step == pending.step
            case AwaitingTool() | AwaitingSubAgent():
                found = isinstance(answer, CallResult) and answer.call == pending.call
            case _:
                found = False
        if found:
            return pending
    return None


def outcome(answer: ModelAnswer | CallResult) -> tuple[str, str]:
    """A node's result and its error: one of the two is empty, or both."""
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
    """Why a call was not made, out of what a model would read of it."""
    error = _read(content)
    return f"{error.get('error')}: {error.get('detail')}" if isinstance(error, dict) else content


def compensation_of(
    run: ActiveRun, definitions: Definitions, name: str, node: Node
) -> NodeCompensation | None:
    """What would undo a node's work. None where there is nothing to undo."""
    if node.compensate:
        try:
            arguments = compact(filled(node.compensate.arguments, known(run)))
        except ExpressionError as bad:
            wrong = cut(str(bad), DETAIL_CHARS)
            return NodeCompensation(
                name, impossible=f"the arguments of its compensation have no value: {wrong}"
            )
        return NodeCompensation(name, node.compensate.tool, arguments)
    if _has_effects(run, node, definitions):
        return NodeCompensation(name, impossible=NOTHING_COMPENSATES)
    return None


def _has_effects(run: ActiveRun, node: Node, definitions: Definitions) -> bool:
    """Whether a node may have changed something outside."""
    if node.kind == "tool" and node.tool:
        tool = definitions.tool(node.tool, run.tool_versions.get(node.tool))
        harmless = tool and (tool.effect == "pure" or isinstance(tool.target, SearchTarget))
        return not harmless
    if node.kind == "agent" and node.agent:
        agent = definitions.agent(node.agent)
        return agent is not None and bool(agent.tools or agent.workflow)
    return False


def compensate(
    run: ActiveRun, compensation: NodeCompensation, at: datetime, definitions: Definitions
) -> tuple[ActiveRun, CallDecision]:
    """The call that undoes a node's work. Raises NotBegunError."""
    run = replace(run, step=run.step + 1)
    call = compensation_call(compensation.node, run.step)
    request = ToolRequest(id=call, name=compensation.tool, arguments=compensation.arguments)
    try:
        decision = call_of(run, request, (), at, definitions)
    except InvalidValueError as unfit:
        raise NotBegunError(f"not_called: {cut(str(unfit), DETAIL_CHARS)}") from unfit
    run = replace(run, pending=(pending_for(decision, compensation.tool, at),))
    run = counting(run, isinstance(decision, ToolDecision))
    return run, replace(decision, nth=call)


def known(run: ActiveRun) -> dict[str, Any]:
    """What an expression may speak of, at this moment of the run."""
    request = run.request
    mode = mode_of(run)
    values: dict[str, Any] = {"text": request.text, "metadata": dict(request.metadata)}
    parsed = _read(request.text)
    if not isinstance(parsed, str):
        values["json"] = parsed
    return {
        "input": values,
        "nodes": {
            name: {
                "result": _read(mode.results.get(name, "")),
                "error": mode.errors.get(name, ""),
                "count": mode.counts.get(name, 0),
            }
            for name in dict.fromkeys((*mode.results, *mode.errors))
        },
    }


def valued(expression: str, knows: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises ExpressionError, with the expression."""
    try:
        return value_of(expression, knows)
    except ExpressionError as bad:
        raise ExpressionError(f"{cut(expression, 200)!r}: {bad}") from bad


def filled(value: Any, knows: Mapping[str, Any]) -> Any:
    """Arguments with the values of their expressions: every text is one."""
    if isinstance(value, dict):
        return {name: filled(one, knows) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [filled(one, knows) for one in value]
    return valued(value, knows) if isinstance(value, str) else value


def text_of(value: Any) -> str:
    """A value as a text: JSON, unless it is one."""
    return clean(value if isinstance(value, str) else compact(value))


@lru_cache(maxsize=64)
def _read(text: str) -> Any:
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
