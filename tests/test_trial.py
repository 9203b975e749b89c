"""deploy/build/trial.py against the app that start.sh serves: what passes, what does not, and that it ends."""

import pytest
from playwright.sync_api import expect

from harness.caches import ROOT
from harness.commands import must_run, run
from harness.edge import Edge
from harness.installs import build
from harness.network import Balancer
from harness.processes import until
from harness.serving import Served
from harness.tcp_ports import free_port
from harness.visitor import launch
from tests.variants import SERVERS, name

pytestmark = pytest.mark.slow


TOKEN = "let-me-in"  # noqa: S105

BROKEN = """

class Broken(rx.State):
    @rx.var
    def bad(self) -> int:
        if self.router.session.client_token:
            raise OSError
        return 0
"""


def trial(project, url, token="", seconds="15"):
    folder = project / ".candidate"
    folder.mkdir(exist_ok=True)
    (folder / "url").write_text(url + "\n")
    (folder / "token").write_text(token)
    return run(".venv/bin/python", "deploy/build/trial.py", cwd=project, TRIAL_SECONDS=seconds)


@pytest.mark.parametrize("answers", [{"server": server} for server in SERVERS], ids=name)
def test_a_good_candidate_passes(answers, project):
    """It may come before the backend is up, and has nothing but what the server's own packages bring."""
    made = project(answers, built=True)
    must_run(".venv/bin/python", "-c", "import simple_websocket", cwd=made)
    with Served(made) as app:
        done = trial(made, app.url, seconds="60")
        assert done.returncode == 0, done.stdout
        assert done.stdout.count("passed, after") == 3


def test_a_private_candidate_is_entered_with_the_token(project, tmp_path):
    made = project(built=True)
    folder = tmp_path / "edge"
    folder.mkdir()
    with Served(made) as app, Edge(made / ".venv/bin/caddy", app.port, folder, token=TOKEN) as edge:
        app.ready()
        assert trial(made, edge.plain_url, TOKEN).returncode == 0
        refused = trial(made, edge.plain_url, "another", seconds="3")
        assert refused.returncode == 1
        assert "page failed, HTTPError: HTTP Error 403" in refused.stdout


def test_pages_without_a_backend_do_not_pass(project):
    made = project({"startup": "backend-first"}, built=True)
    with Served(made) as app:
        app.ready()
        for process in app.pids("gunicorn"):
            run("kill", "-STOP", str(process), cwd=made)
        done = trial(made, app.url, seconds="5")
        assert done.returncode == 1
        assert "ping failed" in done.stdout
        for process in app.pids("gunicorn"):
            run("kill", "-CONT", str(process), cwd=made)


def test_events_that_are_not_answered_do_not_pass(project):
    """An app whose state cannot be made answers /ping and shows its pages, and nobody can do anything with it."""
    made = project(built=True)
    state = made / "my_reflex_app/state.py"
    state.write_text(state.read_text() + BROKEN)
    with Served(made) as app:
        app.ready()
        done = trial(made, app.url, seconds="5")
        assert "trial: ping: passed" in done.stdout
        assert done.returncode == 1, done.stdout
        assert "event failed" in done.stdout


def test_an_address_where_nobody_is_ends_with_the_reason(project):
    made = project()
    done = trial(made, f"http://localhost:{free_port()}", seconds="3")
    assert done.returncode == 1
    assert "Connection refused" in done.stdout
    assert "The current revision keeps serving" in done.stdout


SHOP = "http://shop.example"
CONFIGURATIONS = {
    "what Reflex has": ([], "", True),
    "every origin": (['cors_allowed_origins=["*"]'], "", True),
    "its own address only": ([f'cors_allowed_origins=["{SHOP}"]', f'deploy_url="{SHOP}/"'], SHOP, True),
    "its own address only, and none deployed": ([f'cors_allowed_origins=["{SHOP}"]'], SHOP, True),
    "a developer's machine only": (['cors_allowed_origins=["http://localhost:3000"]'], "", False),
    "an address that is no origin": ([f'cors_allowed_origins=["{SHOP}/"]', f'deploy_url="{SHOP}"'], SHOP, False),
    "another address than its own": (
        ['cors_allowed_origins=["https://a.example"]', f'deploy_url="{SHOP}"'],
        SHOP,
        False,
    ),
    "its own address": ([f'api_url="{SHOP}"', f'deploy_url="{SHOP}"'], "", True),
    "a backend that nobody runs": (['api_url="http://localhost.example:9"'], "", False),
    "polling": (['transport="polling"'], "", True),
}
"""What rxconfig.py sets, where a visitor's browser finds the app if not at its own address, and whether clicks work."""


@pytest.fixture(scope="module")
def shoppers(browser):
    """Run a Chromium that finds the shop on a port of this machine, which the test chooses later."""
    with Balancer([]) as shop:
        there = f"--host-resolver-rules=MAP shop.example:80 localhost:{shop.port}"
        with launch(browser.browser_type, there) as another:
            yield another, shop


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_a_trial_accepts_what_a_browser_can_click(configuration, project, shoppers):
    settings, address, works = CONFIGURATIONS[configuration]
    made = project(built=True)
    config = made / "rxconfig.py"
    config.write_text(config.read_text().replace("\n)", "".join(f"\n    {setting}," for setting in settings) + "\n)"))
    if any(setting.startswith(("api_url", "transport")) for setting in settings):
        build(made)
    else:  # the pages stay the same
        must_run(".venv/bin/python", ROOT / "tests/programs/describe_events.py", cwd=made, PYTHONPATH=".")
    with Served(made) as app:
        app.ready()
        done = trial(made, app.url, seconds="5")
        assert (done.returncode == 0) == works, done.stdout
        browser, shop = shoppers
        shop.ports = [app.port]
        page = browser.new_page()
        page.goto(address or app.url)
        if works:
            until(lambda: page.click("#increment") or page.inner_text("#count") != "0", 30, every=0.2)
        else:
            expect(page.get_by_text("Cannot connect to server")).to_be_visible(timeout=30_000)
            page.click("#increment")
            assert page.inner_text("#count") == "0"
        page.close()
