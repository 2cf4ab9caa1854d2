"""Does a worker answer for itself, end when it hangs, and say what it counts?"""

import threading
import time
import urllib.error
import urllib.request

import pytest

from schemas.catalogue import event_classes
from schemas.wire.codec import LocalIds
from streams.config import Settings
from streams.engine.monitoring.health import HUNG, Heart, Pages
from streams.engine.monitoring.metric_names import BATCH_BOUNDS
from streams.engine.monitoring.telemetry import Metrics
from streams.engine.stages.partition import Partitioner, murmur2
from streams.engine.worker import RECORDS_ONLY, Worker


def page(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_pages_say_alive_ready_and_numbers(tmp_path):
    worker = Worker(Settings(home=tmp_path), "w", 0, LocalIds(event_classes()), inputs=RECORDS_ONLY)
    port = worker._pages.port
    assert page(port, "/healthz")[0] == 200
    assert page(port, "/readyz")[0] == 503
    worker.ready(True)
    worker.metrics.count("weir_transactions", 3, consumer="c", outcome="committed")
    assert page(port, "/readyz")[0] == 200
    status, text = page(port, "/metrics")
    assert status == 200
    assert 'weir_transactions_total{consumer="c",outcome="committed"} 3.0' in text
    assert page(port, "/nothing")[0] == 404
    worker.close()


def test_a_worker_that_hangs_is_ended():
    ended, happened = [], threading.Event()
    heart = Heart(0.2, lambda code: (ended.append(code), happened.set()))
    heart.watch()
    began = time.monotonic()
    assert happened.wait(5)
    assert ended == [HUNG] and time.monotonic() - began >= 0.2
    assert not heart.well


def test_a_beating_heart_is_left_alone():
    ended = []
    heart = Heart(0.4, ended.append)
    heart.watch()
    until = time.monotonic() + 1.2
    pause = threading.Event()
    while time.monotonic() < until:
        heart.beat()
        pause.wait(0.02)
    heart.stop()
    assert ended == []


def test_a_page_that_asks_a_dead_worker_says_so():
    pages = Pages(0, lambda: False, lambda: True, lambda: b"")
    assert page(pages.port, "/healthz")[0] == 503
    assert page(pages.port, "/readyz")[0] == 503
    pages.close()


def test_histograms_add_up():
    metrics = Metrics()
    for value in (1, 3, 3, 10_000):
        metrics.observe("weir_batch_records", value, consumer="c")
    text = metrics.text().decode()
    assert 'weir_batch_records_bucket{consumer="c",le="2"} 1.0' in text
    assert 'weir_batch_records_bucket{consumer="c",le="5"} 3.0' in text
    assert f'weir_batch_records_bucket{{consumer="c",le="{BATCH_BOUNDS[-1]}"}} 3.0' in text
    assert 'weir_batch_records_bucket{consumer="c",le="+Inf"} 4.0' in text
    assert 'weir_batch_records_sum{consumer="c"} 10007.0' in text


def test_values_are_sums_over_labels():
    metrics = Metrics()
    metrics.count("weir_events_made", 2, consumer="a", event="x")
    metrics.count("weir_events_made", 3, consumer="a", event="y")
    metrics.count("weir_events_made", 5, consumer="b", event="y")
    assert metrics.value("weir_events_made", consumer="a") == 5
    assert metrics.value("weir_events_made", event="y") == 8


@pytest.mark.parametrize(
    "key, hash_of_java",
    [  # Kafka's own test vectors (UtilsTest)
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_keys_are_placed_as_java_places_them(key, hash_of_java):
    assert murmur2(key) == hash_of_java & 0xFFFFFFFF
    assert Partitioner(7).of(key) == (hash_of_java & 0x7FFFFFFF) % 7
