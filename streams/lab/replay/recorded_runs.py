"""Histories of runs, and whether this version of the code would continue them unchanged.

A history is a file of JSON lines: first the definitions, then for each event of the step `agent`
the state of the session before it, the event, and the events that followed. It is replayed twice:
from the beginning, and from each recorded state, as a worker does that restarts in the middle of a
run. What other steps and the outside depend on must stay equal: the events, their ids, calls and
arguments, outcomes and answers. Texts of prompts may change.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import TypeAdapter, ValidationError

from processors.agent.emit import AgentOutput
from processors.agent.machine import AgentInput, advance
from processors.agent.state import Session, new_session
from schemas.catalogue import event_classes
from schemas.definitions.kinds import Definitions, read_body
from schemas.events.base import Event
from schemas.wire.codec import DecodeError, from_json, to_json
from streams.engine.errors import UserError
from streams.engine.shapes import Fold, Step

STEP = "agent"
STATE = TypeAdapter(Session)
LASTING = (
    "id",
    "cause",
    "session",
    "run",
    "agent",
    "agent_version",
    "step",
    "call",
    "tool",
    "tool_version",
    "arguments",
    "model",
    "child",
    "query",
    "outcome",
    "reason",
    "answer",
    "not_undone",
    "status",
    "decision",
    "parent_run",
)
BESIDE = {"RunsHeld"}
"""Events about a tenant's quota of runs, which do not affect the run itself."""


class HistoryError(UserError):
    """An invalid or unreadable history; the text names the line."""


class Recorder:
    """Records a history while a pipeline runs: `pipeline` is the table with the agent's step
    wrapped.
    """

    def __init__(self, pipeline: tuple[Step, ...]):
        self.lines: list[dict[str, Any]] = []
        self.pipeline = tuple(
            replace(step, by=replace(step.by, on=self._advance))
            if step.name == STEP and isinstance(step.by, Fold)
            else step
            for step in pipeline
        )

    def _advance(
        self, session: Session, event: AgentInput, definitions: Definitions
    ) -> tuple[Session, list[AgentOutput]]:
        after, said = advance(session, event, definitions)
        self.lines.append(
            {
                "key": event.partition_key(),
                "state": json.loads(STATE.dump_json(session)),
                "took": _written(event),
                "said": [_written(one) for one in said],
            }
        )
        return after, said

    def text(self, definitions: Definitions) -> str:
        """The history in its file format."""
        bodies = [
            {
                "kind": kind,
                "version": version,
                "body": definition.model_dump(mode="json", exclude_unset=True),
            }
            for (kind, _, version), definition in definitions.bodies.items()
        ]
        return "".join(
            json.dumps(line, ensure_ascii=False) + "\n"
            for line in ({"definitions": bodies}, *self.lines)
        )


def differences(path: Path) -> list[str]:
    """The differences between this code and a history, a sentence each. Raises HistoryError."""
    first, *lines = _lines(path)
    try:
        given = _given(first["definitions"])
    except (ValidationError, KeyError) as error:
        raise HistoryError(
            f"{path}, line 1: its definitions can no longer be read ({error}): runs in progress "
            "could not continue, so give new fields defaults and keep old ones"
        ) from error
    return [*_played(path, lines, given, anew=False), *_played(path, lines, given, anew=True)]


def _played(
    path: Path, lines: list[dict[str, Any]], definitions: Definitions, anew: bool
) -> Iterator[str]:
    """Replay the events: with `anew` each in its recorded state, else in the resulting one."""
    states: dict[str, Session] = {}
    for nth, line in enumerate(lines, 2):
        event = _read(path, nth, line["took"])
        wanted = [_lasting(said) for said in line["said"] if not BESIDE & said.keys()]
        try:
            session = (
                STATE.validate_json(json.dumps(line["state"]))
                if anew
                else states.get(line["key"], new_session())
            )
        except ValidationError as error:
            yield (
                f"{path}, line {nth}: a session of an older version can no longer be read: "
                f"{_first(error)}"
            )
            continue
        # The agent's inputs are a union of classes; a history holds nothing else.
        states[line["key"]], said = advance(session, cast(AgentInput, event), definitions)
        found = [_lasting(_written(one)) for one in said if type(one).__name__ not in BESIDE]
        if found != wanted:
            where = "in its recorded state" if anew else "after what came before"
            yield f"{path}, line {nth}: {type(event).__name__} {where} says {_shown(found, wanted)}"


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise HistoryError(
            f"{path} cannot be read ({error.strerror}): name a folder of histories, or one of them"
        ) from error
    except ValueError as error:
        raise HistoryError(f"{path} is no history: {error}") from error
    if (
        not lines
        or not all(isinstance(line, dict) for line in lines)
        or "definitions" not in lines[0]
    ):
        raise HistoryError(
            f"{path} is no history: the first line must have the definitions, the others an event"
        )
    return lines


def _given(recorded: list[dict[str, Any]]) -> Definitions:
    bodies = {}
    newest = {}
    for one in recorded:
        definition = read_body(one["kind"], json.dumps(one["body"]))
        bodies[one["kind"], definition.name, one["version"]] = definition
        newest[one["kind"], definition.name] = max(
            one["version"], newest.get((one["kind"], definition.name), 0)
        )
    return Definitions(bodies, newest)


def _written(event: Event) -> dict[str, Any]:
    return {
        type(event).__name__: {
            name: value
            for name, value in json.loads(to_json(event)).items()
            if value not in (None, "", [], {})
        }
    }


def _read(path: Path, nth: int, written: dict[str, Any]) -> AgentInput:
    [(name, fields)] = written.items()
    kind = event_classes().get(name)
    if kind is None:
        raise HistoryError(
            f"{path}, line {nth}: there is no event {name} any more: runs in progress wait for it"
        )
    try:
        event = from_json(kind, json.dumps(fields))
    except DecodeError as error:
        raise HistoryError(f"{path}, line {nth}: {name} can no longer be read: {error}") from error
    if not isinstance(event, AgentInput):
        raise HistoryError(
            f"{path}, line {nth}: the agent reads no {name}: a history holds what it read"
        )
    return event


def _lasting(written: dict[str, Any]) -> dict[str, Any]:
    [(name, fields)] = written.items()
    told = {"model"} if name == "RunFinished" else set()  # older versions left it empty
    return {"event": name} | {
        field: fields[field] for field in LASTING if field in fields and field not in told
    }


def _shown(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> str:
    """The first difference."""
    for now, then in zip(found, wanted, strict=False):
        for field in dict.fromkeys((*then, *now)):
            if now.get(field) != then.get(field):
                return (
                    f"{now['event']} with {field} {now.get(field)!r}, "
                    f"it was {then['event']} with {then.get(field)!r}"
                )
    return f"{[one['event'] for one in found]}, it was {[one['event'] for one in wanted]}"


def _first(error: ValidationError) -> str:
    one = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, one['loc']))}: {one['msg']}"
