"""Events on guardrails: verdicts."""

from typing import ClassVar, Literal

from schemas.events.agent.base import RunEvent
from schemas.events.base import Count
from schemas.events.values import Label

Action = Literal["flag", "redact", "block"]
Stage = Literal["request", "response", "result"]


class VerdictReached(RunEvent):
    """One rule of a policy found something. What it found is not repeated here: only how often, and
    its kind.

    `enforced` is false in shadow mode: the verdict stands, the text went on unchanged.
    """

    family: ClassVar[str] = "guardrails"
    owner: ClassVar[str] = "security"
    log: ClassVar[str] = "session.records"
    table: ClassVar[str] = "verdicts"
    stage: Stage
    policy: Label
    policy_version: Count
    rule: Label
    category: Label = ""
    action: Action
    enforced: bool
    findings: Count
