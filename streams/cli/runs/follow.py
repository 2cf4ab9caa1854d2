"""`weir follow`: shows a model's text while it is streamed, from a position on."""

import sys
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import typer

from streams.cli.output import AsJson, say_json
from streams.cli.runs.ask import print_outcome
from streams.cli.runs.live_text import Screen
from streams.config import settings
from streams.engine.errors import UserError
from streams.engine.follow_run import BACK, Piece, Place
from streams.engine.follow_run import follow as pieces_of
from streams.operations.connections import codec_of


def follow(
    run: Annotated[UUID, typer.Argument(help="The run's id.")],
    place: Annotated[
        str, typer.Option(help="Go on from here: the place that the last call ended with.")
    ] = "",
    back: Annotated[
        float, typer.Option(help="How many minutes back to look for its beginning.")
    ] = (BACK.total_seconds() / 60),
    timeout: Annotated[
        float, typer.Option(help="Longest wait for the run's end, in seconds.")
    ] = 120,
    as_json: AsJson = False,
) -> None:
    """Shows what a model says while it says it, where the model streams and no policy may still
    change its words.
    """
    try:
        reached = Place.of(place) if place else None
    except ValueError as error:
        raise UserError(str(error)) from error
    screen = Screen(None if as_json else sys.stdout)
    outcome = None
    for told in pieces_of(
        settings(), codec_of(settings()), run, reached, timeout, timedelta(minutes=back)
    ):
        if isinstance(told, Piece):
            reached = told.place
            screen.show(told)
        else:
            outcome = told
    text = screen.text
    known = screen.has(outcome)
    if as_json:
        say_json(
            {
                "run": run,
                "text": text,
                "attempts": screen.attempts,
                "place": str(reached or ""),
                "outcome": outcome and outcome.model_dump(mode="json"),
            }
        )
    elif outcome is not None:
        print_outcome(outcome, answer=not known)
    else:
        raise UserError(
            f"run {run} has not ended within {timeout:.0f} s: go on with `./weir follow {run}"
            f"{f' --place {reached}' if reached else ''}`"
        )
