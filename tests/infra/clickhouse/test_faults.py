"""The embedded ClickHouse loses no insert by SIGKILL, and starts and stops cleanly."""

import subprocess
import threading
import time

import pytest
from clickhouse_connect.driver.exceptions import OperationalError

from infra.embedded.clickhouse import server as clickhouse
from infra.embedded.testing_servers import start, stop
from tests.support.engines import ONE_BLOCK, connect, http, make

pytestmark = pytest.mark.engine


def test_kill_9_in_mid_insert_and_the_same_token_lose_and_double_nothing(tmp_path):
    """Each block is sent, the engine killed somewhere in it, and the block sent again: counts stay
    exact.
    """
    server = start(clickhouse, tmp_path)
    rows = [[n, "x" * 20] for n in range(20_000)]
    try:
        with connect(server.url) as client:
            make(client, "events", "id UInt64, text String")
            make(client, "totals", "one UInt8, rows UInt64", "one")
            client.command(
                "CREATE MATERIALIZED VIEW to_totals TO totals "
                "AS SELECT 1 AS one, count() AS rows FROM events GROUP BY one"
            )
        for kill in range(5):
            block = {
                "table": "events",
                "data": rows,
                "column_names": ["id", "text"],
                "settings": ONE_BLOCK | {"insert_deduplication_token": f"events:0:{kill}"},
            }
            with connect(server.url, query_retries=0) as client:
                sending = threading.Thread(
                    target=_ignoring_the_broken_connection, args=(client, block)
                )
                sending.start()
                sending.join(timeout=0.02 + 0.03 * kill)
                server.kill()
                sending.join()
            server = start(clickhouse, tmp_path)
            with connect(server.url) as client:
                client.insert(**block)
        with connect(server.url) as client:
            assert client.command("SELECT count() FROM events") == 100_000
            assert client.command("SELECT sum(rows) FROM totals") == 100_000
    finally:
        server.kill()


def _ignoring_the_broken_connection(client, block):
    try:
        client.insert(**block)
    except OperationalError as error:
        assert "executing HTTP request" in str(error)


def test_sigterm_finishes_the_running_query_and_exits_0(tmp_path):
    server = start(clickhouse, tmp_path)
    answers = []
    running = threading.Thread(
        target=lambda: answers.append(http(server.url, "SELECT sleep(1)").read())
    )
    running.start()
    deadline = time.monotonic() + 5
    while (
        http(
            server.url,
            "SELECT count() FROM system.processes "
            "WHERE query LIKE '%sleep(1)%' AND query NOT LIKE '%LIKE%'",
        ).read()
        == b"0\n"
    ):
        assert time.monotonic() < deadline
    assert stop(server) == 0
    running.join()
    assert answers == [b"0\n"]


def test_a_second_owner_and_a_taken_port_are_told_in_one_sentence(tmp_path):
    server = start(clickhouse, tmp_path / "a")
    try:
        with pytest.raises(
            RuntimeError, match=rf"owned by another process \(pid {server.process.pid}\)"
        ):
            start(clickhouse, tmp_path / "a")
        command = clickhouse.argv(tmp_path / "b", server.port)
        refused = subprocess.run(command, capture_output=True, text=True, timeout=30)
        assert refused.returncode == 1
        assert f"Port {server.port} on 127.0.0.1 cannot be used" in refused.stderr
        assert "Traceback" not in refused.stderr
    finally:
        stop(server)
