"""Shows a model's streamed text on a terminal."""

from collections.abc import Callable
from typing import TextIO
from uuid import UUID

from schemas.events.base import Event
from schemas.events.model_chunks import ModelChunk
from streams.cli.output import err
from streams.cli.terminal import visible
from streams.engine.follow_run import Piece, Reader


class Screen:
    """The newest attempt's text on stdout; what was shown of another one is struck out by a line on
    stderr.
    """

    def __init__(self, to: TextIO | None):
        self._to = to
        self._within = False
        self.text = ""
        self.attempts = 0

    def show(self, piece: Piece) -> None:
        if piece.fresh:
            self.end_line()
            if self.text and self._to:
                err.print(
                    f"step {piece.place.step}, attempt {piece.place.attempt}: it begins anew",
                    style="dim",
                )
            self.text = ""
            self.attempts = self.attempts + 1
        text = "…" * bool(piece.missing) + piece.text
        self.text += text
        self._say(text)

    def has(self, outcome: Event | None) -> bool:
        """Whether the answer was read already, so that only how it was got is left to tell. The
        answer alone counts.
        """
        self.end_line()
        read = self.text
        self.text = ""
        return bool(read) and read == getattr(outcome, "answer", None)

    def end_line(self) -> None:
        if self._within:
            self._say("\n")

    def _say(self, text: str) -> None:
        if self._to and text:
            self._to.write(visible(text))
            self._to.flush()
            self._within = not text.endswith("\n")


def on_screen(screen: Screen, run: UUID | None = None) -> Callable[[ModelChunk], None]:
    """Shows the text of a run, or of whatever run is talking, one after the other."""
    readers: dict[UUID, Reader] = {}

    def show(chunk: ModelChunk) -> None:
        if run not in (None, chunk.run):
            return
        piece = readers.setdefault(chunk.run, Reader(chunk.run)).take(chunk)
        if piece is not None:
            screen.show(piece)

    return show
