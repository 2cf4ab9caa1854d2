"""How does a person read what a model says while it is saying it, and go on reading where they left off?"""

import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, TextIO
from uuid import UUID

import typer

from schemas.agent import RunFinished
from schemas.base import Event
from schemas.stream import ModelChunk
from streams.commands.ask import print_outcome
from streams.commands.common import AsJson, Problem, err, say_json
from streams.commands.reach import codec_of
from streams.config import settings
from streams.reading_along import BACK, Piece, Place, Reader
from streams.reading_along import follow as pieces_of


def follow(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    place: Annotated[str, typer.Option(help="Go on from here: the place that the last call ended with.")] = "",
    back: Annotated[float, typer.Option(help="How many minutes back to look for its beginning.")] = (
        BACK.total_seconds() / 60),
    timeout: Annotated[float, typer.Option(help="Longest wait for the run's end, in seconds.")] = 120,
    as_json: AsJson = False,
) -> None:
    """Shows what a model says while it says it, where the model streams and no policy may still change its words."""
    try:
        reached = Place.of(place) if place else None
    except ValueError as error:
        raise Problem(str(error)) from error
    screen, outcome = Screen(None if as_json else sys.stdout), None
    for told in pieces_of(settings(), codec_of(settings()), run, reached, timeout, timedelta(minutes=back)):
        if isinstance(told, RunFinished):
            outcome = told
        else:
            reached = told.place
            screen.show(told)
    text = screen.text
    screen.end(outcome)
    if as_json:
        say_json({"run": run, "text": text, "attempts": screen.attempts, "place": str(reached or ""),
                  "outcome": outcome and outcome.model_dump(mode="json")})
    elif outcome is None:
        raise Problem(f"run {run} has not ended within {timeout:.0f} s: go on with `./weir follow {run}"
                      f"{f' --place {reached}' if reached else ''}`")


class Screen:
    """The newest attempt's text on stdout; what was shown of another one is struck out by a line on stderr."""

    def __init__(self, to: TextIO | None):
        self._to, self._within, self.text, self.attempts = to, False, "", 0

    def show(self, piece: Piece) -> None:
        if piece.fresh:
            self.end_line()
            if self.text and self._to:
                err.print(f"[dim]step {piece.place.step}, attempt {piece.place.attempt}: it begins anew[/dim]")
            self.text, self.attempts = "", self.attempts + 1
        text = "…" * bool(piece.missing) + piece.text
        self.text += text
        self._say(text)

    def end(self, outcome: Event | None) -> None:
        """The outcome, and the answer where it is not what was read: it alone counts."""
        self.end_line()
        if outcome is not None and self._to:
            print_outcome(outcome, answer=not self.text or self.text != getattr(outcome, "answer", None))
        self.text = ""

    def end_line(self) -> None:
        if self._within:
            self._say("\n")

    def _say(self, text: str) -> None:
        if self._to and text:
            self._to.write(text)
            self._to.flush()
            self._within = not text.endswith("\n")


def on_screen(screen: Screen) -> Callable[[ModelChunk], None]:
    """Shows every chunk of whatever run is talking, one after the other."""
    readers: dict[UUID, Reader] = {}

    def show(chunk: ModelChunk) -> None:
        piece = readers.setdefault(chunk.run, Reader(chunk.run)).take(chunk)
        if piece is not None:
            screen.show(piece)

    return show
