"""What did each request to a model take, used or wasted? The ledger of attempts, one event an
attempt.
"""

from typing import ClassVar

from schemas.events.agent.base import RunEvent
from schemas.events.base import Count, Money, Personal
from schemas.events.values import Label, Tokens


class AttemptEnded(RunEvent):
    """One request to one model is over (`at` is the end of the whole question), whatever became of
    it.

    `nth` counts the attempts of one question from 1; it began `after_ms` after the question. What
    `Attempt` says of `reason`, `wasted` and `cost_usd` holds.
    """

    family: ClassVar[str] = "usage"
    owner: ClassVar[str] = "finance"
    log: ClassVar[str] = "session.records"
    table: ClassVar[str] = "attempts"
    step: Count
    nth: Count
    route: Label = ""
    model: Label
    provider: Label
    reason: Label = ""
    after_ms: Count = 0
    wait_ms: Count = 0
    tokens: Tokens = Tokens()
    cost_usd: Money | None = None
    wasted: bool = False
    hedge: bool = False
    user: Personal | None = None
