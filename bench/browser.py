"""The measurements that take a real Chromium, which has the client's core."""

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator

from playwright.sync_api import Page
from playwright.sync_api import TimeoutError as NothingHappened

from bench.breakdown import without_hash
from bench.places import Figures, Place
from bench.running import Process, Running
from harness import client
from harness.visitor import chromium, open_page

PATIENCE = 15
"""Seconds until a click that nobody answers counts as lost."""
MAX_REQUESTS = 20
"""After how many requests a worker is replaced, where that is measured: soon."""

CLICK_ON = """() => {
    const count = document.querySelector("#count");
    window.answers = [];
    new MutationObserver(() => window.answers.push([Date.now() / 1000, Number(count.innerText)]))
        .observe(count, { characterData: true, childList: true, subtree: true });
    setInterval(() => document.querySelector("#increment").click(), 50);
}"""
"""Clicks every 50 ms, and notes when which number is there."""


@contextlib.contextmanager
def tab() -> Iterator[Page]:
    """Open a tab in a real Chromium."""
    with chromium() as browser:
        yield browser.new_page()


def usable_button(place: Place) -> Figures:
    """From the container's first process until a click in a real Chromium has changed the number."""
    with tab() as page, place.running() as app:
        since = app.started
        client.first_page(app.port, since)
        open_page(page, app.url)
        page.click("#increment")
        page.wait_for_function("document.querySelector('#count').innerText === '1'", polling=20)
        took = time.time() - since
    return {"button, s": took}


def page_load(place: Place) -> Figures:
    """What a real Chromium receives for the first page of an empty cache."""
    with place.running() as app:
        client.first_event(app.port, time.time())
        sizes: list[float] = []
        with tab() as page:
            session = page.context.new_cdp_session(page)
            session.send("Network.enable")
            session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
            page.goto(app.url, wait_until="networkidle")
    return {"first page load, kB": sum(sizes) / 1000, "requests": len(sizes)}


def scripts(place: Place) -> list[str]:
    """Return which scripts the first page loads, by their names without the hash."""
    with place.running() as app, tab() as page:
        client.first_event(app.port, time.time())
        names: list[str] = []
        page.on("response", lambda answer: names.append(without_hash(answer.url.rpartition("/")[2])))
        page.goto(app.url, wait_until="networkidle")
    return [name for name in names if name.endswith(".js")]


def crash(place: Place) -> Figures:
    """A worker is killed under an open tab that clicks on."""
    return interruption(place, "crash", lambda app: app.kill(worker(app)))


def recycle(place: Place) -> Figures:
    """A worker is replaced under an open tab that clicks on, since it has answered its number of requests."""
    if "gunicorn" not in place.contender.name:
        return {}

    def use_up(app: Running) -> None:
        first = worker(app)
        end = time.time() + PATIENCE
        while time.time() < end:
            with contextlib.suppress(ValueError):
                if worker(app).pid != first.pid:
                    return
            client.ask(app.port, "/ping")

    return interruption(place, "recycle", use_up, MAX_REQUESTS=str(MAX_REQUESTS))


def interruption(place: Place, what: str, interrupt: Callable[[Running], None], **environment: str) -> Figures:
    """Interrupt the server under an open tab that clicks on.

    Returns:
        The longest time between two answers in seconds, and by how much the number fell: clicks that are forgotten.
        None for both if nothing is answered within `PATIENCE` after the interruption, as when the container has ended.
    """
    names = (f"{what}: without answers, s", f"{what}: clicks forgotten")
    with tab() as page, place.running(**environment) as app:
        client.first_event(app.port, time.time())
        open_page(page, app.url)
        page.click("#increment")
        page.wait_for_function("document.querySelector('#count').innerText === '1'", polling=20)
        page.evaluate(CLICK_ON)
        page.wait_for_function("window.answers.length > 10", polling=20)
        since = time.time()
        interrupt(app)
        pause = forgotten = None
        time.sleep(0.5)
        if not app.alive:
            return dict.fromkeys(names)
        with contextlib.suppress(NothingHappened):
            # The first answers may still be those of before; ten more and the tab is back for certain.
            after = "([since]) => window.answers.filter(([when]) => when > since + 0.5).length > 10"
            page.wait_for_function(after, arg=[since], polling=20, timeout=PATIENCE * 1000)
            moments, numbers = zip(*page.evaluate("window.answers"), strict=True)
            pause = max(later - earlier for earlier, later in itertools.pairwise(moments))
            forgotten = max(0, *(earlier - later for earlier, later in itertools.pairwise(numbers)))
    return dict(zip(names, (pause, forgotten), strict=True))


def worker(app: Running) -> Process:
    """Find the process that runs the app: of Python's without children the one with the most memory.

    Raises:
        ValueError: If there is none at the moment.
    """
    processes = app.processes()
    parents = {process.parent for process in processes}
    leaves = [process for process in processes if process.pid not in parents and "python" in process.command]
    return max(leaves, key=lambda process: process.resident)
