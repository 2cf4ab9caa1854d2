"""`weir runs fork`: compares a run with its fork, step by step."""

import asyncio
import re
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
import typer

from schemas.definitions.prompts import PromptUse
from schemas.events.agent.models import ModelFailed, ResponseCleared
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event
from schemas.events.usage import TokensUsed
from schemas.events.values import NAME
from streams.cli.output import AsJson, err, out, say_json, short, table
from streams.cli.runs.run_history import history
from streams.config import settings
from streams.engine.client import Publisher
from streams.engine.definitions_topic import read_all
from streams.engine.errors import UserError
from streams.lab.replay.fork import Change, Fork, ForkError
from streams.lab.replay.fork import fork as run_again
from streams.operations.connections import codec_of
from streams.operations.figures import usd
from streams.ports.wiring import ports_over

REFERENCE = re.compile(rf"({NAME})@(?:v?(\d+)|({NAME}))")


def fork(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    step: Annotated[
        int, typer.Option("--from", help="The first step that is asked anew.", min=1)
    ] = 1,
    change: Annotated[
        str, typer.Option("--with", help="prompt=NAME@v3, prompt=NAME@canary, or prompt=FILE.")
    ] = "",
    model: Annotated[str, typer.Option(help="The model that is to answer.")] = "",
    max_cost: Annotated[
        float, typer.Option(help="US dollars that the fork may cost.", min=0)
    ] = 0.10,
    as_json: AsJson = False,
) -> None:
    """Asks what if: a run again with another prompt or model, against its recorded tool results.

    No tool is called, and nothing is published but what the models' answers cost: it is the
    tenant's usage.
    """
    past = history(run)
    definitions = read_all(settings(), codec_of(settings()))
    wanted = Change(step, prompt_of(change), model or None, Decimal(str(max_cost)))
    try:
        made = asyncio.run(_forked(past, definitions, wanted))
    except ForkError as why:
        raise UserError(f"run {run} cannot be forked: {why}") from why
    then = next((event for event in past if isinstance(event, RunFinished)), None)
    if as_json:
        return say_json(result(past, then, made))
    print_fork(past, then, made)


async def _forked(past: list[Event], given: Any, wanted: Change) -> Fork:
    publisher = Publisher(settings(), codec_of(settings()))

    async def book(*used: TokensUsed) -> None:
        publisher.publish(*used)

    try:
        async with httpx.AsyncClient(timeout=None) as http:
            return await run_again(
                past, given, wanted, ports_over(settings(), http, http)["chat"], book
            )
    finally:
        publisher.flush()


def prompt_of(change: str) -> str | PromptUse | None:
    """What `--with` asks for. Raises UserError."""
    if not change:
        return None
    key, _, value = change.partition("=")
    found = REFERENCE.fullmatch(value)
    if key != "prompt" or not value:
        raise UserError(
            f"--with {change!r} is not understood: it is prompt=NAME@v3, prompt=NAME@canary, or "
            "prompt=FILE"
        )
    if found:
        return (
            PromptUse(use=found[1], version=int(found[2]))
            if found[2]
            else PromptUse(use=found[1], alias=found[3])
        )
    if Path(value).is_file():
        return Path(value).read_text(encoding="utf-8")
    raise UserError(f"{value!r} is no file and no version of a prompt (NAME@v3): correct it")


def answers_of(past: list[Event]) -> list[Any]:
    return [event for event in past if isinstance(event, ResponseCleared | ModelFailed)]


def said(answer: Any) -> str:
    """An answer of a model in one line."""
    if answer is None:
        return ""
    if isinstance(answer, ModelFailed):
        return ": ".join(filter(None, ("failed", answer.reason, answer.detail)))
    return (
        ", ".join(f"{call.name} {call.arguments}" for call in answer.tool_calls)
        or answer.content
        or ""
    )


def result(past: list[Event], then: RunFinished | None, made: Fork) -> dict[str, Any]:
    """The comparison, for programs."""
    before = answers_of(past)
    now = made.answers
    steps = [
        {
            "step": nth + 1,
            "then": said(before[nth]) if nth < len(before) else None,
            "now": said(now[nth]) if nth < len(now) else None,
        }
        for nth in range(max(len(before), len(now)))
    ]
    return {
        "replayed_steps": made.replayed,
        "steps": steps,
        "different": sum(s["then"] != s["now"] for s in steps),
        "then": ended(then),
        "now": ended(made.finished),
        "fork_cost_usd": made.cost_usd,
        "fork": str(made.id),
        "not_recorded": made.unrecorded,
    }


def ended(finished: RunFinished | None) -> dict[str, Any] | None:
    return (
        None
        if finished is None
        else {
            "outcome": finished.outcome,
            "reason": finished.reason,
            "detail": finished.detail,
            "answer": finished.answer,
            "cost_usd": finished.cost_usd,
            "model_calls": finished.model_calls,
            "tool_calls": finished.tool_calls,
            "tokens": finished.tokens.input_tokens + finished.tokens.output_tokens,
        }
    )


def print_fork(past: list[Event], then: RunFinished | None, made: Fork) -> None:
    found = result(past, then, made)
    out.print(
        table(
            "What the model said",
            ("step", "then", "now"),
            [
                (
                    s["step"],
                    short(s["then"], 300),
                    "the same" if s["now"] == s["then"] else short(s["now"], 300),
                )
                for s in found["steps"]
            ],
            numbers=("step",),
        )
    )
    rows = [
        (
            name,
            *(
                ("" if one is None else usd(one[name]) if name == "cost_usd" else one[name])
                for one in (found["then"], found["now"])
            ),
        )
        for name in (
            "outcome",
            "reason",
            "detail",
            "answer",
            "model_calls",
            "tool_calls",
            "tokens",
            "cost_usd",
        )
    ]
    out.print(
        table("How it ended", ("", "then", "now"), [row for row in rows if {*row[1:]} - {"", None}])
    )
    if made.unrecorded:
        err.print(f"calls without a recorded result: {', '.join(made.unrecorded)}", markup=False)
    booked = f", booked as usage of run {made.id}" if made.cost_usd or made.unpriced else ""
    err.print(
        f"replayed steps: {made.replayed}; the others cost {usd(made.cost_usd)} now{booked}",
        style="dim",
    )
