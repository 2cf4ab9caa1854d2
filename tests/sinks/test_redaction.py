"""Secrets stay out of what comes from outside."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.redaction import KnownSecrets, SecretRedactor, without_keys

KEY = "pk-9f3c2d71aa5e4b"
SECRETS = {"env:PEAK_KEY": KEY, "env:LOCAL": "ollama", "env:ODD": 'a"b<c>/1234567'}


def redactor() -> SecretRedactor:
    made = SecretRedactor(SECRETS.__getitem__)
    for reference in SECRETS:
        made(reference)
    return made


@pytest.mark.parametrize(
    "text, right",
    [
        (f"key {KEY} is unknown", "key env:PEAK_KEY is unknown"),
        (f"Authorization: Bearer {KEY}", "Authorization: Bearer env:PEAK_KEY"),
        (f"<b>{KEY}</b>", "<b>env:PEAK_KEY</b>"),
        ("the key pk-9f3c2d71a", "the key env:PEAK_KEY"),
        ("pk-9f3c2d7*** is unknown", "env:PEAK_KEY*** is unknown"),
        (r"a\"b<c>/1234567", "env:ODD"),
        ("a%22b%3Cc%3E%2F1234567", "env:ODD"),
        ("a&quot;b&lt;c&gt;/1234567", "env:ODD"),
        ("sk-live-A8271bcd90 is not ours", "[key] is not ours"),
        ("authorization: Bearer abc123def456", "authorization: Bearer [key]"),
        ("'Authorization': 'Basic dXNlcjpwYXNz='", "'Authorization': 'Basic [key]'"),
        ("api_key=Zq81mVx02L!", "api_key=[key]!"),
        ("x-api-key: Zq81mVx02L", "x-api-key: [key]"),
        ("bearer authentication is required", "bearer authentication is required"),
        ("no api key was sent", "no api key was sent"),
        ("ask the risk-department-2026", "ask the risk-department-2026"),
    ],
)
def test_a_refusal_names_the_secret_and_never_shows_it(text, right):
    assert redactor().redact_refusal(text) == right


def test_a_secret_of_another_call_is_replaced_unless_it_is_an_ordinary_word():
    known = KnownSecrets(SECRETS.__getitem__)
    for reference in SECRETS:
        SecretRedactor(known)(reference)
    other = SecretRedactor(known)
    assert other.redact(f"{KEY} and ollama") == "env:PEAK_KEY and ollama"
    other("env:LOCAL")
    assert other.redact(f"{KEY} and ollama") == "env:PEAK_KEY and env:LOCAL"


def test_a_model_may_say_a_word_that_is_used_as_a_key():
    said = {"content": f"ollama says {KEY}", "tool_calls": ({"arguments": f'{{"k": "{KEY}"}}'},)}
    assert redactor().redact_answer(said) == {
        "content": "ollama says env:PEAK_KEY",
        "tool_calls": ({"arguments": '{"k": "env:PEAK_KEY"}'},),
    }


@given(st.lists(st.sampled_from(["p", "pk-9", "f3c2d71aa5e4b", KEY, "-", "tea "]), max_size=12))
def test_a_stream_shows_no_secret_however_it_is_cut(parts):
    heard: list[tuple[str, bool]] = []
    listener = redactor().listener(lambda text, last: heard.append((text, last)))
    for part in parts:
        listener(part, False)
    listener("", True)
    whole = "".join(text for text, _ in heard)
    assert whole == redactor().redact_answer("".join(parts))
    assert [last for _, last in heard].count(True) == 1


def test_masking_takes_linear_time_and_leaves_ordinary_text():
    text = "authorization: " * 20_000 + "sk-" * 20_000
    assert without_keys(text) == text
