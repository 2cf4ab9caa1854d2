"""Invoices are read as their providers mean them; unclear and wrong lines are reported."""

from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.engine.errors import UserError
from streams.operations import invoices
from streams.operations.invoice_files import Invoice, known_as, read

DAY = date(2026, 11, 2)


def rates(currency: str, day: date) -> Decimal | None:
    return Decimal("1.14") if currency == "EUR" and day >= date(2026, 7, 1) else None


@pytest.fixture
def reads(tmp_path: Path):
    def one(text: str | bytes, decimal: str = "") -> Invoice:
        path = tmp_path / "bill.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return read(path, rates, decimal)

    return one


@pytest.mark.parametrize(
    ("text", "usd"),
    [
        ("date,model,cost_usd\n2026-11-02,m,1.25\n", "1.25"),
        ("\ufeffModel;Day;Amount\r\nm;2026-11-02;1.234,56\r\n;;\r\n", "1234.56"),
        ("sep=;\ndate;model;cost\n2026-11-02;m;0,5\n", "0.5"),
        ('date,model,cost\n2026-11-02,m,"$1,234.50"\n', "1234.50"),
        (
            'date,model,cost\n2026-11-02,m,"1,234"\n',
            "1234",
        ),  # where commas part columns, they part thousands too
        ("date,model,cost\n2026-11-02,m,1.234\n", "1.234"),
        ("date\tmodel\tcost\n2026-11-02\tm\t1'234.5\n", "1234.5"),
        ("date|model|cost\n2026-11-02|m|1 234,5\n", "1234.5"),
        ("date;model;cost\n2026-11-02;m;1\u00a0234\u202f567,5\n", "1234567.5"),
        ("date;model;cost\n2026-11-02;m;1.234\n2026-11-02;m;0,001\n", "1234.001"),
        ("date;model;cost\n2026-11-02;m;1.234\n2026-11-02;m;0.001\n", "1.235"),
        ("date,model,cost\n2026-11-02,m,1e-05\n", "0.00001"),
        ("date,model,cost\n2026-11-02,m,3.5\n2026-11-02,m,-1.25\n", "2.25"),
        ('date,model,cost\n2026-11-02,m,3\n2026-11-02,m,"($1.00)"\n2026-11-02,m,\u22121\n', "1"),
        ("date,model,cost,currency\n2026-11-02,m,2,eur\n", "2.28"),
        ("date,model,cost_eur\n2026-11-02,m,2\n", "2.28"),
        ("date,model,cost\n2026-11-02,m,2 €\n2026-11-02,m,USD 1\n", "3.28"),
        (
            'start_time_iso,line_item,amount_value,amount_currency\n2026-11-02T00:00:00Z,"M, '
            'input",1,usd\n',
            "1",
        ),
    ],
)
def test_an_amount_is_what_its_provider_meant(reads, text, usd):
    assert dict(reads(text).billed) == {(DAY, "m"): Decimal(usd)}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("day,cost\n2026-11-02,1\n", "line 1: no column model"),
        (
            "date,model,cost_usd\nyesterday,m,1\n",
            "line 2: 'yesterday' is no date: write 2026-11-26",
        ),
        (
            "date,model,cost_usd\n2026-11-02,m,1\nTotal,,1\n",
            "line 3: 'Total' is no date.*leave out lines of totals",
        ),
        (
            "date,model,cost_usd\n9999-11-02,m,1\n",
            "line 2: 9999-11-02 is no day of a model's invoice",
        ),
        (
            "date,model,cost_usd\n2026-11-02,m,1\n2026-11-02,m,dear\n",
            "line 3: 'dear' is no amount of money",
        ),
        ("date,model,cost_usd\n2026-11-02,m,NaN\n", "line 2: 'NaN' is no amount"),
        ("date,model,cost_usd\n2026-11-02\n", "line 2: '' is no amount"),
        (f"date,model,cost_usd\n2026-11-02,m,{'9' * 100}\n", "line 2: '9+' is no amount"),
        ("date,model,cost_usd\n", "has no lines below its heading"),
        ("", "line 1: no column date and no column model"),
        (
            "date;model;cost\n2026-11-02;m;1,234\n",
            "line 2: '1,234' may be 1234 or 1.234.*`--decimal .`",
        ),
        (
            "date;model;cost\n2026-11-02;m;1,2\n2026-11-02;m;1.2\n",
            "lines 3 and 2: '1.2' has a decimal point and '1,2' a dec",
        ),
        ("date;model;cost\n2026-11-02;m;1,2\n2026-11-02;m;1.2.3\n", "alike"),
        ("date,model,cost,currency\n2026-11-02,m,$2,EUR\n", "line 2: two currencies, EUR and USD"),
        (
            "date,model,cost,currency\n2026-01-02,m,2,EUR\n",
            "line 2: nobody knows what one EUR was worth on 2026-01-02",
        ),
        ("date,model,cost\n2026-11-02,m,GBP 2\n", "currencies/GBP.yaml"),
        (b"date,model,cost\n2026-11-02,\xff,2\n", "is no CSV in UTF-8"),
        ("date,model,cost\n2026-11-02,\0,2\n" + "x" * 200_000, "is no "),
    ],
)
def test_an_invoice_that_is_none_is_told_with_its_line(reads, text, sentence):
    with pytest.raises(UserError, match=sentence):
        reads(text)


def test_what_could_be_both_is_what_the_user_says(reads):
    text = "date;model;cost\n2026-11-02;m;1,234\n"
    assert [reads(text, mark).billed[DAY, "m"] for mark in ".,"] == [
        Decimal(1234),
        Decimal("1.234"),
    ]


def test_credits_repeated_lines_and_other_currencies_are_said(reads):
    bill = reads(
        "date,model,cost,currency\n2026-11-02,GPT-4o,2,EUR\n2026-11-02,GPT-4o,-1,USD\n"
        "2026-11-02,GPT-4o,2,EUR\n"
    )
    assert (bill.credits_usd, bill.repeated, bill.names) == (
        Decimal(-1),
        [(4, 2)],
        {"gpt-4o": "GPT-4o"},
    )
    said = "\n".join(
        invoices.sentences(bill, invoices.match(bill.billed, [], "", bill.names), [], 7)
    )
    for words in (
        "0 of 1 days",
        "credits of $1.000000",
        "converted from EUR",
        "line 4 says what line 2 says",
        "nothing at all was counted from 2026-11-02",
        "7 requests were given up on",
    ):
        assert words in said


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("Claude Sonnet 4.5", "claude-sonnet-4-5-20250929"),
        ("gpt-4o, input", "gpt-4o-2024-08-06"),
        ("GPT-4.1", "gpt-4.1"),
    ],
)
def test_a_model_is_known_however_it_is_written(theirs, ours):
    assert known_as(theirs) == known_as(ours)


@given(
    st.decimals(-(10**9), 10**9, places=4),
    st.sampled_from([(",", "."), (".", ","), ("'", "."), (" ", ",")]),
)
def test_every_amount_comes_back(tmp_path_factory, amount, marks):
    """However thousands and decimals are written, as long as something in the file tells them
    apart.
    """
    written = f"{amount:,.4f}".replace(",", "t").replace(".", marks[1]).replace("t", marks[0])
    path = tmp_path_factory.mktemp("bill") / "bill.csv"
    path.write_text(f"date;model;cost\n2026-11-02;m;{written}\n2026-11-02;n;0{marks[1]}5\n")
    assert read(path, rates).billed[DAY, "m"] == amount
