"""Do the live views count what happened, once, only what was committed, and say how far behind they
are?
"""

import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import faust
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.embedded.testing import free_ports
from schemas.catalogue import event_classes
from schemas.events.agent.runs import RunFinished
from schemas.events.base import Event
from schemas.events.operations import LiveFigures
from schemas.wire.codec import Codec, DecodeError, LocalIds, headers_of
from schemas.wire.topics import topics
from streams.config import Settings
from streams.engine import kafka
from streams.live import broker, views
from streams.live import table as tables
from tests.support.live_events import NOON, dead, finished, refused, shown_of, used, verdict


def filled(*events: Event, now: datetime = NOON) -> tables.LiveTable:
    table = tables.LiveTable()
    for event in events:
        for shown in shown_of(event):
            table.add(shown, now)
    return table


def test_each_event_is_counted_where_it_belongs():
    table = filled(
        finished(),
        finished(outcome="failed"),
        finished(outcome="blocked"),
        finished(outcome="stopped"),
        finished(outcome="cancelled"),
        used(),
        used(cost_usd=None),
        refused(),
        verdict(),
        dead(),
    )
    total = table.view(NOON)["total"]
    assert {
        name: total[name]
        for name in ("runs", "errors", "blocked", "refused", "verdicts", "dead_letters")
    } == {"runs": 5, "errors": 2, "blocked": 1, "refused": 1, "verdicts": 1, "dead_letters": 1}
    assert (
        total["model_calls"],
        total["unpriced_calls"],
        total["input_tokens"],
        total["output_tokens"],
    ) == (2, 1, 200, 40)
    assert total["cost_usd"] == "0.0125"


def test_a_group_is_named_by_its_part_of_the_series():
    view = filled(
        finished(tenant="acme"), finished(tenant="globex"), finished(tenant="globex"), refused()
    ).view(NOON)
    assert [(row["tenant"], row["runs"]) for row in view["tenants"]] == [("globex", 2), ("acme", 1)]
    assert [(row["agent"], row["runs"], row["refused"]) for row in view["agents"]] == [
        ("support", 3, 1)
    ]
    assert {(row["model"], row["runs"], row["refused"]) for row in view["models"]} == {
        ("small", 3, 0),
        ("", 0, 1),
    }


def test_only_the_asked_minutes_are_shown_and_only_an_hour_is_kept():
    table = filled(
        finished(NOON),
        finished(NOON - timedelta(minutes=4)),
        finished(NOON - timedelta(minutes=59)),
        finished(NOON - timedelta(minutes=60)),
        finished(NOON - timedelta(days=300)),
    )
    assert [table.view(NOON, minutes)["total"]["runs"] for minutes in (1, 5, 60)] == [1, 2, 3]
    later = NOON + timedelta(minutes=30)
    [shown] = shown_of(finished(later))
    table.add(shown, later)
    assert table.view(later)["total"]["runs"] == 3
    assert len(table._minutes) == 3, "minutes that are over are forgotten"


def test_more_series_than_fit_a_minute_count_as_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "MOST_SERIES", 2)
    view = filled(*[finished(tenant=f"t{n}") for n in range(5)], finished(tenant="t0")).view(NOON)
    assert {row["tenant"]: row["runs"] for row in view["rows"]} == {"t0": 2, "t1": 1, "(others)": 3}


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=200), st.sampled_from((0.5, 0.95)))
def test_a_percentile_is_within_its_bucket(waits: list[int], share: float):
    found = tables.percentile_ms(Counter(tables.bucket(wait) for wait in waits), share)
    exact = sorted(waits)[max(0, -int(-share * len(waits) // 1) - 1)]
    assert found is not None and abs(found - exact) <= max(1.0, 0.03 * exact)


@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.sampled_from("abc"), st.integers(1, 9_999)), max_size=60
    )
)
def test_rows_groups_and_minutes_add_up_to_the_total(runs: list[tuple[int, str, int]]):
    view = filled(*[finished(NOON - timedelta(minutes=m), t, wait_ms=w) for m, t, w in runs]).view(
        NOON
    )
    sums = [
        sum(row["runs"] for row in view[name])
        for name in ("rows", "tenants", "agents", "models", "by_minute")
    ]
    assert sums == [len(runs)] * 5 and view["total"]["runs"] == len(runs)


def test_lag_is_the_age_of_what_is_read_and_never_that_of_a_quiet_topic():
    lag = views.Lag()
    assert lag.behind_s is None
    lag.read("p", 1_000.0, 2_000.0)
    lag.measure({"p": 5}, 2_000.0)
    assert lag.behind_s == 1_000.0  # still reading the hour back
    lag.measure({"p": 0}, 2_001.0)
    assert lag.behind_s == 0.0
    lag.measure({"p": 1}, 2_003.0)
    assert lag.behind_s == 2.0  # a new record, the one before it is old
    assert lag.stuck == []
    lag.measure({"p": 1}, 2_001.5 + views.STUCK_S)
    assert lag.stuck == ["p"]


TLS = {"bootstrap.servers": "a:1,SSL://b:2", "security.protocol": "SSL"}
LOGIN = TLS | {
    "security.protocol": "SASL_SSL",
    "sasl.mechanisms": "SCRAM-SHA-512",
    "sasl.username": "me",
    "sasl.password": "secret",
    "socket.keepalive.enable": "true",
}


