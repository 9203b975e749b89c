"""The log is what Cloud Logging understands: one line an entry from every part, joined by request, without visitors."""

import json
import os
import re
import signal

import pytest

from harness.additions import STATES, with_more_pages
from harness.client import HYDRATE, INCREMENT, Tab, wait
from harness.processes import until
from harness.servers import SERVERS, TABLE
from harness.serving import Served, get

pytestmark = pytest.mark.slow

TRACE = "0123456789abcdef0123456789abcdef"
JSON = {"LOG_FORMAT": "json", "GOOGLE_CLOUD_PROJECT": "my-project-123"}
BACKEND = TABLE["gunicorn"]["process"]
NAMES = ["fail", "report"]
STATE = f"{STATES}failing"


@pytest.fixture(params=SERVERS)
def made(request, project):
    return with_more_pages(project({"server": request.param}))


async def send(port, names):
    """Send events as a tab does, behind a front end that gave its connection a trace; return the tab's token."""
    tab = await Tab.open(port, headers={"X-Cloud-Trace-Context": f"{TRACE}/1;o=1", "X-Request-Id": "forged"})
    for name in names:
        await tab.socket.send("42/_event," + json.dumps(["event", INCREMENT | {"name": f"{STATE}.{name}"}]))
    unknown = HYDRATE | {"name": f"{STATE}.unknown", "router_data": {"secret": "typed"}}
    await tab.socket.send("42/_event," + json.dumps(["event", unknown]))
    await tab.click()
    await tab.close()
    return tab.token


def entries(app):
    """Read the log as Cloud Run's agent does: a line of JSON is an entry, any other line is text without a severity."""
    found = []
    for line in app.log.splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            found.append({"text": line})
    return found


def test_each_entry_is_a_line_with_its_severity_event_request_and_trace(made):
    with Served(made, **JSON) as app:
        token = wait(send(app.ready().port, NAMES))
        assert get(f"{app.url}/api/order", X_Cloud_Trace_Context=f"{TRACE}/2;o=1")[0] == 200
        until(lambda: app.log.count("an order") == 2 and "this one fails" in app.log and "unknown" in app.log, 10)
        found = entries(app)
        texts = [entry["text"] for entry in found if "text" in entry]
        assert [text for text in texts if not harmless(text)] == []
        assert {entry["severity"] for entry in found if "text" not in entry} <= {"INFO", "WARNING", "ERROR"}

        (failed,) = [entry for entry in found if "this one fails" in entry.get("message", "")]
        assert failed["severity"] == "ERROR"
        assert "Traceback (most recent call last)" in failed["message"]
        assert failed["event"] == f"{STATE}.fail"
        event, answer = [entry for entry in found if entry.get("logger") == "shop"]
        assert (event["message"], event["severity"]) == ("an order\nof two lines", "WARNING")
        assert event["event"] == f"{STATE}.report"
        assert {entry["logging.googleapis.com/trace"] for entry in (failed, event, answer)} == {
            f"projects/my-project-123/traces/{TRACE}"
        }
        assert failed["request_id"] == event["request_id"] != answer["request_id"]
        assert all(re.fullmatch(r"[0-9a-f-]{36}", entry["request_id"]) for entry in (event, answer))

        for visitors in (token, "typed", "127.0.0.1:", "forged", "cookie"):
            assert visitors not in app.log.replace(f"http://127.0.0.1:{app.backend_port}", "").replace(
                f"127.0.0.1:{app.backend_port}", ""
            )
        app.process.terminate()
        assert app.ended(10) == 0
        assert [text for text in (entry.get("text", "") for entry in entries(app)) if text and not harmless(text)] == []


def harmless(text):
    """Return whether a line is one that `reflex run` prints for a person, past every logger."""
    return text == "" or re.match(r"Starting Reflex App|─+|App running at|Backend running at|.*\[Reflex", text)


def test_what_caddy_cannot_deliver_is_an_entry_without_visitors(project):
    with Served(project({"startup": "backend-first"}, built=True), **JSON) as app:
        app.ready()
        os.kill(app.process.pid, signal.SIGSTOP)  # start.sh would end Caddy at once
        for pid in app.pids(BACKEND):
            os.kill(pid, signal.SIGKILL)
        path = "/_event/?token=secret-of-a-tab&EIO=4&transport=polling"
        assert get(app.url + path, Cookie="a=secret", X_Cloud_Trace_Context=f"{TRACE}/1;o=1")[0] == 502
        (failed,) = [entry for entry in entries(app) if "status" in entry]
        assert (failed["severity"], failed["status"]) == ("ERROR", 502)
        assert re.search("connection (refused|reset)", failed["error"])
        assert failed["logging.googleapis.com/trace"] == f"projects/my-project-123/traces/{TRACE}"
        assert failed["request"]["uri"].startswith("/_event/?")
        assert re.fullmatch(r"[0-9a-f-]{36}", failed["request_id"])
        assert "secret" not in app.log
        assert not {"headers", "remote_ip", "client_ip"} & failed["request"].keys()
        os.kill(app.process.pid, signal.SIGCONT)
        app.ended(10)
        (ended,) = [entry for entry in entries(app) if "the backend was killed" in entry.get("message", "")]
        assert ended["severity"] == "ERROR"


def test_outside_cloud_run_it_is_text(made):
    with Served(made) as app:
        wait(send(app.ready().port, NAMES))
        until(lambda: "this one fails" in app.log and "an order" in app.log, 10)
        assert f"WARNING shop (handling {STATE}.report): an order" in app.log
        assert '{"' not in app.log


def test_another_format_is_refused(project):
    with Served(project(built=True), LOG_FORMAT="xml") as app:
        assert app.ended(5) == 2
        assert "LOG_FORMAT is 'xml' and must be json or text" in app.log
