"""start.sh is the only supervisor: it ends when it should, soon, with a reason, and leaves nothing behind."""

import json
import os
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.additions import STATES, with_more_pages
from harness.client import INCREMENT, Tab, wait
from harness.faults import fault
from harness.network import Network
from harness.processes import until
from harness.servers import SERVERS, TABLE
from harness.serving import Served, get
from harness.visitor import open_page
from tests.variants import STARTUPS

pytestmark = pytest.mark.slow

EACH_SERVER = pytest.mark.parametrize("server", SERVERS)
EACH_STARTUP = pytest.mark.parametrize("startup", STARTUPS)
#: What the main process of each backend has in its command line.
BACKEND = {name: row["process"] for name, row in TABLE.items()}


@EACH_SERVER
@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_a_stop_is_passed_on(server, sent, project):
    with Served(project({"server": server}, built=True)) as app:
        app.ready()
        with fault("a stop (SIGTERM)", server, "overlap", app):
            app.process.send_signal(sent)
            assert app.ended(10) == 0
        until(lambda: app.members() == [], 2)


@EACH_SERVER
def test_a_stop_during_the_start_is_passed_on(server, project):
    made = project({"server": server, "startup": "backend-first"}, built=True)
    for seconds in (0, 0.1, 0.2, 0.3, 0.4):  # while the app is imported
        with Served(made) as app:
            until(lambda app=app: app.pids(BACKEND[server]), 10)
            time.sleep(seconds)
            with fault("a stop while the app is imported", server, "backend-first", app):
                app.process.terminate()
                assert app.ended(10) == 0, app.log
            until(lambda app=app: app.members() == [], 2)


@EACH_STARTUP
def test_a_process_that_the_owner_adds_to_start_sh_is_stopped_too(startup, project):
    made = project({"startup": startup}, built=True)
    script = made / "start.sh"
    script.write_text(script.read_text().replace("\nsupervise", "\nsleep 1000 &\nsupervise"))
    with Served(made) as app:
        app.ready()
        until(lambda: app.pids("sleep 1000"), 2)  # start.sh is ready at once, and the process may still be starting
        app.process.terminate()
        assert app.ended(10) == 0, app.log
        until(lambda: app.members() == [], 2)


@EACH_SERVER
@EACH_STARTUP
def test_the_death_of_the_backend_ends_everything(server, startup, project):
    with Served(project({"server": server, "startup": startup}, built=True)) as app:
        tab = wait(Tab.open(app.ready().port))
        with fault("the backend dies", server, startup, app, "the backend was killed"):
            os.kill(app.pids(BACKEND[server])[0], signal.SIGKILL)
            assert app.ended(15) != 0  # in some 2 s where the CPU is free
        assert "the backend was killed (SIGKILL)" in app.log
        until(lambda: app.members() == [], 2)
        assert tab  # it was open until now


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["dies", "hangs"])
def test_gunicorn_replaces_a_worker_that(sent, project):
    with Served(project({"server": "gunicorn"}, built=True)) as app:
        app.ready()
        supervisor, worker = app.pids(BACKEND["gunicorn"])
        os.kill(worker, sent)
        # A worker that hangs is replaced after --timeout, 60 s.
        until(lambda: worker not in app.pids(BACKEND["gunicorn"]), 90, every=0.5)
        until(lambda: len(app.pids(BACKEND["gunicorn"])) == 2, 10)
        until(lambda: answers(app, "/ping"), 30)
        assert app.pids(BACKEND["gunicorn"])[0] == supervisor


@EACH_SERVER
@EACH_STARTUP
def test_the_death_of_caddy_ends_everything(server, startup, project):
    with Served(project({"server": server, "startup": startup}, built=True)) as app:
        app.ready()
        with fault("Caddy dies", server, startup, app, "Caddy was killed"):
            os.kill(app.pids("caddy run")[0], signal.SIGKILL)
            assert app.ended(15) != 0  # in some 2 s where the CPU is free
        assert "Caddy was killed" in app.log
        until(lambda: app.members() == [], 2)


