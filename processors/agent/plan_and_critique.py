"""Patterns of an agent: what a model's answer means in a plan or a critique, and what comes next.

`single` is one answer without tools; `loop` goes on until the model answers. `plan` asks for a
plan, has each step done (a loop of its own, with the step as its task), plans anew when a step
fails, and answers from the results. `critique` drafts, has the draft criticised, and revises it
until the critique is content or the rounds are used up.
"""

from dataclasses import dataclass, replace
from typing import Any

from processors.agent.conversation.messages import tool_specs, user_says
from processors.agent.conversation.structured_output import instruction
from processors.agent.modes import CritiqueMode, LoopMode, Mode, PlanMode, WorkflowMode
from processors.agent.state import Active, ActiveRun
from processors.agent.workflow.graph import tools_in
from processors.common.json_schema import InvalidValueError
from processors.common.model_json import value_in, without_thoughts
from processors.common.text import cut
from schemas.definitions.kinds import Agent, Definitions
from schemas.definitions.patterns import Critique, Plan
from schemas.events.values import Message

STEP_CHARS_MAX = 4_000
FAILED = "FAILED:"
MISREAD_MAX = 2

PLANNER = (
    "Make a plan for the task; do not do it yet. Answer with nothing but JSON: "
    '{"steps": ["...", "..."]}, '
    "with at most %d steps, each a sentence that can be understood by itself."
)
TOOLS = "For the steps there are these tools:"
DOER = (
    "Do this step now, and answer with its result. "
    f"If it cannot be done, answer with {FAILED} and why."
)
ANSWERER = "All steps are done. Answer the task from their results, for the person who set it."
CRITIC = (
    "You examine drafts. Answer with nothing but JSON: "
    '{"good": true or false, "remarks": "what to change"}. '
    "A draft is good when nothing important is to be changed."
)
REVISE = "Your draft was examined. Write it anew and whole, with these remarks taken up:"


@dataclass(frozen=True)
class PatternTurn:
    """What follows an answer: the run's `final` answer, or (None) the next question. `failed` is a
    reason and a sentence, `detail` a sentence on the final answer.
    """

    session: Active
    final: str | None = None
    failed: tuple[str, str] | None = None
    detail: str = ""


@dataclass(frozen=True)
class StageQuestion:
    """A question that is not the conversation itself. It offers no tools."""

    messages: tuple[Message, ...]
    model: str


def first_mode(agent: Agent, messages: tuple[Message, ...]) -> Mode:
    """The mode of a run that begins with this conversation."""
    if agent.workflow:
        return WorkflowMode()
    if agent.pattern == "plan":
        return PlanMode(messages)
    if agent.pattern == "critique":
        return CritiqueMode(messages)
    return LoopMode()


def tools_of(agent: Agent) -> tuple[str, ...]:
    """The tools that a run of the agent may call."""
    if agent.pattern == "single":
        return ()
    of_workflow = tools_in(agent.workflow) if agent.workflow else ()
    return tuple(dict.fromkeys((*agent.tools, *of_workflow)))


def tools_forbidden(run: ActiveRun, agent: Agent) -> bool:
    """Whether the question that was asked offered no tools."""
    match run.mode:
        case PlanMode(stage=stage):
            return stage != "doing"
        case CritiqueMode(stage=stage):
            return stage == "criticising"
    return agent.pattern == "single"


def answers_next(run: ActiveRun) -> bool:
    """Whether the next answer may be the run's, so that it has to be what the agent promises."""
    match run.mode:
        case PlanMode(stage=stage):
            return stage == "answering"
        case CritiqueMode(stage=stage):
            return stage == "drafting"
    return True


def stage_question(
    run: ActiveRun, agent: Agent, prompt: str, definitions: Definitions
) -> StageQuestion | None:
    """The question of this stage, where it is another one than the conversation's next. `prompt` is
    the agent's.
    """
    match run.mode:
        case PlanMode(stage="planning" | "answering"):
            return _plan_question(run, run.mode, agent, prompt, definitions)
        case CritiqueMode(stage="criticising"):
            return _critique_question(run, run.mode, agent)
    return None


def _critique_question(run: ActiveRun, mode: CritiqueMode, agent: Agent) -> StageQuestion:
    critique = agent.critique or Critique()
    system = f"{critique.prompt}\n\n{CRITIC}" if critique.prompt else CRITIC
    question = f"The request:\n{run.request.text}\n\nThe draft:\n{mode.draft}"
    return StageQuestion(
        (Message(role="system", content=system), user_says(question)),
        critique.model or agent.model,
    )


def _plan_question(
    run: ActiveRun, mode: PlanMode, agent: Agent, prompt: str, definitions: Definitions
) -> StageQuestion:
    """The question for a plan, or for the answer when all its steps are done."""
    parts = [f"The task:\n{run.request.text}", *_results(mode)]
    if mode.stage == "answering":
        prompt += instruction(agent)
        parts.append(ANSWERER)
    else:
        plan = agent.plan or Plan()
        specs = tool_specs(run.tool_versions, definitions)
        tools = [f"- {spec.name}: {spec.description}" for spec in specs]
        if tools:
            parts.append("\n".join([TOOLS, *tools]))
        parts += [part for part in (mode.trouble, plan.prompt) if part]
        parts.append(PLANNER % plan.steps)
    system = Message(role="system", content=prompt)
    question = user_says("\n\n".join(parts))
    return StageQuestion((system, *mode.opening[:-1], question), agent.model)


