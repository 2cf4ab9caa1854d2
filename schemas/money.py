"""Amounts of money as text: plain decimal notation, wherever one leaves the process.

Python writes a Decimal with an exponent where it likes (`0E-12` for nothing, `1E+3` for a
thousand), and readers of JSON in other languages do not expect one. Every place that makes text of
an amount calls `money_text`; fields of models that hold an amount are typed `PlainDecimal`, which
makes Pydantic call it too.
"""

from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer


def money_text(amount: Decimal) -> str:
    """The amount in plain decimal notation: every digit, no exponent, no zeros at the end of the
    fraction.

    Equal amounts have equal text. `Decimal.normalize` would round to the 28 digits of the default
    context.
    """
    if not amount:
        return "0"
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


PlainDecimal = Annotated[Decimal, PlainSerializer(money_text, return_type=str, when_used="json")]
"""A Decimal that JSON holds as `money_text` writes it."""
