"""Is the console whole in a real browser: no errors, usable by keyboard, right in the dark, fast
with a large trace?
"""

import shutil
import socket
import subprocess
import threading
from uuid import uuid4

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.expected_conditions import title_is, url_contains
from selenium.webdriver.support.wait import WebDriverWait

from schemas.events.agent.runs import RunFinished
from schemas.events.tracing import SpanEnded
from sinks.clickhouse.sink import ClickHouseSink
from streams.config import Settings
from streams.gateway.clickhouse import ClickHouseReader
from streams.http_app import application
from streams.lab.isolated_stack import free_block
from tests.sinks.clickhouse.test_rows import batch_of

pytestmark = pytest.mark.engine
MANY = 10_000


def installed() -> str:
    """The driver's path; Debian's browser is installed where it is missing. A reason to skip where
    it cannot be.
    """
    if not shutil.which("chromedriver") and shutil.which("apt-get"):
        subprocess.run(
            ["apt-get", "install", "-y", "-q", "chromium", "chromium-driver"],
            capture_output=True,
            timeout=170,
        )
    return shutil.which("chromedriver") or pytest.skip(
        "there is no Chromium, and it could not be installed with apt-get"
    )


@pytest.fixture(scope="module")
def browser():
    options = Options()
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1300,900",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(installed()))
    yield driver
    driver.quit()


@pytest.fixture
def address(landed, clickhouse_url, link):
    """Where the console is served, by a real server."""
    settings = Settings(
        clickhouse_url=clickhouse_url, clickhouse_database=landed[0], live_port=free_block(1)
    )
    server = uvicorn.Server(
        uvicorn.Config(application(settings, link, ClickHouseReader(settings)), log_level="error")
    )
    with socket.create_server(
        ("127.0.0.1", 0)
    ) as listening:  # what comes before the server is there waits for it
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


def test_pages_in_a_browser(browser, address):
    browser.get(f"{address}/console")
    assert browser.find_element("tag name", "h1").text == "Overview"
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    assert browser.switch_to.active_element.text == "To the content", (
        "the first stop of the keyboard leads to the content"
    )
    browser.find_element("link text", "Runs").click()
    WebDriverWait(browser, 20).until(title_is("Runs · Weir"))
    browser.find_element("css selector", "input[type=search]").send_keys("1001", Keys.ENTER)
    WebDriverWait(browser, 20).until(url_contains("words=1001"))  # the page before has links too
    browser.find_element("css selector", "td a").click()
    WebDriverWait(browser, 20).until(url_contains("/console/runs/"))
    assert "execute_tool lookup_order" in browser.page_source
    assert (
        browser.execute_script(
            "return document.querySelector('.waterfall rect').getBoundingClientRect().width"
        )
        > 0
    )
    light = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": "dark"}]},
    )
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") != light
    wrong = [
        entry
        for entry in browser.get_log("browser")
        if entry["level"] == "SEVERE" and "/console/live" not in entry["message"]
    ]
    assert wrong == []


def test_a_trace_of_ten_thousand_spans_is_shown_whole(browser, address, landed, clickhouse_url):
    name, events = landed
    run = events[RunFinished][1].run  # not the one that other tests look at
    one = next(span for span in events[SpanEnded] if span.run == run)
    many = [
        one.model_copy(
            update={
                "id": uuid4(),
                "name": f"chat {nth}",
                "operation": "chat",
                "input": "",
                "output": "",
            }
        )
        for nth in range(MANY - sum(span.run == run for span in events[SpanEnded]))
    ]
    sink = ClickHouseSink(clickhouse_url, name)
    sink.write(sink.prepare(batch_of(*many)), "many")
    browser.get(f"{address}/console/runs/{run}")
    assert (
        browser.execute_script("return document.querySelectorAll('.waterfall li').length") == MANY
    )
