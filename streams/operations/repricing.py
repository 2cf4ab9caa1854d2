"""Reprices the recorded calls at other prices; nothing in the table is changed.

    models:
      small: {input: 0.2, output: 0.8, cached_input: 0.02}   # by definition or by the provider's
      own name
      gpt-4o: book                                           # by the price book, as it was on the
      day of the call
    others: recorded                                         # or book

A call whose price was not known and is now, or the other way round, is counted as such and never
taken for nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError

from processors.usage.prices import by_book, by_list
from schemas.definitions.prices import Price
from schemas.events.base import Value
from schemas.events.values import Tokens
from schemas.wire.codec import first_error
from streams.definitions import yaml_files
from streams.engine.errors import UserError

KINDS = tuple(Tokens.model_fields)
USED = f"""
SELECT tenant, model, provider, response_model, service_tier, cost_usd, count() AS calls,
       toStartOfInterval(at, INTERVAL 30 MINUTE, 'UTC') AS half_hour, {", ".join(KINDS)}
FROM token_usage
WHERE at >= {{begin:DateTime('UTC')}} AND at < {{end:DateTime('UTC')}}
  AND ({{tenant:String}} = '' OR tenant = {{tenant:String}}) AND NOT cache_hit
GROUP BY ALL"""
"""Calls that are alike are priced once: prices change by the half hour at most (some are cheaper at
night).
"""


class PriceList(Value):
    """The contents of a file of other prices."""

    models: dict[str, Price | Literal["book"]] = Field(default_factory=dict)
    others: Literal["recorded", "book"] = "recorded"


@dataclass
class RepricedLine:
    """A tenant's calls of one model: what they cost, what they would have, and how many have no
    price.
    """

    calls: int = 0
    recorded_usd: Decimal = Decimal(0)
    repriced_usd: Decimal = Decimal(0)
    unpriced_before: int = 0
    unpriced_after: int = 0

    @property
    def difference_usd(self) -> Decimal:
        return self.repriced_usd - self.recorded_usd


def read(path: Path) -> PriceList:
    """The prices in a file. A UserError says what is wrong with it."""
    try:
        return PriceList.model_validate(yaml_files.load(yaml_files.read_text(path)) or {})
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML: {str(error).splitlines()[0]}: correct it") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: {first_error(error)}: a price is `name: {{input: 0.2, output: 0.8}}` or "
            "`name: book`"
        ) from error


def reprice(
    rows: Iterable[dict[str, Any]], prices: PriceList, into: dict[tuple[str, str], RepricedLine]
) -> None:
    """Adds rows of USED to the lines by tenant and model."""
    for row in rows:
        line = into.setdefault((row["tenant"], row["model"]), RepricedLine())
        calls = row["calls"]
        before = row["cost_usd"]
        after = price_of(row, prices)
        line.calls += calls
        line.recorded_usd += calls * (before or Decimal(0))
        line.repriced_usd += calls * (after or Decimal(0))
        line.unpriced_before += calls * (before is None)
        line.unpriced_after += calls * (after is None)


def price_of(row: dict[str, Any], prices: PriceList) -> Decimal | None:
    """What one such call costs at these prices; None where nobody knows."""
    listed = (
        prices.models.get(row["model"]) or prices.models.get(row["response_model"]) or prices.others
    )
    if listed == "recorded":
        return row["cost_usd"]
    tokens = Tokens.model_construct(**{kind: row[kind] for kind in KINDS})
    if isinstance(listed, Price):
        return by_list(listed, tokens, row["service_tier"])
    at: datetime = row["half_hour"].replace(tzinfo=UTC)
    return by_book(
        row["provider"], (row["response_model"], row["model"]), tokens, at, row["service_tier"]
    )
