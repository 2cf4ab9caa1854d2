"""Shared by the tests of the embedded ClickHouse: a client, an HTTP request, a table."""

import urllib.parse
import urllib.request

import clickhouse_connect

ONE_BLOCK = {"async_insert": "0", "deduplicate_blocks_in_dependent_materialized_views": "1"}


def connect(url, **options):
    return clickhouse_connect.get_client(
        host="127.0.0.1", port=urllib.parse.urlsplit(url).port, **options
    )


def http(url, query="", body=None, **headers):
    path = url + "/?" + urllib.parse.urlencode({"query": query}) if query else url
    return urllib.request.urlopen(urllib.request.Request(path, body, headers), timeout=30)


def make(client, table, columns, order="id"):
    client.command(f"DROP TABLE IF EXISTS {table}")
    client.command(
        f"CREATE TABLE {table} ({columns}) ENGINE = MergeTree ORDER BY {order} "
        "SETTINGS non_replicated_deduplication_window = 1000"
    )