@EACH_SERVER
@EACH_STARTUP
def test_a_mistake_in_the_app_is_named(server, startup, project):
    made = project({"server": server, "startup": startup}, built=True)
    with (made / "my_reflex_app" / "state.py").open("a") as state:
        state.write("def broken(:\n")
    with Served(made) as app:
        with fault("a mistake in the app", server, startup, app, "SyntaxError"):
            assert app.ended(10) != 0
        assert "SyntaxError" in app.log
        assert "state.py" in app.log
        until(lambda: app.members() == [], 2)


@pytest.mark.parametrize("server", SERVERS)
def test_a_mistake_is_no_loop_with_several_workers_either(server, project, redis_url):
    made = project({"server": server, "state_store": "redis", "workers": 2}, built=True)
    with (made / "my_reflex_app" / "my_reflex_app.py").open("a") as app_file:
        app_file.write("import no_such_module\n")
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        assert app.ended(10) != 0
        assert "no_such_module" in app.log
        until(lambda: app.members() == [], 2)


@EACH_SERVER
def test_a_taken_port_of_the_backend_is_named(server, project):
    made = project({"server": server}, built=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Served(made, BACKEND_PORT=str(port)) as app:
            with fault("the port of the backend is taken", server, "overlap", app, "(?i)in use"):
                assert app.ended(15) != 0
            assert "in use" in app.log.lower()


def test_a_taken_port_of_caddy_is_named(project):
    made = project(built=True)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with Served(made, PORT=str(taken.getsockname()[1])) as app:
            assert app.ended(10) != 0
            assert "address already in use" in app.log


@EACH_SERVER
def test_a_missing_redis_is_named(server, project):
    made = project({"server": server, "state_store": "redis"}, built=True)
    with Served(made, REFLEX_REDIS_URL="redis://:secret@127.0.0.1:1/0") as app:
        with fault("no Redis at the start", server, "overlap", app, r"(?i)redis.*127.0.0.1:1"):
            assert app.ended(15) != 0
        assert "Redis" in app.log
        assert "127.0.0.1:1" in app.log
        assert "secret" not in app.log
        until(lambda: app.members() == [], 2)


@pytest.fixture
def silent(redis_url):
    """Have an address that takes connections and says nothing, and then passes them on to a real Redis."""
    network, url = Network.to(redis_url)
    network.lose()
    with network:
        yield network, url


def waits(app, server):
    """Wait until a worker has asked Redis once in vain."""
    if server == "reflex":
        time.sleep(8)
    else:
        until(lambda: "Trying again" in app.log, 20)


@EACH_SERVER
def test_a_redis_that_answers_late_is_waited_for(server, project, silent):
    """An instance's first connection to its network may take a minute or more: Cloud Run, Direct VPC, limitations."""
    network, url = silent
    with Served(project({"server": server, "state_store": "redis"}, built=True), REFLEX_REDIS_URL=url) as app:
        waits(app, server)
        network.restore()
        app.ready(30)
        assert app.get("/ping")[0] == 200


@EACH_SERVER
def test_a_redis_that_never_answers_ends_the_start_with_the_reason(server, project, silent):
    made = project({"server": server, "state_store": "redis"}, built=True)
    with Served(made, REFLEX_REDIS_URL=silent[1], STARTUP_SECONDS="12") as app:
        assert app.ended(25) != 0
        if server == "reflex":  # its own check, before it starts a worker, waits without an end
            assert "is a Redis running at REFLEX_REDIS_URL" in app.log
        else:
            reason = r"Redis does not answer at redis://127.0.0.1:\d+/0 \(REFLEX_REDIS_URL\): \w"
            assert re.search(reason, app.log), app.log
        until(lambda: app.members() == [], 2)


@EACH_SERVER
def test_a_stop_while_it_waits_for_redis_is_passed_on(server, project, silent):
    with Served(project({"server": server, "state_store": "redis"}, built=True), REFLEX_REDIS_URL=silent[1]) as app:
        waits(app, server)
        app.process.terminate()
        app.ended(10)
        until(lambda: app.members() == [], 2)


@pytest.mark.parametrize("seconds", [0.02 * step for step in range(12)])
def test_a_stop_at_any_moment_of_the_start_ends_it(seconds, project):
    made = project(built=True)
    for _ in range(3):
        with Served(made) as app:
            time.sleep(seconds)
            app.process.terminate()
            assert app.ended(10) in {0, -signal.SIGTERM}, app.log  # before bash has set its trap, the signal itself
            until(lambda app=app: app.members() == [], 2)


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"PORT": "http"}, "PORT is 'http'"),
        ({"PORT": "0"}, "1 to 65535"),
        ({"PORT": "65536"}, "1 to 65535"),
        ({"PORT": "08080"}, "PORT=8080"),
        ({"PORT": "80; rm -rf /"}, "PORT is"),
        ({"PORT": "9000", "BACKEND_PORT": "9000"}, "both 9000"),
        ({"WORKERS": "many"}, "1 to 16"),
        ({"WORKERS": "2"}, "Redis"),
        ({"THREADS": "0"}, "1 to 256"),
        ({"THREADS": "1.5"}, "1 to 256"),
        ({"MAX_REQUESTS": "-1"}, "0 to 1000000"),
        ({"MAX_BODY_MB": "4MB"}, "MAX_BODY_MB=4."),
        ({"CLOSED_TABS": "none"}, "CLOSED_TABS=1000"),
        ({"BLOCKED_SECONDS": "1"}, "5 to 3600"),
        ({"STARTUP_SECONDS": "soon"}, "STARTUP_SECONDS=60"),
        ({"STARTUP_SECONDS": "241"}, "1 to 240"),
    ],
    ids=str,
)
def test_a_wrong_setting_is_named(environment, words, project):
    made = project()
    with Served(made, **environment) as app:
        assert app.ended(5) == 2
        assert words in app.log
        until(lambda: app.members() == [], 2)


