"""Usage: tokens and money by call, by attempt, by run, and by the minute of a tenant."""

from datetime import timedelta

from processors.usage import attempts, live_figures, metering
from streams.engine.shapes import Each, Step, Tumbling, Window

TOTAL_USAGE = Window(
    metering.Total,
    metering.add,
    metering.close,
    Tumbling(timedelta(minutes=1)),
    grace=timedelta(seconds=10),
)
STEPS = (
    Step("meter", Each(metering.meter)),
    Step("book_attempts", Each(attempts.book)),
    Step("settle", Each(metering.settle)),
    Step("show_session", Each(live_figures.figures_of_session)),
    Step("show_usage", Each(live_figures.figures_of_usage)),
    Step("total_usage", TOTAL_USAGE),
)
