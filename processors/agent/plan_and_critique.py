"""What does a model's answer mean in the pattern of its agent: the run's answer, a plan, a step's
result, a draft?

`single` is one answer without tools; `loop` goes on until the model answers. `plan` asks for a
plan, has each step done (a loop of its own, with the step as its task), plans anew when a step
fails, and answers from the results. `critique` drafts, has the draft criticised, and revises it
until the critique is content or the rounds are used up.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from processors.agent.conversation.messages import tool_specs, user_says
from processors.agent.progress import Course
from processors.agent.state import Session
from processors.agent.structured_output import instruction
from processors.agent.workflow.graph import tools_in
from processors.common.text import cut
from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.patterns import Critique, Plan
from schemas.events.agent.models import ResponseCleared
from schemas.events.values import Message

STEP_CHARS_MAX = 4_000
FAILED = "FAILED:"
MISREAD_MAX = 2
WITHOUT_TOOLS = ("planning", "answering", "criticising")

PLANNER = (
    'Make a plan for the task; do not do it yet. Answer with nothing but JSON: {"steps": ["...", "..."]}, '
    "with at most %d steps, each a sentence that can be understood by itself."
)
TOOLS = "For the steps there are these tools:"
DOER = f"Do this step now, and answer with its result. If it cannot be done, answer with {FAILED} and why."
ANSWERER = "All steps are done. Answer the task from their results, for the person who set it."
CRITIC = (
    'You examine drafts. Answer with nothing but JSON: {"good": true or false, "remarks": "what to change"}. '
    "A draft is good when nothing important is to be changed."
)
REVISE = "Your draft was examined. Write it anew and whole, with these remarks taken up:"


@dataclass(frozen=True)
class Turn:
    """What follows an answer: the run's `final` answer, or (None) the next question; `failed` is
    reason and detail.
    """

    session: Session
    final: str | None = None
    failed: tuple[str, str] | None = None
    detail: str = ""


@dataclass(frozen=True)
class Own:
    """A question that is not the conversation itself. It offers no tools."""

    messages: tuple[Message, ...]
    model: str


def begun(session: Session, agent: Agent) -> Session:
    """The session of a run that begins, in the pattern of its agent."""
    stage = {"plan": "planning", "critique": "drafting"}.get(agent.pattern)
    if stage is None:
        return session
    return replace(session, run=replace(session.run, course=Course(stage, session.messages)))


def tools_of(agent: Agent) -> tuple[str, ...]:
    """The tools that a run of the agent may call."""
    if agent.pattern == "single":
        return ()
    return tuple(
        dict.fromkeys((*agent.tools, *(tools_in(agent.workflow) if agent.workflow else ())))
    )


def tools_forbidden(session: Session, agent: Agent) -> bool:
    course = session.run.course
    return agent.pattern == "single" or (course is not None and course.stage in WITHOUT_TOOLS)


def answers_next(session: Session) -> bool:
    """May the next answer be the run's, and has it to be what the agent promises?"""
    return session.run.course is None or session.run.course.stage in ("answering", "drafting")


def own_question(session: Session, agent: Agent, prompt: str, given: Definitions) -> Own | None:
    """The question of this stage, where it is another one than the conversation's next. `prompt` is
    the agent's.
    """
    course = session.run.course
    if course is None or course.stage not in WITHOUT_TOOLS:
        return None
    if course.stage == "criticising":
        critique = agent.critique or Critique()
        return Own(
            (
                Message(
                    role="system",
                    content=critique.prompt + "\n\n" + CRITIC if critique.prompt else CRITIC,
                ),
                user_says(
                    f"The request:\n{session.run.request.text}\n\nThe draft:\n{course.draft}"
                ),
            ),
            critique.model or agent.model,
        )
    plan = agent.plan or Plan()
    history, task = course.kept[:-1], session.run.request.text
    parts = [f"The task:\n{task}", *_results(course)]
    if course.stage == "answering":
        parts.append(ANSWERER)
    else:
        tools = [
            f"- {spec.name}: {spec.description}"
            for spec in tool_specs(session.run.tool_versions, given)
        ]
        parts += ["\n".join([TOOLS, *tools])] if tools else []
        parts += [course.trouble] if course.trouble else []
        parts += [plan.prompt] if plan.prompt else []
        parts.append(PLANNER % plan.steps)
    promised = instruction(agent) if course.stage == "answering" else ""
    system = Message(role="system", content=prompt + promised)
    return Own((system, *history, user_says("\n\n".join(parts))), agent.model)


