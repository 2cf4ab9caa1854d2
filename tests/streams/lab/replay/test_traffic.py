"""Traces of arrivals are read in order; invalid ones are refused clearly."""

import pytest

from streams.lab.replay import traffic

TRACE = (
    "arrival_ms,replay_ms,input_tokens,output_tokens\n9000,400,7,3\n0,0,374,44\n4315,315,396,109\n"
)


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text(TRACE)
    return path


def test_arrivals_come_in_order_of_time(trace):
    assert [a.at_ms for a in traffic.read(trace)] == [0, 315, 400]


def test_a_limit_takes_the_first(trace):
    assert traffic.sums(traffic.read(trace, 2)) == {
        "requests": 2,
        "input_tokens": 770,
        "output_tokens": 153,
    }


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "has no arrivals"),
        ("replay_ms,input_tokens,output_tokens\n", "has no arrivals"),
        ("a,b\n1,2\n", "KeyError"),
        ("replay_ms,input_tokens,output_tokens\n1,many,3\n", "line 2: ValueError"),
        ("replay_ms,input_tokens,output_tokens\n1,2\n", "line 2: TypeError"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(tmp_path, text, says):
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(traffic.TraceFileError, match=says):
        traffic.read(path)


def test_the_shared_trace_has_the_counts_of_its_readme(shared_data):
    assert (
        traffic.sums(traffic.read(shared_data / "traffic" / "azure_llm_2023_conv.csv"))["requests"]
        == 9955
    )