def test_unset_redis_is_named(project):
    with Served(project({"state_store": "redis"})) as app:
        assert app.ended(5) == 2
        assert "REFLEX_REDIS_URL is not set" in app.log


def test_a_wrong_number_of_connections_to_redis_is_named(project, redis_url):
    with Served(project({"state_store": "redis"}), REFLEX_REDIS_URL=redis_url, REDIS_CONNECTIONS="all") as app:
        assert app.ended(5) == 2
        assert "REDIS_CONNECTIONS=32" in app.log


def test_missing_pages_are_named(project):
    with Served(project()) as app:
        assert app.ended(5) == 2
        assert "scripts/serve" in app.log


SLOW_START = "\nimport os, time\ntime.sleep(float(os.environ.get('SLOW', '0')))\n"


def slow(made):
    with (made / "my_reflex_app" / "__init__.py").open("a") as package:
        package.write(SLOW_START)
    return made


@EACH_STARTUP
def test_the_wait_for_the_backend_has_an_end(startup, project):
    with Served(slow(project({"startup": startup}, built=True)), SLOW="60", STARTUP_SECONDS="2") as app:
        assert app.ended(12) != 0
        assert "did not answer /ping within 2 s" in app.log
        until(lambda: app.members() == [], 2)


def test_overlap_serves_pages_at_once_and_holds_events(project):
    with Served(slow(project(built=True)), SLOW="3") as app:
        started = time.monotonic()
        until(lambda: answers(app, "/"), 3)
        assert get(f"{app.url}/ping")[0] == 200  # asked before the backend was up, answered when it was
        assert time.monotonic() - started > 2
        assert app.process.poll() is None


def test_backend_first_serves_nothing_before_the_backend(project):
    with Served(slow(project({"startup": "backend-first"}, built=True)), SLOW="3") as app:
        time.sleep(2)
        assert not answers(app, "/")
        app.ready()
        until(lambda: answers(app, "/"), 3)


