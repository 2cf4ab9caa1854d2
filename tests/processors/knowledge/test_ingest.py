"""Are documents cut into pieces that can be found, and is only told anew what changed?"""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.knowledge.chunk import CHUNK_CHARS, HEADING_CHARS, split
from processors.knowledge.ingest import Document, chunk
from schemas.events.knowledge import (
    ChunkPrepared,
    ChunkRetired,
    DocumentPublished,
    DocumentWithdrawn,
)
from tests.support.processors import NOON, ident

SENTENCE = "The quick brown fox jumps over the lazy dog. "
GUIDE = "# Guide\n\nFirst.\n\n## Washing\n\nWash it.\n\nDry it.\n\n## Storing\nHang it up."


def published(text, name="p", **fields):
    return DocumentPublished(
        id=ident(name), at=NOON, tenant="acme", document="d.md", title="D", text=text, **fields
    )


def withdrawn():
    return DocumentWithdrawn(id=ident("w"), at=NOON, tenant="acme", document="d.md")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        (" \n\n\t", []),
        ("One.", ["One."]),
        ("One.\n\nTwo.", ["One.\n\nTwo."]),
        ("One.\r\n\r\nTwo.", ["One.\n\nTwo."]),
        (
            GUIDE,
            ["# Guide\n\nFirst.", "## Washing\n\nWash it.\n\nDry it.", "## Storing\n\nHang it up."],
        ),
        ("# Only a heading", ["# Only a heading"]),
        ("#hashtag is no heading", ["#hashtag is no heading"]),
    ],
)
def test_headings_and_paragraphs(text, pieces):
    assert split(text) == pieces


def test_a_long_section_repeats_its_heading_and_the_end_of_the_piece_before():
    pieces = split("## Foxes\n\n" + "\n\n".join(SENTENCE * 6 for _ in range(10)))
    assert len(pieces) > 2
    assert all(piece.startswith("## Foxes\n\n") and len(piece) <= CHUNK_CHARS for piece in pieces)
    assert pieces[1].removeprefix("## Foxes\n\n").startswith(SENTENCE.strip())


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["# Head\n", "\n\n", SENTENCE, "word " * 50, "x" * 900, "é。", "\t", "- item\n", "?!"]
        ),
        max_size=40,
    ).map("".join)
    | st.text(max_size=3_000)
)
def test_nothing_is_lost_and_no_piece_is_much_too_long(text):
    pieces = split(text)
    assert pieces == split(text)
    assert all(
        piece.strip() and len(piece) <= CHUNK_CHARS + HEADING_CHARS + 10
        for piece in pieces
        if "#" not in text
    )
    kept = " ".join(pieces)
    words = {
        word
        for line in text.splitlines()
        if not line.lstrip().startswith("#")
        for word in line.split()
    }
    assert all(
        word in kept for word in words if len(word) <= 50 and word.isascii() and word.isalnum()
    )


def test_five_megabytes_are_cut_in_time_linear_to_them():
    began = time.process_time()
    pieces = split((SENTENCE * 100 + "\n\n") * 1_100) + split("x" * 5_000_000)
    assert len(pieces) > 12_000
    assert time.process_time() - began < 10


def test_publishing_again_tells_only_what_changed():
    document, first = chunk(Document(), published(GUIDE))
    assert [(type(e), e.nth) for e in first] == [(ChunkPrepared, n) for n in range(3)]
    assert chunk(document, published(GUIDE, "again")) == (document, [])
    document, [changed] = chunk(document, published(GUIDE.replace("Dry it", "Hang it"), "new"))
    assert (changed.nth, "Hang it" in changed.text, changed.title) == (1, True, "D")
    document, said = chunk(document, published("# Guide\n\nFirst.", "short"))
    assert [(type(e), e.nth) for e in said] == [(ChunkRetired, 1), (ChunkRetired, 2)]


def test_another_title_or_address_is_a_change():
    document, _ = chunk(Document(), published("One."))
    assert len(chunk(document, published("One.", "b", url="https://example.org/d"))[1]) == 1


def test_withdrawing_retires_everything_and_forgets():
    document, _ = chunk(Document(), published(GUIDE))
    state, said = chunk(document, withdrawn())
    assert (state, [(type(e), e.nth) for e in said]) == (
        None,
        [(ChunkRetired, n) for n in range(3)],
    )
    assert chunk(Document(), withdrawn()) == (None, [])
    assert chunk(document, published(" ", "empty"))[0] is None