def test_kafka_properties_become_fausts_credentials():
    assert broker.broker_url(TLS) == "kafka://a:1;kafka://b:2"
    assert broker.credentials({"bootstrap.servers": "a:1"}) is None
    assert isinstance(broker.credentials(TLS), faust.SSLCredentials)
    login = broker.credentials(LOGIN)
    assert (login.username, login.password, login.mechanism.value, login.protocol.value) == (
        "me",
        "secret",
        "SCRAM-SHA-512",
        "SASL_SSL",
    )
    assert login.ssl_context.verify_mode is ssl.CERT_REQUIRED and login.ssl_context.check_hostname
    plain = broker.credentials(LOGIN | {"security.protocol": "sasl_plaintext"})
    assert plain.protocol.value == "SASL_PLAINTEXT"
    unchecked = broker.tls({"enable.ssl.certificate.verification": "false"})
    assert unchecked.verify_mode is ssl.CERT_NONE
    assert not broker.tls({"ssl.endpoint.identification.algorithm": "none"}).check_hostname


@pytest.mark.parametrize(
    "properties, words",
    [
        ({"ssl.keystore.location": "x.jks"}, "ssl.keystore.location"),
        ({"security.protocol": "sasl_ssl", "sasl.mechanisms": "OAUTHBEARER"}, "OAUTHBEARER"),
        ({"security.protocol": "telepathy"}, "telepathy"),
        ({"security.protocol": "sasl_ssl"}, "GSSAPI"),
    ],
)
def test_what_cannot_be_translated_is_said(properties: dict[str, str], words: str):
    with pytest.raises(SystemExit, match=words):
        broker.credentials(properties)


def test_a_record_that_is_no_event_comes_through_as_such():
    class Message:
        value, key = b"not avro", b"k"

    assert isinstance(
        broker.EventSchema(RunFinished, codec()).loads_value(None, Message), DecodeError
    )


def codec() -> Codec:
    return Codec(LocalIds(event_classes()))


class Worker:
    """What the live worker needs of its process."""

    def __init__(self) -> None:
        self.stopping, self.is_ready, self.codec, self.beats = (
            threading.Event(),
            threading.Event(),
            codec(),
            0,
        )

    def beat(self) -> None:
        self.beats += 1

    def ready(self, ready: bool) -> None:
        self.is_ready.set() if ready else self.is_ready.clear()


@contextmanager
def running(settings: Settings) -> Iterator[Worker]:
    worker, failed = Worker(), []

    def work() -> None:
        try:
            views.run(settings, worker)
        except BaseException as error:
            failed.append(error)
            raise

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert worker.is_ready.wait(30) and not failed, failed
        yield worker
    finally:
        worker.stopping.set()
        thread.join(20)
    assert not thread.is_alive() and not failed and worker.beats > 0


def eventually(settings: Settings, holds: Callable[[dict], bool], limit_s: float = 20) -> dict:
    deadline = time.monotonic() + limit_s
    while True:
        view = httpx.get(f"http://127.0.0.1:{settings.live_port}/api/live").json()
        if holds(view):
            return view
        assert time.monotonic() < deadline, view
        time.sleep(0.1)


def publish(settings: Settings, *events: Event, commit: bool = True) -> None:
    """In one transaction each, stamped with event time."""
    producer, encoder = kafka.producer(settings, f"live-test-{uuid4()}"), codec()
    producer.init_transactions(20)
    producer.begin_transaction()
    for event in [shown for one in events for shown in shown_of(one)]:
        producer.produce(
            settings.prefix + event.topic(),
            encoder.encode(event),
            event.partition_key().encode(),
            headers=headers_of(event),
            timestamp=int(event.at.timestamp() * 1000),
        )
    producer.flush(20)
    producer.commit_transaction(20) if commit else producer.abort_transaction(20)


@pytest.mark.engine
def test_live_views_on_kafka(own_settings: Settings):
    settings = own_settings.model_copy(update={"live_port": free_ports(1)[0]})
    kafka.create_topics(
        settings, [topic for topic in topics().values() if {*topic.events} & {*views.SHOWN}]
    )
    now = datetime.now(UTC)
    publish(
        settings,
        finished(now - timedelta(minutes=30), wait_ms=400),
        used(now - timedelta(minutes=30)),
        finished(now - timedelta(hours=3)),
    )
    with running(settings):
        eventually(settings, lambda view: view["total"]["runs"] == 1)
        publish(settings, *[finished(now) for _ in range(9)], commit=False)
        publish(settings, finished(now), refused(now), verdict(now), dead(now))
        producer = kafka.producer(settings)
        producer.produce(settings.prefix + LiveFigures.topic(), b"no event")
        producer.flush(10)
        view = eventually(
            settings,
            lambda view: (
                view["undecodable"] == 1
                and view["total"]["dead_letters"] == 1
                and view["total"]["runs"] == 2
                and view["total"]["refused"] == 1
                and view["total"]["verdicts"]
            ),
        )
        assert view["total"]["model_calls"] == 1 and view["total"]["cost_usd"] == "0.0125"
        assert len(view["by_minute"]) == 2
        assert eventually(settings, lambda view: view["behind_s"] == 0)["minutes"] == 60
        url = f"http://127.0.0.1:{settings.live_port}"
        assert httpx.get(f"{url}/healthz").json()["ok"]
        assert httpx.get(f"{url}/api/live?minutes=61").status_code == 400
        assert httpx.get(f"{url}/api/live?minutes=5").json()["total"]["runs"] == 1
    with running(settings):
        view = eventually(
            settings, lambda view: view["total"]["runs"] == 2 and view["behind_s"] == 0
        )
        assert view["total"]["refused"] == 1
    client = kafka.admin(settings)  # kept: the answer of a client that is gone is empty
    groups = client.list_consumer_groups().result(10).valid
    assert (
        len([one for one in groups if one.group_id.startswith(settings.prefix + views.GROUP)]) == 1
    )


@pytest.mark.engine
def test_missing_topics_are_named(own_settings: Settings):
    with pytest.raises(SystemExit, match=r"live-figures.*do not exist"):
        views.run(own_settings, Worker())
