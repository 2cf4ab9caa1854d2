"""`weir try`: a conversation with an agent in memory."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from schemas.events.agent.runs import RequestRefused, RunFinished
from schemas.events.base import Event
from streams.cli.output import AsJson, err, say_json
from streams.cli.runs import run_story
from streams.cli.runs.ask import print_outcome
from streams.cli.runs.live_text import Screen, on_screen
from streams.config import settings
from streams.engine.errors import UserError
from streams.lab.playground import Listeners, Playground, company_of
from streams.lab.replay.recorded_runs import Recorder
from streams.topology import PIPELINE


def try_(
    file: Annotated[
        Path, typer.Argument(help="An agent's file, e.g. infra/company/agents/support.yaml.")
    ],
    message: Annotated[
        list[str], typer.Option("--message", "-m", help="Say this; may be repeated.")
    ] = [],
    tenant: Annotated[
        str, typer.Option(help="Who asks; the agent's first tenant unless given.")
    ] = "",
    record: Annotated[
        Path | None,
        typer.Option(help="Write the runs here as a history, for `weir check --histories`."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the answers.")] = False,
    as_json: AsJson = False,
) -> None:
    """Talks to an agent in memory: no Kafka, no Docker, and nothing is stored.

    What waits is helped on by `/approve NOTE` and `/deny NOTE`, `/signal NAME PAYLOAD`, and `/later
    SECONDS`.
    """
    if record and record.exists():
        raise UserError(
            f"{record} is there already, and what was recorded once is never written anew: name "
            "another file"
        )
    screen = Screen(sys.stdout)
    recorder = Recorder(PIPELINE)
    talk = TryOutConversation(file.stem, quiet, screen)
    desk = Playground(
        settings(),
        company_of(file),
        file.stem,
        tenant,
        Listeners(talk.hear, on_screen(screen)),
        recorder.pipeline if record else PIPELINE,
    )
    try:
        err.print(f"{file.stem} for {desk.tenant}, in memory; an empty line ends it", style="dim")
        for text in message or spoken():
            ended = talk.outcome(said_to(desk, text))
            if ended is not None:
                print_outcome(ended, answer=not screen.has(ended))
    finally:
        desk.close()
    if record:
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(recorder.text(desk.definitions), encoding="utf-8")
    if as_json:
        say_json({"agent": file.stem, "tenant": desk.tenant, "turns": talk.turns})
    raise typer.Exit(0 if all(turn["outcome"] == "completed" for turn in talk.turns) else 1)


def said_to(desk: Playground, text: str) -> list[Event]:
    """A request, or a word that helps on what waits."""
    word, _, rest = text.partition(" ")
    match word:
        case "/signal" if rest.strip():
            name, _, payload = rest.strip().partition(" ")
            return desk.signal(name, payload.strip())
        case "/later" if rest.strip().replace(".", "", 1).isdecimal():
            return desk.later(float(rest))
        case "/approve" | "/deny":
            events = desk.decide("approve" if word == "/approve" else "deny", rest.strip())
            if events is None:
                raise UserError(f"no call waits for an approval, so {word} decides nothing")
            return events
        case "/signal" | "/later":
            raise UserError(
                f"{text!r} cannot be read: write /signal NAME PAYLOAD, or /later SECONDS"
            )
    return desk.say(text)


class TryOutConversation:
    """What was said so far; shows events as they come."""

    def __init__(self, agent: str, quiet: bool, screen: Screen):
        self._agent = agent
        self._quiet = quiet
        self._screen = screen
        self.turns = list[dict[str, Any]]()

    def hear(self, event: Event) -> None:
        told = None if self._quiet else run_story.line(event)
        if told:
            self._screen.end_line()
            other = (
                getattr(event, "agent", "") if getattr(event, "agent", "") != self._agent else ""
            )
            err.print(f"  {event.at:%H:%M:%S.%f}  {other:<10} {told}", markup=False, soft_wrap=True)

    def outcome(self, events: list[Event]) -> Event | None:
        """The end of the run that was asked for, not of those that it asked for in turn."""
        ended = [
            event
            for event in events
            if (isinstance(event, RunFinished) and event.parent_run is None)
            or isinstance(event, RequestRefused)
        ]
        if not ended:
            err.print(
                "the run waits: for a person, an event or time (/approve, /deny, /signal "
                "NAME PAYLOAD, /later "
                "SECONDS)",
                style="dim",
            )
            return None
        last = ended[0]  # answers to its questions have the same end, at no cost of their own
        said = (
            {"outcome": "refused"}
            if isinstance(last, RequestRefused)
            else {
                "outcome": last.outcome,
                "answer": last.answer,
                "model_calls": last.model_calls,
                "tool_calls": last.tool_calls,
                "cost_usd": last.cost_usd,
                "total_cost_usd": last.total.total_cost_usd,
                "wait_ms": last.wait_ms,
            }
        )
        self.turns.append({"run": last.run} | said | {"reason": last.reason, "events": len(events)})
        return last


def spoken() -> Any:
    """What a person types, until an empty line or the end of input."""
    while True:
        try:
            text = err.input(Text("you> ", style="bold") if sys.stdin.isatty() else "").strip()
        except (EOFError, KeyboardInterrupt):
            return
        if not text:
            return
        yield text
