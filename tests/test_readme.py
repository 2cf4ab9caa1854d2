"""The documents say what the code says: generated blocks, commands, settings, links."""

import re
from pathlib import Path

import pytest

from streams.config import Settings
from streams.docs import readme
from streams.docs.commands import COMMANDS

ROOT = Path(__file__).parents[1]
DOCUMENTS = readme.documents(ROOT)
README_LINES_MAX = 150


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def titles_of(text: str) -> set[str]:
    """The anchors of a document's titles."""
    titles = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_short() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= README_LINES_MAX


def test_the_diagram_and_the_settings_stand_in_the_documents() -> None:
    text = "".join(path.read_text() for path in DOCUMENTS)
    assert re.search(readme.OPEN, text)
    settings = {f"WEIR_{name.upper()}" for name in Settings.model_fields}
    assert settings <= set(re.findall(r"`(WEIR_[A-Z_]+)`", text))


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_block_is_what_weir_describe_prints(path: Path) -> None:
    text = path.read_text()
    assert readme.readme_blocks(text) == text, "run `./weir describe --readme`"


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_is_a_command(path: Path) -> None:
    assert set(re.findall(r"\./weir ([a-z]+)", path.read_text())) <= COMMANDS.keys()


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_setting_is_a_setting(path: Path) -> None:
    settings = {f"WEIR_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"WEIR_[A-Z_]+", path.read_text())) <= settings


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text()
    links = re.findall(r"\]\((?!https?:|mailto:)([^)]+)\)", text)
    for link in links:
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in titles_of(target.read_text()), link


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_file_named_is_there(path: Path) -> None:
    """Paths in back quotes that begin at the project's root."""
    named = re.findall(
        r"`((?:schemas|processors|sinks|streams|infra|tests)/[\w./-]+)`", path.read_text()
    )
    assert [name for name in named if not (ROOT / name).exists()] == []
