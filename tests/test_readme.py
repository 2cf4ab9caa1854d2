"""Does README.md say what the code says?"""

import re
from pathlib import Path

from streams.cli.main import COMMANDS
from streams.docs import readme

README = Path(__file__).parents[1] / "README.md"


def test_every_block_is_what_weir_describe_prints():
    text = README.read_text()
    assert re.search(readme.OPEN, text), (
        "README.md has no `weir describe` block: the diagram belongs there"
    )
    assert readme.readme_blocks(text) == text, "run `./weir describe --readme`"


def test_every_command_in_it_is_a_command():
    named = set(re.findall(r"\./weir ([a-z]+)", README.read_text()))
    assert named and named <= COMMANDS.keys()


def test_every_section_that_it_points_at_is_there():
    text = README.read_text()
    there = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^## (.+)$", text, re.M)
    }
    assert {link for link in re.findall(r"\]\(#([^)]+)\)", text)} <= there


def test_every_file_that_it_points_at_is_there():
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", README.read_text())
    assert [link for link in links if not (README.parent / link).exists()] == []