def turn(session: Session, said: ResponseCleared, agent: Agent, given: Definitions) -> Turn:
    """What an answer with text and without calls leads to."""
    course, text = session.run.course, said.content or ""
    message = Message(role="assistant", content=text)
    if course is None:
        return Turn(replace(session, messages=(*session.messages, message)), text)
    match course.stage:
        case "planning":
            return _planned(session, course, text, agent.plan or Plan())
        case "doing":
            return _done(session, course, text, agent.plan or Plan())
        case "drafting":
            drafted = replace(course, stage="criticising", draft=text)
            return Turn(_with(replace(session, messages=(*session.messages, message)), drafted))
        case "criticising":
            return _criticised(session, course, text, agent.critique or Critique())
    return _final(session, course, text)


def _final(session: Session, course: Course, answer: str, detail: str = "") -> Turn:
    """Of all that was said on the way, the conversation keeps the answer."""
    messages = (*course.kept, Message(role="assistant", content=answer))
    return Turn(
        replace(session, messages=messages, run=replace(session.run, course=None)),
        answer,
        detail=detail,
    )


def _with(session: Session, course: Course) -> Session:
    return replace(session, run=replace(session.run, course=course))


def _planned(session: Session, course: Course, text: str, plan: Plan) -> Turn:
    steps, wrong = _steps(text, plan.steps)
    if wrong and course.misread >= MISREAD_MAX:
        return Turn(
            session, failed=("bad_plan", f"the model made no plan that can be followed: {wrong}")
        )
    if wrong:
        return Turn(
            _with(
                session,
                replace(
                    course,
                    misread=course.misread + 1,
                    trouble=f"Your last plan cannot be used: {wrong}.",
                ),
            )
        )
    return Turn(_next_step(session, replace(course, steps=steps, misread=0, trouble="")))


def _next_step(session: Session, course: Course) -> Session:
    """The session at the first step that is not done; the question for the answer where none is
    left.
    """
    if not course.steps:
        return _with(session, replace(course, stage="answering", task=""))
    parts = [
        f"The task:\n{session.run.request.text}",
        *_results(course),
        f"The step:\n{course.steps[0]}",
        DOER,
    ]
    task = "\n\n".join(parts)
    messages = (*course.kept[:-1], user_says(task))
    run = replace(session.run, repeats={}, course=replace(course, stage="doing", task=task))
    return replace(session, messages=messages, run=run)


def _done(session: Session, course: Course, text: str, plan: Plan) -> Turn:
    step, *rest = course.steps
    if not text.lstrip().startswith(FAILED):
        done, results = (*course.done, step), (*course.results, cut(text, STEP_CHARS_MAX))
        return Turn(
            _next_step(session, replace(course, steps=tuple(rest), done=done, results=results))
        )
    why = cut(text.lstrip().removeprefix(FAILED).strip(), STEP_CHARS_MAX)
    if course.replans >= plan.replans:
        return Turn(
            session,
            failed=(
                "plan_failed",
                f"step {len(course.done) + 1} ({cut(step, 200)}) failed, and the "
                f"plan was made anew {course.replans} times already: {why}",
            ),
        )
    trouble = f"The step {step!r} failed: {why}\nMake a plan for what is left, by another way."
    return Turn(
        _with(
            session,
            replace(
                course, stage="planning", steps=(), trouble=trouble, replans=course.replans + 1
            ),
        )
    )


def _results(course: Course) -> list[str]:
    if not course.done:
        return []
    lines = [
        f"- {step}\n  {result}" for step, result in zip(course.done, course.results, strict=True)
    ]
    return ["\n".join(["Done so far, with results:", *lines])]


def _steps(text: str, most: int) -> tuple[tuple[str, ...], str]:
    """The steps of a plan, or what is wrong with it."""
    value = _object_in(text)
    steps = value.get("steps") if value else None
    if not isinstance(steps, list) or not all(
        isinstance(step, str) and step.strip() for step in steps
    ):
        return (), 'it is not JSON with "steps", a list of texts'
    if not 0 < len(steps) <= most:
        return (), f"it has {len(steps)} steps, 1 to {most} are allowed"
    return tuple(cut(step, STEP_CHARS_MAX) for step in steps), ""


def _criticised(session: Session, course: Course, text: str, critique: Critique) -> Turn:
    """A verdict that cannot be read is taken for remarks: a draft is never passed by mistake."""
    verdict = _object_in(text) or {}
    if verdict.get("good") is True:
        return _final(session, course, course.draft)
    if course.rounds >= critique.rounds:
        return _final(
            session,
            course,
            course.draft,
            f"the critique was not content after {course.rounds} revisions",
        )
    remarks = verdict.get("remarks")
    said = user_says(f"{REVISE}\n{remarks if isinstance(remarks, str) and remarks else text}")
    revising = replace(course, stage="drafting", rounds=course.rounds + 1)
    return Turn(_with(replace(session, messages=(*session.messages, said)), revising))


def _object_in(text: str) -> dict[str, Any] | None:
    """The object from the first brace of a text to its last: models like to write something around
    their JSON.
    """
    first, last = text.find("{"), text.rfind("}")
    try:
        value = json.loads(text[first : last + 1])
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
