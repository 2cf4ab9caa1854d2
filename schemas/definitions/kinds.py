"""The definitions: tenants, agents, models, routes, tools, policies, and the versions in force.

Definitions are YAML, applied with `weir apply`, and travel as events on a compacted topic. A
version never changes; a run keeps the versions that it began with, so `Definitions` knows every
version, and the newest by name.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, TypeAdapter, model_validator

from schemas.definitions.api_keys import SCOPES, ApiKey, Scope  # noqa: F401 - together with the other kinds
from schemas.definitions.base import Definition
from schemas.definitions.limits import Context, Drift, Limits
from schemas.definitions.patterns import Critique, Pattern, Plan, Workflow
from schemas.definitions.prices import Budget, Contract, Price, Rates
from schemas.definitions.prompts import Alias, Prompt, PromptUse
from schemas.definitions.routes import Cache, Candidate, Check, Hedge, Need
from schemas.definitions.tools import Tool
from schemas.events.base import Count, Event, Value
from schemas.events.guardrails import Action, Stage
from schemas.events.values import Label, Name
from schemas.events.webhooks import Webhook

Kind = Literal[
    "tenant",
    "agent",
    "model",
    "route",
    "tool",
    "policy",
    "prompt",
    "alias",
    "currency",
    "key",
    "webhook",
]


class Tenant(Definition):
    """Who may ask, and how much: a token bucket of requests, and a limit on runs that are at work
    at once: one that waits for people or for a time only is not counted. `retention_days` is how
    long ClickHouse keeps the rows that land from now on; without it the setting WEIR_RETENTION_DAYS
    holds. `archive_days` is the same for the archive of all events, whose classes have their own
    usual time; with `legal_hold` nothing of the tenant that lands from then on leaves the archive.
    """

    kind: ClassVar[str] = "tenant"
    requests_per_minute: Annotated[float, Field(gt=0)] = 60
    burst: Annotated[int, Field(ge=1)] = 20
    concurrent_runs: Annotated[int, Field(ge=1)] = 1_000
    request_chars: Annotated[int, Field(ge=1)] = 100_000
    budget_usd: Budget | None = None
    contract: Contract | None = None
    drift: Drift | None = None
    retention_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    archive_days: Annotated[int, Field(ge=1, le=3_650)] | None = None
    legal_hold: bool = False


class Currency(Definition):
    """A currency by its ISO code, with its rates by the day from which each holds."""

    kind: ClassVar[str] = "currency"
    rates: Rates


class Agent(Definition):
    """Who answers. With `output`, a JSON Schema, its answer is JSON that fits it, or the run fails:
    a model is told what was wrong up to `output_repairs` times. With `ask_user` it may ask its user
    something in the middle of a run. `model` names a model or a route; with `cache` equal questions
    are answered without asking again.
    """

    kind: ClassVar[str] = "agent"
    prompt: str | PromptUse
    model: Name
    fallback: tuple[Name, ...] = ()
    tools: tuple[Name, ...] = ()
    policy: Name | None = None
    limits: Limits = Limits()
    tenants: tuple[Name, ...] = ()
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    history_messages: Annotated[int, Field(ge=1)] = 200
    output: dict[str, Any] | None = None
    output_repairs: Annotated[int, Field(ge=0, le=10)] = 2
    pattern: Pattern = "loop"
    plan: Plan | None = None
    critique: Critique | None = None
    workflow: Workflow | None = None
    ask_user: bool = False
    context: Context | None = None
    cache: Cache | None = None
    drift: Drift | None = None


class Model(Definition):
    """A model and where it is asked. `api_key` names a secret (`env:NAME`), it is never the secret.

    Provider `anthropic` is asked over Anthropic's messages protocol, every other one over OpenAI's
    chat completions. With `stream` the answer comes as it is written: it is then given up where the
    first token takes longer than `first_token_ms`, or the next one longer than `idle_ms`.
    `json_schema`: the provider itself can hold an answer to a JSON Schema (`response_format`).
    `tools`, `json_schema`, `vision` and `context_tokens` are what it is capable of: no question
    that needs more goes to it. `timeout_ms` is its time for one question, retries included. One
    that is `direct` may be asked itself, as an agent of its name without prompt, tools and policy:
    a client that names `gpt-4o` goes on naming it.
    """

    kind: ClassVar[str] = "model"
    provider: Label
    base_url: str
    upstream: str
    api_key: Annotated[str, Field(pattern=r"^env:[A-Z][A-Z0-9_]*$")] | None = None
    timeout_ms: Annotated[int, Field(ge=1)] = 60_000
    stream: bool = False
    first_token_ms: Annotated[int, Field(ge=1)] = 30_000
    idle_ms: Annotated[int, Field(ge=1)] = 15_000
    price: Price | None = None
    tools: bool = True
    json_schema: bool = False
    vision: bool = False
    context_tokens: Annotated[int, Field(ge=1)] | None = None
    direct: bool = False


class Route(Definition):
    """Which model is asked, and which next: named by an agent's `model:` like a model.

    Of the candidates, those that can take the question, in order (as written, cheapest first,
    fastest first as measured), or by share: one of them, the same for all of a run; then
    `fallback`. A cascade asks its models in order and goes on while the answer does not stand the
    check; the last one's is taken as it is. `direct` as of a model.
    """

    kind: ClassVar[str] = "route"
    candidates: tuple[Candidate, ...] = ()
    by: Literal["order", "cost", "latency", "share"] = "order"
    needs: tuple[Need, ...] = ()
    fallback: tuple[Name, ...] = ()
    hedge: Hedge | None = None
    cascade: tuple[Name, ...] = ()
    check: Check | None = None
    direct: bool = False

    @model_validator(mode="after")
    def _is_one_or_the_other(self) -> "Route":
        if bool(self.candidates) == bool(self.cascade):
            raise ValueError("a route has either `candidates` or a `cascade`: give one of them")
        if self.cascade and (len(self.cascade) < 2 or self.check is None):
            raise ValueError(
                "a cascade needs two models or more, and a `check` that the answers of all but the "
                "last "
                "must stand"
            )
        if len({*self.cascade}) < len(self.cascade):
            raise ValueError("a cascade asks each model once: remove the one that is named twice")
        if not self.cascade and self.check is not None:
            raise ValueError("a `check` belongs to a `cascade`: add one, or remove the check")
        if self.cascade and self.hedge is not None:
            raise ValueError("a `cascade` asks one model after another: remove the `hedge`")
        return self


class Rule(Value):
    """One thing to look for, where, and what to do when it is found."""

    find: Literal["secret", "card", "iban", "email"]
    at: tuple[Stage, ...] = ("request", "response", "result")
    action: Action


class Policy(Definition):
    """Rules in order. In shadow mode verdicts are recorded and nothing is changed."""

    kind: ClassVar[str] = "policy"
    shadow: bool = False
    rules: tuple[Rule, ...]

    @property
    def changes_responses(self) -> bool:
        """May a rule redact or block what a model says? Then nobody reads it before it is whole."""
        return not self.shadow and any(
            "response" in rule.at and rule.action != "flag" for rule in self.rules
        )


KINDS: dict[str, type[Definition]] = {
    c.kind: c
    for c in (Tenant, Agent, Model, Route, Tool, Policy, Prompt, Alias, Currency, ApiKey, Webhook)
}


class DefinitionApplied(Event):
    """A definition was applied, as version `version` of its name. `place` is `kind/name@version`.

    Removed, no new run may use the name; runs under way keep the versions that they began with.
    """

    family: ClassVar[str] = "registry"
    key: ClassVar[str] = "place"
    owner: ClassVar[str] = "governance"
    retention: ClassVar[timedelta | None] = None
    place: Label
    kind: Kind
    name: Label
    version: Count
    body: str
    digest: Label
    author: str = ""
    removed: bool = False


D = TypeVar("D", bound=Definition)


@dataclass(frozen=True)
class Definitions:
    """A snapshot: every version by (kind, name, version), and the newest version by (kind, name).

    `agent(name, version)` and its siblings give the definition in that version, or the one in force
    where no version is named; None where there is none, or it was removed.
    """

    bodies: Mapping[tuple[str, str, int], Definition] = field(default_factory=dict)
    newest: Mapping[tuple[str, str], int] = field(default_factory=dict)
    gone: frozenset[tuple[str, str]] = frozenset()
    since: Mapping[tuple[str, str, int], datetime] = field(default_factory=dict, compare=False)
    """When each version was applied first, as far as it is known."""

    def tenant(self, name: str, version: int | None = None) -> Tenant | None:
        return self._find(Tenant, name, version)

    def agent(self, name: str, version: int | None = None) -> Agent | None:
        return self._find(Agent, name, version)

    def model(self, name: str, version: int | None = None) -> Model | None:
        return self._find(Model, name, version)

    def route(self, name: str, version: int | None = None) -> Route | None:
        return self._find(Route, name, version)

    def tool(self, name: str, version: int | None = None) -> Tool | None:
        return self._find(Tool, name, version)

    def policy(self, name: str, version: int | None = None) -> Policy | None:
        return self._find(Policy, name, version)

    def prompt(self, name: str, version: int | None = None) -> Prompt | None:
        return self._find(Prompt, name, version)

    def alias(self, name: str, version: int | None = None) -> Alias | None:
        return self._find(Alias, name, version)

    def currency(self, name: str, version: int | None = None) -> Currency | None:
        return self._find(Currency, name, version)

    def key(self, name: str, version: int | None = None) -> ApiKey | None:
        return self._find(ApiKey, name, version)

    def webhook(self, name: str, version: int | None = None) -> Webhook | None:
        return self._find(Webhook, name, version)

    def _find(self, kind: type[D], name: str, version: int | None) -> D | None:
        found = self.of_kind(kind.kind, name, version)
        return found if isinstance(found, kind) else None

    def of_kind(self, kind: str, name: str, version: int | None = None) -> Definition | None:
        """The same where the kind is not known before, as in a change that is being applied."""
        version = self.version(kind, name) if version is None else version
        return None if version is None else self.bodies.get((kind, name, version))

    def version(self, kind: str, name: str) -> int | None:
        """The version in force; None where there is none, or it was removed."""
        return None if (kind, name) in self.gone else self.newest.get((kind, name))

    def in_force(self, kind: type[D]) -> list[D]:
        """All definitions of a kind that are in force, in the order of their names."""
        names = sorted(name for other, name in self.newest if other == kind.kind)
        found = (self._find(kind, name, None) for name in names)
        return [definition for definition in found if definition is not None]

    def having(self, changes: Iterable[DefinitionApplied]) -> "Definitions":
        """This snapshot with changes laid over it, in order."""
        bodies, newest, gone, since = (
            dict(self.bodies),
            dict(self.newest),
            set(self.gone),
            dict(self.since),
        )
        for change in changes:
            at = change.kind, change.name
            bodies[(*at, change.version)] = read_body(change.kind, change.body)
            since.setdefault((*at, change.version), change.at)
            if change.version >= newest.get(at, 0):
                newest[at] = change.version
                gone.add(at) if change.removed else gone.discard(at)
        return Definitions(bodies, newest, frozenset(gone), since)

    @classmethod
    def of(cls, *definitions: Definition) -> "Definitions":
        """A snapshot of first versions, for tests and for runs in memory."""
        return cls(
            {(d.kind, d.name, 1): d for d in definitions},
            {(d.kind, d.name): 1 for d in definitions},
        )


def read_body(kind: str, body: str) -> Definition:
    """The definition in a body of JSON. Raises pydantic's ValidationError."""
    return TypeAdapter(KINDS[kind]).validate_python(json.loads(body))
