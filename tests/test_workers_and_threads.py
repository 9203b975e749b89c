"""Workers, threads and max_requests have the effect that their names promise, on each server that can have it."""

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import expect

from harness.processes import until
from harness.serving import Served, get
from harness.visitor import click_to_three
from tests.variants import SERVERS

pytestmark = pytest.mark.slow

EACH_SERVER = pytest.mark.parametrize("server", SERVERS)
THREADS = 3

#: Routes for the tests: calls that wait for each other, in a synchronous route and in rx.run_in_thread.
ROUTES = """
import gc as _gc
import os as _os
import threading as _threading
from starlette.applications import Starlette as _Starlette
from starlette.responses import PlainTextResponse as _Text
from starlette.routing import Route as _Route

_barriers = {}
_lock = _threading.Lock()

def _meet(parties):
    with _lock:
        barrier = _barriers.setdefault(parties, _threading.Barrier(parties))
    try:
        barrier.wait(timeout=1.5)
    except _threading.BrokenBarrierError:
        return "apart"
    return "together"

def _synchronous(request):
    return _Text(_meet(int(request.path_params["parties"])))

async def _in_thread(request):
    parties = int(request.path_params["parties"])
    return _Text(await rx.run_in_thread(lambda: _meet(parties)))

def _pid(request):
    return _Text(str(_os.getpid()))

def _collects(request):
    return _Text(str(_gc.isenabled()))

app.api_transformer = _Starlette(routes=[
    _Route("/meet/synchronous/{parties}", _synchronous),
    _Route("/meet/in-thread/{parties}", _in_thread),
    _Route("/pid", _pid),
    _Route("/collects-garbage", _collects),
])
"""


def with_routes(made):
    with (made / "my_reflex_app" / "my_reflex_app.py").open("a") as app_file:
        app_file.write(ROUTES)
    return made


def backend(app, path):
    return get(f"http://127.0.0.1:{app.backend_port}{path}", Connection="close")[2].decode()


@EACH_SERVER
@pytest.mark.parametrize("way", ["synchronous", "in-thread"])
def test_so_many_blocking_calls_run_at_once_and_no_more(server, way, project):
    made = with_routes(project({"server": server, "threads": THREADS}, built=True))
    with Served(made) as app, ThreadPoolExecutor(THREADS + 1) as visitors:
        app.ready()

        def meet(parties):
            path = f"/meet/{way}/{parties}"
            return set(visitors.map(lambda _: backend(app, path), range(parties)))

        assert meet(THREADS) == {"together"}
        assert meet(THREADS + 1) == {"apart"}


def test_gunicorns_workers_share_reflex_and_import_the_app_themselves(project, redis_url):
    made = with_routes(project({"server": "gunicorn", "state_store": "redis", "workers": 2}, built=True))
    with (made / "my_reflex_app" / "__init__.py").open("a") as package:
        package.write("import os, sys\nprint('app', os.getpid(), 'reflex.app' in sys.modules, flush=True)\n")
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        app.ready()
        until(lambda: app.log.count("\napp ") == 2, 10)  # it is ready when the first of the two answers
        _, *workers = app.pids("gunicorn")
        found = re.findall(r"^app (\d+) (\w+)$", app.log, re.MULTILINE)
        assert sorted(found) == sorted((str(worker), "True") for worker in workers)
        assert backend(app, "/collects-garbage") == "True"


@EACH_SERVER
@pytest.mark.parametrize("workers", [1, 2])
def test_so_many_workers_answer(server, workers, project, redis_url):
    made = with_routes(project({"server": server, "state_store": "redis", "workers": workers}, built=True))
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        app.ready()
        seen = set()

        def all_seen():
            seen.add(backend(app, "/pid"))
            return len(seen) == workers

        until(all_seen, 20)
        for _ in range(30):
            seen.add(backend(app, "/pid"))
        assert len(seen) == workers


@pytest.mark.parametrize("server", ["gunicorn", "uvicorn"])
def test_a_worker_is_replaced_after_max_requests(server, project, redis_url):
    answers = {"server": server, "state_store": "redis", "workers": 2, "max_requests": 20}
    made = with_routes(project(answers, built=True))
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        app.ready()
        seen = set()

        def replaced():
            try:
                seen.add(backend(app, "/pid"))
            except OSError:
                return False
            return len(seen) > 2

        until(replaced, 30)
        assert app.process.poll() is None


def test_a_single_gunicorn_worker_is_replaced_too(project):
    made = with_routes(project({"server": "gunicorn", "max_requests": 5}, built=True))
    with Served(made) as app:
        app.ready()
        seen = set()

        def replaced():
            seen.add(app.get("/ping")[0])
            return app.log.count("Booting worker") > 1

        until(replaced, 30)
        assert app.process.poll() is None


def test_an_open_tab_goes_on_when_its_worker_is_replaced(project, page):
    made = with_routes(project({"server": "gunicorn", "max_requests": 30}, built=True))
    with Served(made) as app:
        app.ready()
        click_to_three(page, app.url)
        first = backend(app, "/pid")

        def replaced():
            with contextlib.suppress(OSError):
                return backend(app, "/pid") != first
            return False

        until(replaced, 30)
        # The tab connects again by itself, and nothing is forgotten.
        page.click("#increment")
        expect(page.locator("#count")).to_have_text("4")
