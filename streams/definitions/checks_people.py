"""Checks approvals of tools, and agents that ask their user."""

from collections.abc import Iterator, Sequence
from typing import Any

from processors.agent.calls.human_input import ASK_USER
from processors.common.cel_expressions import nodes_in, wrong_with
from schemas.definitions.kinds import Agent, Tool

UNASKING = {"single": "it answers at once", "workflow": "its graph decides what is asked"}


def mistakes(sources: Sequence[Any]) -> Iterator[str]:
    """Sentences with file and line; a source has a `definition` and `says`."""
    for source in sources:
        if isinstance(source.definition, Tool) and source.definition.approval:
            yield from _of_approval(source, source.definition.approval.when)
        elif isinstance(source.definition, Agent) and source.definition.ask_user:
            yield from _of_asking(source, source.definition)


def _of_approval(source: Any, when: str) -> Iterator[str]:
    wrong = wrong_with(when) if when else None
    if not wrong and when and any(nodes_in(when)):
        wrong = (
            "it speaks of nodes, which a workflow has: it knows the arguments of the call as "
            "`input`"
        )
    if wrong:
        yield source.says(f"`when` cannot be used: {wrong}", "approval", "when")


def _of_asking(source: Any, agent: Agent) -> Iterator[str]:
    if agent.pattern in UNASKING:
        yield source.says(
            f"pattern {agent.pattern!r} never asks its user, {UNASKING[agent.pattern]}: remove "
            "ask_user, or "
            "take another pattern",
            "ask_user",
        )
    if ASK_USER in agent.tools:
        yield source.says(
            f"the agent has a tool {ASK_USER!r} of its own, which is the name of what ask_user "
            "gives it: "
            "rename the tool, or remove ask_user",
            "tools",
        )
