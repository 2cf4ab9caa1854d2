"""How far has a run come that follows a plan, a critique or a workflow?

All of it is immutable and part of the session, so it is in the changelog with it; a field that is
added has a default, so that a run under way goes on under a newer version.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

from schemas.events.values import Message

Stage = Literal["planning", "doing", "answering", "drafting", "criticising"]
State = Literal["open", "done", "failed", "dead"]


@dataclass(frozen=True)
class Course:
    """Of a plan or a critique. `kept` is the conversation as it stood when the run began: only the
    answer is added.

    `steps` are those of the plan, `results` what came of those that are done, `task` is what is
    asked of the step.
    """

    stage: Stage
    kept: tuple[Message, ...]
    steps: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    trouble: str = ""
    replans: int = 0
    misread: int = 0
    task: str = ""
    draft: str = ""
    rounds: int = 0


@dataclass(frozen=True)
class Spot:
    """A node that began, in this round of its loop. `due` is when a wait is over, or an event is
    waited for no more.

    A node that is dead will never begin: no way leads to it any more.
    """

    state: State
    due: datetime | None = None
    event: str = ""


@dataclass(frozen=True)
class Undo:
    """What would undo a node's work. `cannot` says why nothing would."""

    node: str
    tool: str = ""
    arguments: str = "{}"
    cannot: str = ""


@dataclass(frozen=True)
class Failing:
    """Why a workflow is coming to its end early, while it undoes what it did."""

    outcome: Literal["failed", "stopped"]
    reason: str
    detail: str


@dataclass(frozen=True)
class Flow:
    """Of a workflow. `ways` are the edges decided so far (`a>b`: gone, or never to be gone),
    `rounds` how often each loop was gone, `counts` how often each node began, `loops` the ways back
    that wait for the round to end.

    `results` and `errors` outlive the round, so that the next one can use them.
    """

    spots: dict[str, Spot] = field(default_factory=dict)
    ways: dict[str, bool] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    loops: tuple[tuple[str, str], ...] = ()
    results: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    last: str = ""
    undo: tuple[Undo, ...] = ()
    undone: tuple[str, ...] = ()
    not_undone: tuple[str, ...] = ()
    failing: Failing | None = None

    @property
    def due(self) -> datetime | None:
        """When the next wait is over."""
        if self.failing:
            return None
        return min(
            (spot.due for spot in self.spots.values() if spot.state == "open" and spot.due),
            default=None,
        )

    def remaining(self, undoing: bool = False) -> tuple[str, ...]:
        """What was done and is not undone, as things stand; the last of it is being undone, or not
        yet.
        """
        why = [undo.cannot or "it was not tried" for undo in reversed(self.undo)]
        if undoing and why:
            why[0] = "its undoing was under way"
        return (
            *self.not_undone,
            *(f"{undo.node} ({one})" for undo, one in zip(reversed(self.undo), why, strict=True)),
        )


@dataclass(frozen=True)
class Signal:
    """An event from outside that no node has taken yet."""

    id: UUID
    name: str
    payload: str
