"""The OTLP benchmark sends distinct spans, counts them and judges by the target."""

import pytest

from streams.config import Settings
from streams.lab.bench_stack import otlp_process, otlp_stack
from streams.lab.bench_stack import sample_spans as made


def test_it_takes_and_maps_all_that_it_sends(tmp_path):
    told = []
    result = otlp_process.run(
        Settings(home=tmp_path), 600, lambda done, total, words: told.append(done)
    )
    assert (result["spans"], result["exports"], told) == (600, 2, [0, 1, 2, 3])
    assert [row["what"] for row in result["rows"]] == ["take", "map"]
    assert result["met"] == all(
        row["spans_s"] >= otlp_process.SPANS_S_LEAST for row in result["rows"]
    )


def test_spans_have_ids_of_their_own_and_traces_of_ten():
    spans = [
        span
        for export in made.exports(100)
        for span in export.resource_spans[0].scope_spans[0].spans
    ]
    assert len({span.span_id for span in spans}) == 100
    assert len({span.trace_id for span in spans}) == 10


@pytest.mark.parametrize(
    "taken_s, landed_s, late_s, mb, met",
    [
        (3_007, 2_719, 1.6, [100, 110], True),
        (3_007, 1_500, 15.0, [100, 110], False),
        (2_900, 2_800, 1.0, [100, 100], False),
        (7_000, 3_200, 40.0, [100, 110], True),
        (3_007, 2_719, 1.6, [100, 160], False),
    ],
)
def test_a_steady_rate_is_landed_where_nothing_piles_up_and_memory_stays(
    taken_s, landed_s, late_s, mb, met
):
    found = otlp_stack.judged(
        {
            "taken_s": taken_s,
            "landed_whole_s": landed_s,
            "late_s": late_s,
            "workers": {"gateway-0": {"memory_mb": mb}, "clickhouse": {"memory_mb": [1, 9]}},
        }
    )
    assert (found["met"], found["memory_grew"]) == (met, round(mb[1] / mb[0] - 1, 2))
