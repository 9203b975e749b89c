"""The measurements that take a real Chromium, which has the client's core."""

import contextlib
import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import client
from breakdown import without_hash
from contenders import Contender
from engine import Container, docker
from measure import Figures, running, started
from playwright.sync_api import Page, sync_playwright
from playwright.sync_api import TimeoutError as NothingHappened

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
    """Open a tab in a real Chromium: the system's, or else Playwright's."""
    system = next((path for path in ("/usr/bin/chromium", "/usr/bin/google-chrome") if Path(path).exists()), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=system, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def usable_button(contender: Contender, redis_url: str) -> Figures:
    """From the container's first process until a click in a real Chromium has changed the number."""
    with tab() as page, running(contender, redis_url) as container:
        since = started(container)
        client.first_page(container.port, since)
        page.goto(container.url)
        page.click("#increment")
        page.wait_for_function("document.querySelector('#count').innerText === '1'", polling=20)
        took = time.time() - since
    return {"button, s": took}


def page_load(contender: Contender, redis_url: str) -> Figures:
    """What a real Chromium receives for the first page of an empty cache."""
    with running(contender, redis_url) as container:
        client.first_event(container.port, time.time())
        sizes: list[float] = []
        with tab() as page:
            session = page.context.new_cdp_session(page)
            session.send("Network.enable")
            session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
            page.goto(container.url, wait_until="networkidle")
    return {"first page load, kB": sum(sizes) / 1000, "requests": len(sizes)}


def scripts(contender: Contender) -> list[str]:
    """Tell which scripts the first page loads, by their names without the hash."""
    with running(contender, "") as container, tab() as page:
        client.first_event(container.port, time.time())
        names: list[str] = []
        page.on("response", lambda answer: names.append(without_hash(answer.url.rpartition("/")[2])))
        page.goto(container.url, wait_until="networkidle")
    return [name for name in names if name.endswith(".js")]


def crash(contender: Contender, redis_url: str) -> Figures:
    """A worker is killed under an open tab that clicks on."""
    return interruption(contender, redis_url, "crash", lambda container: os.kill(worker(container), 9))


def recycle(contender: Contender, redis_url: str) -> Figures:
    """A worker is replaced under an open tab that clicks on, since it has answered its number of requests."""
    if "gunicorn" not in contender.name:
        return {}

    def use_up(container: Container) -> None:
        first = worker(container)
        end = time.time() + PATIENCE
        while time.time() < end:
            with contextlib.suppress(ValueError):
                if worker(container) != first:
                    return
            client.ask(container.port, "/ping")

    return interruption(contender, redis_url, "recycle", use_up, MAX_REQUESTS=str(MAX_REQUESTS))


def interruption(
    contender: Contender, redis_url: str, what: str, interrupt: Callable[[Container], None], **environment: str
) -> Figures:
    """Interrupt the server under an open tab that clicks on.

    Returns:
        The longest time between two answers in seconds, and by how much the number fell: clicks that are forgotten.
        None for both if nothing is answered within `PATIENCE` after the interruption, as when the container has ended.
    """
    names = (f"{what}: without answers, s", f"{what}: clicks forgotten")
    with tab() as page, running(contender, redis_url, **environment) as container:
        client.first_event(container.port, time.time())
        page.goto(container.url)
        page.click("#increment")
        page.wait_for_function("document.querySelector('#count').innerText === '1'", polling=20)
        page.evaluate(CLICK_ON)
        page.wait_for_function("window.answers.length > 10", polling=20)
        since = time.time()
        interrupt(container)
        pause = forgotten = None
        time.sleep(0.5)
        if container.state("Running") != "true":
            return dict.fromkeys(names)
        with contextlib.suppress(NothingHappened):
            # The first answers may still be those of before; ten more and the tab is back for certain.
            after = "([since]) => window.answers.filter(([when]) => when > since + 0.5).length > 10"
            page.wait_for_function(after, arg=[since], polling=20, timeout=PATIENCE * 1000)
            moments, numbers = zip(*page.evaluate("window.answers"), strict=True)
            pause = max(later - earlier for earlier, later in itertools.pairwise(moments))
            forgotten = max(0, *(earlier - later for earlier, later in itertools.pairwise(numbers)))
    return dict(zip(names, (pause, forgotten), strict=True))


def worker(container: Container) -> int:
    """Find the process that runs the app: of Python's without children the one with the most memory.

    Raises:
        ValueError: If there is none at the moment.
    """
    lines = [
        line.split(maxsplit=3) for line in docker("top", container.id, "-eo", "pid,ppid,rss,args").splitlines()[1:]
    ]
    parents = {parent for _, parent, _, _ in lines}
    leaves = [line for line in lines if line[0] not in parents and "python" in line[3]]
    return int(max(leaves, key=lambda line: int(line[2]))[0])
