"""The queries of the console's pages. Every one of them can be exported as CSV or Parquet.

Parameters: `tenant` (empty: all that the reader may see), `hours` back from now, `limit` (the rows
that a page shows; an export takes all), and what a page's filters add. Charts have the columns
time, series, value.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from sinks.clickhouse.queries.catalogue import by_name

MINE = "({tenant:String} = '' OR tenant = {tenant:String})"
SINCE = "at >= now64(3, 'UTC') - INTERVAL {hours:UInt32} HOUR"
LATELY = "at >= now64(3, 'UTC') - INTERVAL least({hours:UInt32}, 48) HOUR"
"""No further back than two days: what waits longer stands under approvals."""
HOURLY = "hour >= toStartOfHour(now('UTC') - INTERVAL {hours:UInt32} HOUR)"
LIMIT = "LIMIT {limit:UInt32}"
BUCKET = "toStartOfInterval(at, INTERVAL {step_s:UInt32} SECOND, 'UTC')"
BUCKETS = ((2, 60), (24, 1_800), (168, 10_800), (10_000, 86_400))
"""Up to so many hours a chart's point stands for so many seconds."""
ROWS_SHOWN = 200
ROWS_TAKEN = 1_000_000
SPANS_SHOWN = 10_000
TEXT_SHOWN = 8_000
OF_ALL = ("completeness", "completeness_minutes", "delays", "rates")
"""Tables of the whole installation: counts of all tenants together."""


@dataclass(frozen=True)
class PageQuery:
    """A table or chart of the console. `parameters` are those beyond tenant, hours and filters."""

    title: str
    sql: str
    parameters: dict[str, Any] = field(default_factory=dict)


def ready_query(name: str) -> PageQuery:
    """A named query of `./weir query --named`."""
    ready = by_name(name)
    parameters = {
        name: value for name, value in ready.parameters.items() if name not in ("tenant", "hours")
    }
    return PageQuery(ready.purpose, ready.sql, parameters)


@cache
def queries() -> Mapping[str, PageQuery]:
    """The queries of all pages, by name. The pages are imported here, because they import this."""
    found: dict[str, PageQuery] = {}
    for page in importlib.import_module("streams.console.pages").pages():
        if double := found.keys() & page.queries.keys():
            raise ValueError(f"two pages have a query {min(double)!r}: rename one of them")
        found |= page.queries
    return found


def query(name: str) -> PageQuery:
    """The query of this name."""
    return queries()[name]