def test_a_slow_start_of_several_workers_is_waited_for(project, redis_url):
    """start.sh ends when a worker of uvicorn ends before it has loaded the app, and must not mistake this for it."""
    made = slow(project({"server": "uvicorn", "state_store": "redis", "workers": 2}, built=True))
    with Served(made, SLOW="4", REFLEX_REDIS_URL=redis_url) as app:
        assert app.ready(40).get("/ping")[0] == 200
        assert len(app.pids("multiprocessing.spawn")) == 2


@EACH_SERVER
def test_a_stop_lets_an_open_request_finish_and_cuts_one_without_end(server, project):
    made = with_more_pages(project({"server": server}))
    for seconds in (3, 60):
        with Served(made) as app, ThreadPoolExecutor() as background:
            asked = background.submit(answers, app.ready(), f"/long?seconds={seconds}")
            until(lambda app=app: "asked" in app.log, 10)
            with fault(f"a stop while a request is open for {seconds} s more", server, "overlap", app):
                app.process.terminate()
                assert app.ended(10) == 0, app.log
            assert asked.result(5) == (seconds == 3)
            until(lambda app=app: app.members() == [], 2)


@EACH_SERVER
def test_a_stop_lets_an_event_handler_finish_and_cuts_one_without_end(server, project):
    made = with_more_pages(project({"server": server}))
    run = INCREMENT | {"name": f"{STATES}long.run"}
    for seconds in ("60", "1.5"):
        with Served(made, SECONDS=seconds) as app:
            wait(send(app.ready().port, run))
            until(lambda app=app: "begun" in app.log, 10)
            with fault(f"a stop while a handler runs for {seconds} s more", server, "overlap", app):
                app.process.terminate()
                assert app.ended(10) == 0, app.log
            assert ("handler ended" in app.log) == (seconds == "1.5")
            until(lambda app=app: app.members() == [], 2)


async def send(port, event):
    tab = await Tab.open(port)
    await tab.socket.send("42/_event," + json.dumps(["event", event]))
    await tab.close()


def answers(app, path):
    try:
        return app.get(path)[0] == 200
    except OSError:
        return False


ENDS = {
    "exit": ("import sys\nsys.exit(0)\n", r"status|ended before it had loaded"),
    "crash": ("import ctypes\nctypes.string_at(0)\n", "SEGV|Segmentation"),
}


@EACH_SERVER
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("end", ENDS)
def test_an_app_that_ends_its_process_ends_the_start_with_the_reason(end, workers, server, project, redis_url):
    """Gunicorn and uvicorn would start another worker, on and on."""
    made = project({"server": server, "state_store": "redis", "workers": workers}, built=True)
    code, words = ENDS[end]
    with (made / "my_reflex_app" / "state.py").open("a") as state:
        state.write(code)
    what = {"exit": "ends its process", "crash": "crashes"}[end]
    with Served(made, REFLEX_REDIS_URL=redis_url) as app:
        many = f"overlap, {workers} worker{'s'[workers < 2 :]}"
        with fault(f"the app {what} while it is imported", server, many, app, f"{words}|a worker ended"):
            assert app.ended(15) != 0  # in some 2 s where the CPU is free
        assert re.search(words, app.log), app.log
        assert app.log.count("\n") < 400  # uvicorn tries again at once, and each crash says where it was
        until(lambda: app.members() == [], 2)


@EACH_SERVER
def test_a_blocked_event_loop_is_named_and_ends_the_worker(server, project, page):
    made = with_more_pages(project({"server": server}))
    with Served(made, BLOCKED_SECONDS="5") as app:
        open_page(page, f"{app.ready().url}/blocking")
        what = "a handler blocks the event loop for 5 s (the limit was set to that)"
        with fault(what, server, "overlap", app, "has blocked the event loop"):
            page.click("#block")
            until(lambda: "has blocked the event loop for 5 s" in app.log, 15)
            if server == "gunicorn":  # it starts another worker
                until(lambda: answers(app, "/ping"), 10)
            else:
                assert app.ended(10) != 0
        assert re.search(r"watchdog: block \(more_pages.py, line \d+\)", app.log)
