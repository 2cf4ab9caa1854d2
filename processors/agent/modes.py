"""The mode of a run: what it remembers of its agent's pattern, beside the conversation.

A loop remembers nothing more. A plan knows its steps, a critique its draft, a workflow which of its
nodes have begun. All of it is immutable and part of the session, so it is in the changelog too.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from schemas.events.base import BY_KIND
from schemas.events.values import Message

PlanStage = Literal["planning", "doing", "answering"]
CritiqueStage = Literal["drafting", "criticising"]
NodeStatus = Literal["open", "done", "failed", "dead"]


@dataclass(frozen=True)
class LoopMode:
    """The model is asked until it answers: the patterns `loop` and `single`."""

    kind: Literal["loop"] = "loop"


@dataclass(frozen=True)
class PlanMode:
    """A plan is made, its steps are done one by one, and the answer is made of their results.

    `opening` is the conversation as it stood when the run began, the request included: only the
    answer will be added to it. `steps` are those still to be done, `results` what came of those in
    `done`. `task` is what is asked of the model in the current step, and `trouble` what the planner
    has to know about its last plan. `misread` counts plans in a row that could not be read.
    """

    opening: tuple[Message, ...]
    stage: PlanStage = "planning"
    steps: tuple[str, ...] = ()
    results: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    trouble: str = ""
    replans: int = 0
    misread: int = 0
    task: str = ""
    kind: Literal["plan"] = "plan"


@dataclass(frozen=True)
class CritiqueMode:
    """A draft is written, criticised and revised. `opening` is as in a plan, `rounds` counts the
    revisions.
    """

    opening: tuple[Message, ...]
    stage: CritiqueStage = "drafting"
    draft: str = ""
    rounds: int = 0
    kind: Literal["critique"] = "critique"


@dataclass(frozen=True)
class NodeState:
    """A node in this round of its loop: it has begun, or is `dead` as no edge leads to it any more.

    `due` is when a wait is over, or when the wait for a signal is given up; `event` is the signal's
    name.
    """

    status: NodeStatus
    due: datetime | None = None
    event: str = ""


@dataclass(frozen=True)
class NodeCompensation:
    """The call that would undo a node's work. `impossible` says why there is none."""

    node: str
    tool: str = ""
    arguments: str = "{}"
    impossible: str = ""


@dataclass(frozen=True)
class WorkflowFailure:
    """Why a workflow comes to its end early, after it has compensated what it did."""

    outcome: Literal["failed", "stopped"]
    reason: str
    detail: str


@dataclass(frozen=True)
class WorkflowMode:
    """A graph of nodes is followed.

    `edges` are those decided so far, written `source>target`: taken, or never to be taken in this
    round. `rounds` counts how often each loop was taken, `counts` how often each node began, and
    `loops` are the loops, source and target, that wait for their round to end. `results` and
    `errors` outlive a round, so that the next one can use them. `last` is the node that was done
    last. `compensations` undo what was done so far, the newest last; `compensated` are the nodes
    whose work was undone, and `not_compensated` names the others, each with the reason.
    """

    nodes: dict[str, NodeState] = field(default_factory=dict)
    edges: dict[str, bool] = field(default_factory=dict)
    rounds: dict[str, int] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    loops: tuple[tuple[str, str], ...] = ()
    results: dict[str, str] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    last: str = ""
    compensations: tuple[NodeCompensation, ...] = ()
    compensated: tuple[str, ...] = ()
    not_compensated: tuple[str, ...] = ()
    failure: WorkflowFailure | None = None
    kind: Literal["workflow"] = "workflow"

    @property
    def due(self) -> datetime | None:
        """When the next wait of a node is over."""
        if self.failure:
            return None
        waits = (one.due for one in self.nodes.values() if one.status == "open" and one.due)
        return min(waits, default=None)

    def remaining(self, compensating: bool) -> tuple[str, ...]:
        """What was done and is not undone, a sentence each, if the run ended now. `compensating`: a
        call that undoes the newest of it is under way.
        """
        remaining = list(self.not_compensated)
        for nth, one in enumerate(reversed(self.compensations)):
            reason = one.impossible or "it was not tried"
            if nth == 0 and compensating:
                reason = "its undoing was under way"
            remaining.append(f"{one.node} ({reason})")
        return tuple(remaining)


Mode = Annotated[LoopMode | PlanMode | CritiqueMode | WorkflowMode, BY_KIND]


@dataclass(frozen=True)
class PendingSignal:
    """An event from outside that no node has taken yet."""

    id: UUID
    name: str
    payload: str
