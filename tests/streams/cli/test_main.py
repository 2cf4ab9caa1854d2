"""The command line ends with the right exit code and one line, however it is ended."""

import signal
from collections.abc import Iterator

import pytest

from streams.cli import main


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Whoever hears SIGTERM in this process hears it again afterwards."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_command_that_is_terminated_puts_away_what_it_brought_up(monkeypatch):
    put_away = []

    def command(prog_name: str) -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            put_away.append(prog_name)

    monkeypatch.setattr(main, "application", lambda only: command)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert (ended.value.code, put_away) == (143, ["weir"])


def test_a_mistake_is_one_sentence(monkeypatch, capsys):
    def command(prog_name: str) -> None:
        raise ConnectionError("the broker is away: start it")

    monkeypatch.setattr(main, "application", lambda only: command)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert (ended.value.code, capsys.readouterr().err) == (
        1,
        "weir: the broker is away: start it\n",
    )
