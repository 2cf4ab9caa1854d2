"""What comes from outside reaches the terminal as the text that it is."""

import ast
import io
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from streams.cli import output
from streams.cli.main import application
from streams.cli.runs import ask, live_text
from streams.cli.runs.runs import print_run
from streams.cli.terminal import PlainConsole, visible
from streams.definitions.folder import DefinitionsError
from tests.support.processors import of_run

FOREIGN = [
    "[/INST] done",
    "[bold]A-1[/bold]",
    "[link=http://x.test]y[/link]",
    "see [/docs/returns] and [red]",
    ":heart: :warning:",
    r"\[escaped]",
    "[/a]",
]
ESCAPES = [
    ("\x1b[31mred", "␛[31mred"),
    ("\x1b]0;title\x07", "␛]0;title␇"),
    ("\x9b31m", "\ufffd31m"),
    ("over\rwritten", "over␍written"),
    ("back\x08space", "back␈space"),
    ("abc\u202egpj.exe", "abc\ufffdgpj.exe"),
    ("two\r\nlines\tand a tab", "two\nlines\tand a tab"),
]


def console() -> PlainConsole:
    return PlainConsole(
        file=io.StringIO(), width=200, force_terminal=True, color_system="truecolor"
    )


def printed(*objects, **options) -> str:
    made = console()
    made.print(*objects, **options)
    return made.file.getvalue()


@pytest.mark.parametrize("text", FOREIGN)
def test_brackets_stay_bracket_for_bracket(text):
    assert printed(text) == f"{text}\n"
    table = output.table(text, [text], [[text]])
    plain = io.StringIO()
    PlainConsole(file=plain, width=200).print(table)
    assert plain.getvalue().count(text) == 3


@pytest.mark.parametrize("text, right", ESCAPES)
def test_escape_sequences_are_shown_and_not_obeyed(text, right):
    assert visible(text) == right
    assert printed(text).split() == right.split()
    styled = printed(Text(text))  # which loses some of them already
    assert not any(char in styled for char in "\x1b\x9b\x07\r\x08\u202e")


@given(st.text(max_size=60))
def test_no_text_writes_a_control_character(text):
    assert not set(printed(text, soft_wrap=True)) & set(map(chr, [*range(9), *range(11, 32), 127]))


def test_progress_shows_words_as_they_are():
    made = console()
    with Progress(TextColumn("{task.description}", markup=False), console=made) as bar:
        bar.add_task("[/docs] [red]")
    assert "[/docs] [red]" in made.file.getvalue()


def test_styles_of_the_commands_remain():
    assert "\x1b[1mbold" in printed(Text("bold", style="bold"))
    table = Table(header_style="bold")
    table.add_column("a")
    assert "\x1b[1m" in printed(table)


HOSTILE = "see [/docs] and [red] \x1b[31mred :heart:"


@pytest.fixture
def screen(monkeypatch) -> io.StringIO:
    """What the commands print."""
    shown = io.StringIO()
    made = PlainConsole(file=shown, width=400)
    for module in (ask, live_text):
        monkeypatch.setattr(module, "out", made, raising=False)
        monkeypatch.setattr(module, "err", made)
    monkeypatch.setattr("streams.cli.runs.runs.out", made)
    return shown


def test_an_event_of_a_run_is_one_line_with_its_words(screen):
    event = of_run(ask.RequestRefused, "1", text=HOSTILE, reason="empty", detail="[/x]")
    ask.show_event(event, event.run)
    ask.print_outcome(event)
    assert "see [/docs] and [red]" in screen.getvalue()
    assert "refused: empty. [/x]" in screen.getvalue()
    assert "\x1b" not in screen.getvalue()


def test_a_run_is_shown_with_its_words(screen):
    run = {
        "run": UUID(int=1),
        "agent": "[/a]",
        "agent_version": 1,
        "tenant": "[red]",
        "session": "s[/x]",
        "outcome": "completed",
        "reason": "",
        "wait_ms": 3,
        "cost_usd": None,
        "total_cost_usd": None,
        "question": HOSTILE,
        "answer": HOSTILE,
        "bodies": "",
        "at": None,
    }
    print_run(run, [], [])
    shown = screen.getvalue()
    assert "session s[/x]: completed" in shown and "[/a]@1 for [red]" in shown
    assert shown.count("see [/docs] and [red] ␛[31mred :heart:") == 2


def test_a_folder_with_brackets_in_its_name_is_checked(tmp_path):
    folder = tmp_path / "(a file)[" / "x]"
    folder.mkdir(parents=True)
    result = CliRunner().invoke(application("check"), ["check", str(folder)])
    assert isinstance(result.exception, DefinitionsError)
    (folder / "tenants").mkdir()
    (folder / "tenants" / "acme.yaml").write_text("description: '[/x]'\n")
    result = CliRunner().invoke(application("check"), ["check", str(folder)])
    assert result.exit_code == 0, result.exception
    assert "(a file)[/x]" in result.stderr.replace("\n", "")


def test_only_the_terminal_module_makes_consoles_and_nothing_turns_markup_on():
    for path in Path(output.__file__).parents[1].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.keyword) and node.arg == "markup":
                assert isinstance(node.value, ast.Constant) and node.value.value is False, path
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "Console", path
