"""The topology of Weir: its steps, a row each, by domain; its sinks; and what others write.

Steps that read events of one key are one stage: they run in one worker, in one transaction, in the
order of the rows. Diagrams, the AsyncAPI document and the topics to create are drawn from this.
"""

from functools import reduce
from operator import or_

from schemas.events.agent.approvals import ApprovalDecided
from schemas.events.agent.runs import AgentRequested, RunCancelled
from schemas.events.agent.signals import Signalled
from schemas.events.feedback import FeedbackGiven
from schemas.events.knowledge import (
    DocumentPublished,
    DocumentWithdrawn,
)
from schemas.events.operations import DeadLettered, LiveFigures
from schemas.events.tracing import SpanReceived
from sinks.spec import sink_specs
from streams.engine.shapes import Kinds, Step, kinds, written
from streams.topology import (
    agent,
    feedback,
    guardrails,
    knowledge,
    models,
    quality,
    tenants,
    tools,
    tracing,
    usage,
    webhooks,
)

FROM_SERVICES = (
    AgentRequested
    | RunCancelled
    | ApprovalDecided
    | FeedbackGiven
    | DocumentPublished
    | DocumentWithdrawn
    | SpanReceived
    | Signalled
)
"""The events that services outside write."""

DOMAINS = (
    tenants,
    guardrails,
    agent,
    models,
    tools,
    knowledge,
    tracing,
    feedback,
    usage,
    quality,
    webhooks,
)
PIPELINE: tuple[Step, ...] = tuple(step for domain in DOMAINS for step in domain.STEPS)

SINKS: dict[str, Kinds] = {
    name: reduce(or_, spec.events) for name, spec in sink_specs().items() if not spec.takes_all
}
"""The events of each sink, as the sinks declare them (`sinks/<system>/spec.py`); the archive, which
takes all, is not among them.
"""

VALIDATED = (written(PIPELINE) | {DeadLettered}) - {*kinds(FROM_SERVICES)}
"""The classes that nobody outside writes: their records were validated when they were made."""

LIVE_VIEWS: Kinds = LiveFigures | DeadLettered
"""What the live views read: a slim log made for them, and the dead letters, which are few."""
