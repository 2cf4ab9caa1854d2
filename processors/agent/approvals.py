"""What do people's words, and their silence, do to the run that waits for them?

A word that cannot count changes nothing and is answered with an ApprovalRefused that says why.
Silence is a no.
"""

from dataclasses import replace

from processors.agent import human_input
from processors.agent import model_replies as of_model
from processors.agent.conversation.messages import NOT_CALLED, error_result
from processors.agent.state import Moved, Pending, Run, Session, agent_of, end_run
from processors.agent.tool_calls import make_call
from processors.agent.workflow import run as workflow
from processors.common.json_schema import Unfit, read_arguments
from processors.common.text import clean
from schemas.definitions.kinds import Definitions, Tool
from schemas.events.agent.approvals import ApprovalDecided, ApprovalRefused
from schemas.events.agent.runs import AgentRequested, RequestCleared, Woke
from schemas.events.base import Event
from schemas.events.values import ToolRequest

REASON = {"expired": "expired", "cancelled": "run_over"}


def decide(session: Session, word: ApprovalDecided, given: Definitions) -> Moved:
    """Approve or deny the call that waits for it."""
    run = session.run
    pending = (
        next((one for one in run.unanswered("approval") if one.asked == word.approval), None)
        if run
        else None
    )
    if pending is None:
        return session, _too_late(session, word)
    tool = given.tool(pending.tool, run.tool_versions.get(pending.tool, 0))
    wrong = _wrong_with(word, pending, tool)
    if wrong:
        return session, [word.then(ApprovalRefused, reason=wrong[0], detail=wrong[1])]
    if word.decision == "deny":
        told = human_input.resolved(
            run, word, pending, "denied", by=word.by, note=word.note, arguments=None
        )
        why = f": {clean(word.note)}" if word.note else ""
        session = _filled(session, pending, _denied(f"somebody who has to agree said no{why}"))
        session, more = go_on(session, word, given)
        return session, [told, *more]
    told = human_input.resolved(
        run, word, pending, "approved", by=word.by, note=word.note, arguments=word.arguments
    )
    session, more = _call(session, word, pending, tool, given)
    return session, [told, *more]


def _too_late(session: Session, word: ApprovalDecided) -> list[ApprovalRefused]:
    """Nothing waits for this word. The same word once more is not answered again."""
    status, _, by = session.decided.get(word.approval.hex, "").partition("/")
    if by == word.id.hex:
        return []
    if not status:
        return [
            word.then(
                ApprovalRefused,
                reason="unknown",
                detail="no approval of this id waits in this session: see "
                "that the session is the run's, and that the id is that of the ApprovalAsked",
            )
        ]
    return [
        word.then(
            ApprovalRefused,
            reason=REASON.get(status, "already_decided"),
            detail=f"it is {status} already: the first word counts",
        )
    ]


def _wrong_with(word: ApprovalDecided, pending: Pending, tool: Tool) -> tuple[str, str] | None:
    """Why this word does not count, as a reason and a sentence."""
    wanted = tool.approval
    if word.by not in wanted.by and not set(word.roles) & set(wanted.by):
        return "not_an_approver", f"tool {tool.name!r} may be approved by: {', '.join(wanted.by)}"
    if word.at > pending.expires_at:
        return "expired", f"it could be decided until {pending.expires_at:%Y-%m-%d %H:%M:%S} UTC"
    if word.decision == "approve" and word.arguments is not None:
        if not wanted.override:
            return (
                "no_override",
                f"the arguments of tool {tool.name!r} may not be changed: approve or deny them",
            )
        try:
            read_arguments(tool, word.arguments)
        except Unfit as unfit:
            return "bad_arguments", str(unfit)
    return None


def _call(
    session: Session, word: ApprovalDecided, pending: Pending, tool: Tool, given: Definitions
) -> Moved:
    """Make the call at last. The model is told where its arguments were changed."""
    run, arguments = session.run, pending.arguments if word.arguments is None else word.arguments
    changed = (
        ""
        if word.arguments is None
        else f"(Somebody who has to agree changed the arguments to {arguments})\n"
    )
    begun = sum(one.child is not None for one in run.pending)
    request = ToolRequest(id=pending.call, name=pending.tool, arguments=arguments)
    try:
        made = make_call(run, word, 0, request, tool, given, begun)
    except Unfit as unfit:
        return go_on(_filled(session, pending, error_result(NOT_CALLED, str(unfit))), word, given)
    called = replace(
        pending,
        waits="",
        expires_at=None,
        remark=changed,
        child=made.id if isinstance(made, AgentRequested) else None,
    )
    run = replace(
        run,
        tool_calls=run.tool_calls + 1,
        pending=tuple(called if one is pending else one for one in run.pending),
    )
    return replace(session, run=run), [made]


def answers(session: Session, request: RequestCleared) -> Pending | None:
    """The question that this request answers: one of its own agent, asked before it came."""
    run = session.run
    if run is None or request.agent != run.request.agent:
        return None
    return next(iter(run.unanswered("user")), None)


def answer(
    session: Session, request: RequestCleared, question: Pending, given: Definitions
) -> Moved:
    """The user's answer is the result of the call that asked. Its request has the outcome of the
    run that it serves.
    """
    session = replace(
        session, run=replace(session.run, answered_by=(*session.run.answered_by, request))
    )
    return go_on(_filled(session, question, request.text), request, given)


def expire(session: Session, woke: Woke, given: Definitions) -> Moved:
    """Nobody said a word in time: calls are denied, and a run whose user is gone is stopped."""
    overdue = [one for one in session.run.unanswered() if one.waits and one.expires_at <= woke.at]
    said: list[Event] = []
    for pending in overdue:
        if pending.waits == "user":
            limits = agent_of(session.run, given).limits
            session, more = end_run(
                session,
                woke,
                "stopped",
                "waiting_seconds",
                "the user did not answer within "
                f"{limits.waiting_seconds:g} seconds: limits.waiting_seconds of the agent",
            )
            return session, [*said, *more]
        said.append(human_input.resolved(session.run, woke, pending, "expired"))
        session = _filled(session, pending, _denied("nobody agreed in time"))
    if not overdue:
        return session, []
    session, more = go_on(session, woke, given)
    return session, [*said, *more]


def go_on(session: Session, event: Event, given: Definitions) -> Moved:
    """Go on without the call, as whoever decided it does: the model, or the graph of a workflow."""
    return (workflow.resumed if session.run.flow else of_model.go_on)(session, event, given)


def _denied(why: str) -> str:
    return error_result("denied", f"this was not done, {why}. Do not ask for the same again")


def _filled(session: Session, pending: Pending, content: str) -> Session:
    run: Run = session.run
    filled = replace(pending, content=content, waits="")
    return replace(
        session,
        run=replace(run, pending=tuple(filled if one is pending else one for one in run.pending)),
    )
