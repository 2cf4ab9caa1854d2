"""Can the console be used without seeing it, or without a mouse: names of fields, headings, tables,
places to go to?
"""

from collections import Counter
from html.parser import HTMLParser

import pytest

from streams.console.page import all_pages
from tests.streams.console.test_pages import got

pytestmark = pytest.mark.engine
VOID = {"meta", "link", "input", "br", "rect", "line", "circle", "polyline", "path"}
FIELDS = {"input", "select", "textarea"}


class Seen(HTMLParser):
    """What a screen reader is told of a page, and what is wrong with it."""

    def __init__(self):
        super().__init__()
        self.open = []
        self.wrong = []
        self.headings = []
        self.ids = Counter()
        self.landmarks = Counter()
        self.words = {}

    def handle_starttag(self, tag, given):
        attributes = dict(given)
        self.ids.update([attributes["id"]] if "id" in attributes else [])
        self.landmarks.update([tag] if tag in ("main", "nav", "header", "footer") else [])
        if (
            tag in FIELDS
            and attributes.get("type") != "hidden"
            and "aria-label" not in attributes
            and "label" not in self.within()
        ):
            self.wrong.append(f"a field without a name: {attributes}")
        if tag == "th" and attributes.get("scope") != "col":
            self.wrong.append("a head of a table without a scope")
        if tag == "svg" and not (
            attributes.get("aria-hidden") == "true"
            or (attributes.get("role") == "img" and attributes.get("aria-label"))
        ):
            self.wrong.append("a picture that says nothing")
        if attributes.get("tabindex") == "0" and not attributes.get("aria-label"):
            self.wrong.append("a stop of the keyboard without a name")
        if tag == "html" and not attributes.get("lang"):
            self.wrong.append("no language")
        if "style" in attributes or any(name.startswith("on") for name in attributes):
            self.wrong.append("what the content security policy forbids")
        if tag not in VOID:
            self.open.append((tag, attributes))
            self.words[len(self.open)] = ""

    def within(self):
        return {tag for tag, _ in self.open}

    def handle_data(self, text):
        for depth in range(1, len(self.open) + 1):
            self.words[depth] += text

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        said = self.words[len(self.open)].strip()
        was, attributes = self.open.pop()
        if was != tag:
            self.wrong.append(f"{was} is closed by {tag}")
        if tag in ("a", "button", "h1", "h2", "h3", "label", "summary") and not said:
            self.wrong.append(f"an empty {tag}: {attributes}")
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(int(tag[1]))


def seen(text):
    page = Seen()
    page.feed(text)
    return page


def paths(console):
    run = console.runs[0]
    trace = (
        got(console, f"/console/runs/{run.run}").text.split("trace=")[1].split('"')[0].split("&")[0]
    )
    return [
        *(path for path in (page.path for page in all_pages())),
        f"runs/{run.run}",
        f"session?session={run.session}",
        f"traces/{trace}",
        "cost?by=user",
        "runs?words=nothing+such",
    ]


def test_every_page_can_be_heard_and_walked_through(console):
    for path in paths(console):
        page = seen(got(console, f"/console/{path}".rstrip("/")).text)
        assert page.wrong == [] and page.open == [], path
        assert page.headings[0] == 1 and page.headings.count(1) == 1, path
        assert all(
            below - above <= 1
            for above, below in zip(page.headings, page.headings[1:], strict=False)
        ), (path, page.headings)
        assert (
            page.landmarks["main"] == page.landmarks["header"] == 1 and page.landmarks["nav"] >= 1
        ), path
        assert {name: count for name, count in page.ids.items() if count > 1} == {}, path


def test_an_error_and_the_door_can_be_heard_too(console):
    for text in (
        got(console, "/console/nowhere", headers={"accept": "text/html"}).text,
        got(console, "/console", headers={"cookie": "weir_key=weir_k_" + "0" * 43}).text,
    ):
        page = seen(text)
        assert page.wrong == [] and page.headings == [1]
