"""`weir dlq`: lists, shows and replays dead letters."""

from typing import Annotated, Any

import typer

from streams.cli.output import AsJson, err, out, say_json, short, table
from streams.config import settings
from streams.engine import dead_letters
from streams.engine.errors import UserError
from streams.operations.connections import codec_of

dlq = typer.Typer(no_args_is_help=True, add_completion=False)
Reason = Annotated[str, typer.Option(help="Only letters with this reason.")]
Topic = Annotated[str, typer.Option(help="Only letters from this topic.")]


def letters(reason: str = "", topic: str = "") -> list[Any]:
    """All dead letters on Kafka, oldest first."""
    found = dead_letters.read_all(settings(), codec_of(settings()))
    return sorted(
        (
            letter
            for letter in found
            if reason in ("", letter.reason) and topic in ("", letter.topic_name)
        ),
        key=lambda letter: letter.at,
    )


@dlq.command("list", help="List them, newest last.")
def list_letters(
    reason: Reason = "", topic: Topic = "", limit: int = 50, as_json: AsJson = False
) -> None:
    found = letters(reason, topic)[-limit:]
    if as_json:
        return say_json(
            [
                letter.model_dump(mode="json", exclude={"record_value", "record_key"})
                for letter in found
            ]
        )
    out.print(
        table(
            "Dead letters",
            ("at", "source", "consumer", "reason", "detail"),
            [
                (
                    f"{letter.at:%m-%d %H:%M:%S}",
                    letter.source,
                    letter.consumer,
                    letter.reason,
                    short(letter.detail, 90),
                )
                for letter in found
            ],
        )
        if found
        else "no dead letters"
    )


@dlq.command("show", help="Show one, whole: topic:partition:offset.")
def show_letter(
    source: Annotated[str, typer.Argument(help="topic:partition:offset")], as_json: AsJson = False
) -> None:
    found = [letter for letter in letters() if letter.source == source]
    if not found:
        raise UserError(f"there is no dead letter {source!r}: `./weir dlq list` names them")
    for letter in found:
        if as_json:
            say_json(
                letter.model_dump(mode="json", exclude={"record_value", "record_key"})
                | {
                    "record_value_hex": (letter.record_value or b"").hex(),
                    "record_key_hex": (letter.record_key or b"").hex(),
                }
            )
        else:
            out.print(
                f"{letter.source}: {letter.reason}, said {letter.consumer}\n{letter.detail}",
                markup=False,
            )
            out.print(
                f"headers {letter.headers}\nkey {letter.record_key!r}\nvalue "
                f"{(letter.record_value or b'')[:2000]!r}",
                markup=False,
            )


@dlq.command("replay", help="Give them back to their topics, each once.")
def replay_letters(
    source: Annotated[
        list[str], typer.Argument(help="topic:partition:offset ...; none: all that match")
    ] = [],
    reason: Reason = "",
    topic: Topic = "",
    again: Annotated[
        bool, typer.Option("--again", help="Also those that were given back before.")
    ] = False,
) -> None:
    chosen = [letter for letter in letters(reason, topic) if not source or letter.source in source]
    if not chosen:
        raise UserError("no dead letter matches: `./weir dlq list` names them")
    given_back = dead_letters.replay(settings(), chosen, again=again)
    err.print(
        f"{given_back} of {len(chosen)} given back; the others were before (--again gives them "
        "back once more)"
    )
