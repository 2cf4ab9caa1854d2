"""Does the benchmark of OTLP send what it counts, all of it different, and judge by the target?"""

from streams.bench import otlp
from streams.bench import spans as made
from streams.config import Settings


def test_it_takes_and_maps_all_that_it_sends(tmp_path):
    told = []
    result = otlp.run(Settings(home=tmp_path), 600, lambda done, total, words: told.append(done))
    assert (result["spans"], result["exports"], told) == (600, 2, [0, 1, 2, 3])
    assert [row["what"] for row in result["rows"]] == ["take", "map"]
    assert result["met"] == all(row["spans_s"] >= otlp.SPANS_S_LEAST for row in result["rows"])


def test_spans_have_ids_of_their_own_and_traces_of_ten():
    spans = [span for export in made.exports(100) for span in export.resource_spans[0].scope_spans[0].spans]
    assert len({span.span_id for span in spans}) == 100
    assert len({span.trace_id for span in spans}) == 10
