"""Money is told in plain decimal notation by every model and every answer."""

import re
import typing
from decimal import Decimal
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from schemas.definitions import kinds  # noqa: F401 - they know every event class and definition
from schemas.money import money_text
from schemas.wire import topics  # noqa: F401 - they know every event class and definition
from streams.cli.output import plain
from streams.gateway import sse
from streams.gateway.routes.runs import RunObject

PLAIN = re.compile(r"-?\d+(\.\d*[1-9])?")


@pytest.mark.parametrize(
    "amount, text",
    [
        ("0", "0"),
        ("0E-12", "0"),
        ("-0E-12", "0"),
        ("0.000000000001", "0.000000000001"),
        ("1E-12", "0.000000000001"),
        ("1E+3", "1000"),
        ("1000", "1000"),
        ("9.000000000000", "9"),
        ("0.006000000000", "0.006"),
        ("-0.5", "-0.5"),
        ("12345678901234567890123456.123456789012", "12345678901234567890123456.123456789012"),
        ("NaN", "NaN"),
    ],
)
def test_an_amount_as_text(amount, text):
    assert money_text(Decimal(amount)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**26), max_value=10**26))
def test_the_text_is_plain_and_loses_nothing(amount):
    text = money_text(amount)
    assert PLAIN.fullmatch(text) and Decimal(text) == amount


@given(st.integers(-(10**38), 10**38), st.integers(0, 12))
def test_equal_amounts_have_equal_text(units, scale):
    amount = Decimal(units).scaleb(-12)
    assert money_text(amount) == money_text(
        Decimal(f"{amount:f}" + ("0" * scale if "." in f"{amount:f}" else ""))
    )


def with_amounts() -> list[tuple[type[BaseModel], str, typing.Any]]:
    """Every field of every model that holds Decimals, with a value that Python writes with an
    exponent.
    """
    found, queue = [], [BaseModel]
    while queue:
        queue += (kind := queue.pop()).__subclasses__()
        if kind.__module__.startswith(("schemas.", "streams.")):
            hints = {name: str(info.annotation) for name, info in kind.model_fields.items()}
            found += [
                (kind, name, (Decimal("0E-12"),) if hint.startswith("tuple") else Decimal("0E-12"))
                for name, hint in hints.items()
                if "Decimal" in hint
            ]
    return found


@pytest.mark.parametrize(
    "kind, name, value",
    [pytest.param(*one, id=f"{one[0].__name__}.{one[1]}") for one in with_amounts()],
)
def test_every_model_writes_its_amounts_plainly(kind, name, value):
    made = kind.model_construct(**{name: value})
    assert made.model_dump(mode="json", include={name}) == {
        name: "0" if isinstance(value, Decimal) else ["0"]
    }


def test_answers_and_streams_of_the_gateway_write_amounts_plainly():
    run = RunObject(
        id="1",
        status="completed",
        tenant="t",
        session="s",
        cost_usd=Decimal("0E-12"),
        total_cost_usd=Decimal("0.50"),
    )
    assert b'"cost_usd":"0","total_cost_usd":"0.5"' in sse.event("", run)
    uuid = uuid4()
    assert (
        sse.event("", {"cost_usd": Decimal("0E-12"), "id": uuid})
        == f'data: {{"cost_usd":"0","id":"{uuid}"}}\n\n'.encode()
    )


def test_json_of_the_command_line_writes_amounts_plainly():
    assert [plain(Decimal(text)) for text in ("0E-12", "1E+3", "9.500000000000")] == [
        "0",
        "1000",
        "9.5",
    ]
