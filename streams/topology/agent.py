"""The agent: a session of runs, and what passes between an agent and its sub-agents."""

from processors.agent import machine
from processors.agent.calls import subagents
from processors.agent.state import new_session
from schemas.events.agent.runs import Woke
from streams.engine.shapes import Each, Fold, Step

STEPS = (
    Step("agent", Fold(new_session, machine.advance, wakes=Woke)),
    Step("return_child", Each(subagents.result)),
    Step("hold_parent", Each(subagents.hold)),
    Step("cancel_child", Each(subagents.cancel)),
)