def turn(session: Active, text: str, agent: Agent) -> PatternTurn:
    """What an answer with text and without calls leads to."""
    mode = session.run.mode
    match mode:
        case PlanMode(stage="planning"):
            return _planned(session, mode, text, agent.plan or Plan())
        case PlanMode(stage="doing"):
            return _done(session, mode, text, agent.plan or Plan())
        case PlanMode():
            return _final(session, mode, text)
        case CritiqueMode(stage="drafting"):
            drafted = replace(mode, stage="criticising", draft=text)
            return PatternTurn(_with(_saying(session, _by_model(text)), drafted))
        case CritiqueMode():
            return _criticised(session, mode, text, agent.critique or Critique())
        case LoopMode() | WorkflowMode():
            return PatternTurn(_saying(session, _by_model(text)), text)


def _by_model(text: str) -> Message:
    return Message(role="assistant", content=text)


def _saying(session: Active, message: Message) -> Active:
    return replace(session, messages=(*session.messages, message))


def _with(session: Active, mode: Mode) -> Active:
    return replace(session, run=replace(session.run, mode=mode))


def _final(
    session: Active, mode: PlanMode | CritiqueMode, answer: str, detail: str = ""
) -> PatternTurn:
    """Of all that was said on the way, the conversation keeps the answer."""
    messages = (*mode.opening, _by_model(answer))
    session = replace(_with(session, LoopMode()), messages=messages)
    return PatternTurn(session, answer, detail=detail)


def _planned(session: Active, mode: PlanMode, text: str, plan: Plan) -> PatternTurn:
    steps, wrong = _steps(text, plan.steps)
    if not wrong:
        return PatternTurn(_next_step(session, replace(mode, steps=steps, misread=0, trouble="")))
    if mode.misread >= MISREAD_MAX:
        detail = f"the model made no plan that can be followed: {wrong}"
        return PatternTurn(session, failed=("bad_plan", detail))
    trouble = f"Your last plan cannot be used: {wrong}."
    again = replace(mode, misread=mode.misread + 1, trouble=trouble)
    return PatternTurn(_with(session, again))


def _next_step(session: Active, mode: PlanMode) -> Active:
    """The session at the first step that is not done; the question for the answer where none is
    left.
    """
    if not mode.steps:
        return _with(session, replace(mode, stage="answering", task=""))
    parts = [
        f"The task:\n{session.run.request.text}",
        *_results(mode),
        f"The step:\n{mode.steps[0]}",
        DOER,
    ]
    task = "\n\n".join(parts)
    run = replace(
        session.run, repeats={}, last_results={}, mode=replace(mode, stage="doing", task=task)
    )
    return replace(session, messages=(*mode.opening[:-1], user_says(task)), run=run)


def _done(session: Active, mode: PlanMode, text: str, plan: Plan) -> PatternTurn:
    """A step is done, or failed: then what is left is planned anew, if that was not done too often
    already.
    """
    step, *rest = mode.steps
    text = without_thoughts(text)
    if not text.lstrip().startswith(FAILED):
        mode = replace(
            mode,
            steps=tuple(rest),
            done=(*mode.done, step),
            results=(*mode.results, cut(text, STEP_CHARS_MAX)),
        )
        return PatternTurn(_next_step(session, mode))
    why = cut(text.lstrip().removeprefix(FAILED).strip(), STEP_CHARS_MAX)
    if mode.replans >= plan.replans:
        detail = (
            f"step {len(mode.done) + 1} ({cut(step, 200)}) failed, and the "
            f"plan was made anew {mode.replans} times already: {why}"
        )
        return PatternTurn(session, failed=("plan_failed", detail))
    trouble = f"The step {step!r} failed: {why}\nMake a plan for what is left, by another way."
    again = replace(mode, stage="planning", steps=(), trouble=trouble, replans=mode.replans + 1)
    return PatternTurn(_with(session, again))


def _results(mode: PlanMode) -> list[str]:
    if not mode.done:
        return []
    done = zip(mode.done, mode.results, strict=True)
    lines = [f"- {step}\n  {result}" for step, result in done]
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


def _criticised(session: Active, mode: CritiqueMode, text: str, critique: Critique) -> PatternTurn:
    """A critique that cannot be read is taken for remarks: a draft is never passed by mistake."""
    verdict = _object_in(text) or {}
    if verdict.get("good") is True:
        return _final(session, mode, mode.draft)
    if mode.rounds >= critique.rounds:
        detail = f"the critique was not content after {mode.rounds} revisions"
        return _final(session, mode, mode.draft, detail)
    remarks = verdict.get("remarks")
    if not isinstance(remarks, str) or not remarks:
        remarks = text
    revising = replace(mode, stage="drafting", rounds=mode.rounds + 1)
    return PatternTurn(_with(_saying(session, user_says(f"{REVISE}\n{remarks}")), revising))


def _object_in(text: str) -> dict[str, Any] | None:
    """The object that a model answers; None where there is none, or which one is not clear."""
    try:
        value = value_in(text)
    except InvalidValueError:
        return None
    return value if isinstance(value, dict) else None
