"""Is a question's language told, is its subject the same for the same, and is no word of it kept?"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.quality.languages import COMMON, SUBJECTS, language, subject
from processors.quality.profiles import NAMES, script


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Where is my order A-1001?", "en"),
        ("Wo ist meine Bestellung?", "de"),
        ("Où est ma commande ?", "fr"),
        ("¿Dónde está mi pedido?", "es"),
        ("Dov'è il mio ordine?", "it"),
        ("Gdzie jest moja paczka?", "pl"),
        ("Onde está a minha encomenda?", "pt"),
        ("Waar is mijn bestelling?", "nl"),
        ("Где мой заказ?", "cyrillic"),
        ("我的订单在哪里？", "han"),
        ("أين طلبي؟", "arabic"),
        ("Xyzzy!", "other"),
        ("12345", "none"),
        ("", "none"),
    ],
)
def test_the_language_of_a_question(text, told):
    assert language(text, script(text)) == told


def test_the_subject_is_the_longest_word_that_not_every_text_has():
    assert (
        subject("Where is my refund?") == subject("REFUND, please") == subject("refund of A-1001")
    )
    assert subject("Where is my refund?") != subject("Where is my rucksack?")
    assert subject("where is my") == subject("A-12 3") == "none"


@given(st.text(max_size=300))
def test_whatever_is_asked_there_are_few_groups_and_no_words(text):
    assert re.fullmatch(r"w\d\d|none", subject(text))
    assert language(text, script(text)) in {*COMMON, "cyrillic", "han", "arabic", "other", "none"}
    assert len(COMMON) + 5 < NAMES and SUBJECTS < NAMES
