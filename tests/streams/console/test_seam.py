"""A page of the console is found by its file."""

from pathlib import Path

import pytest

from streams.console import pages
from streams.console.queries import queries
from tests.support.seams import extended

PAGE = '''"""A page of one table."""

from streams.console.page import Page, TableBlock, render
from streams.console.queries import MINE, PageQuery
from streams.console.request import PageRequestOf

QUERIES = {"newest": PageQuery("Newest", f"SELECT run FROM runs WHERE {MINE} LIMIT 1")}
PAGE = Page("newest", "Newest", 5, QUERIES)


@PAGE.router.get("/newest")
async def newest(look: PageRequestOf):
    rows = await look.rows("newest")
    return render(look, "blocks.html", "Newest", tables=[TableBlock("Newest", rows, "newest")])
'''


@pytest.fixture
def newest(tmp_path: Path):
    (tmp_path / "newest.py").write_text(PAGE)
    pages.pages.cache_clear()
    queries.cache_clear()
    with extended(pages, tmp_path):
        yield
    pages.pages.cache_clear()
    queries.cache_clear()


def test_a_new_file_is_a_page(newest):
    found = pages.pages()
    assert [page.title for page in found[:3]] == ["Overview", "Newest", "Runs"]
    assert queries()["newest"].title == "Newest"
