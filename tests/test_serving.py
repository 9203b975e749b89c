"""Each server with each start-up order and store, started by start.sh, behind a real Caddy, used by a real Chromium."""

import contextlib
import re
import uuid
from pathlib import Path

import pytest
from playwright.sync_api import expect

from harness.edge import Edge
from harness.installs import build
from harness.processes import until
from harness.projects import copy_files
from harness.serving import Served
from harness.tcp_ports import listens
from harness.visitor import click_to_three, open_page, watch
from tests.variants import COMBINATIONS, SERVERS, name

pytestmark = pytest.mark.slow


def environment(answers, redis_url):
    return {"REFLEX_REDIS_URL": redis_url} if answers.get("state_store") == "redis" else {}


@pytest.mark.parametrize("answers", COMBINATIONS, ids=name)
def test_a_visitor_uses_every_page(answers, project, page, redis_url, tmp_path):
    made = project(answers, built=True)
    with Served(made, K_REVISION="shop-00007-abc", REGION="us-central1", **environment(answers, redis_url)) as app:
        complaints = watch(page)
        # A visitor who comes at the first moment at which there is anything.
        until(lambda: listens(app.port), 30)
        click_to_three(page, app.url, start=15)
        page.reload()
        expect(page.locator("#count")).to_have_text("3")

        page.goto(f"{app.url}/about")
        facts = page.locator("#facts")
        for fact in (answers["server"], answers["state_store"], "shop-00007-abc", "us-central1"):
            expect(facts).to_contain_text(fact)
        shown = int(re.search(r"Worker process(\d+)", facts.inner_text().replace("\n", ""))[1])
        assert shown in app.members(), "the process on the page is one that runs"

        page.goto(f"{app.url}/item/teapot")
        expect(page.locator("#item")).to_have_text("teapot")

        open_page(page, app.url)
        page.click("#start")
        expect(page.locator("#percent")).to_have_text("100 %")
        page.click("text=Upload")
        upload = tmp_path / f"{uuid.uuid4()}.txt"
        upload.write_text("hello")
        page.set_input_files("input[type=file]", upload)
        page.click("#send")
        link = page.locator("#uploaded a")
        expect(link).to_have_text(upload.name)
        address = link.get_attribute("href")
        status, headers, body = app.get(address.removeprefix(app.url))
        assert (status, body) == (200, b"hello")
        assert headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert complaints == []

        assert page.goto(f"{app.url}/no/such/page").status == 404
        expect(page.locator("#not-found")).to_be_visible()

        app.process.terminate()
        assert app.ended(10) == 0
        until(lambda: app.members() == [], 2)


@pytest.fixture(scope="module")
def app(render, tmp_path_factory):
    """Serve the default project for the questions that only Caddy answers."""
    made = tmp_path_factory.mktemp("caddy") / "project"
    copy_files(render({"deploy_url": "https://shop.example.com"}), made)
    build(made)
    with Served(made) as served:
        yield served.ready()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/about", 200),
        ("/about/", 200),
        ("/item/teapot", 200),
        ("/item/teapot/", 200),
        ("/item/%20%22", 200),
        ("/item", 404),
        ("/item/", 404),
        ("/item/a/b", 404),
        ("/nope", 404),
        ("/index", 404),
        ("/404", 404),
        ("/404.html", 404),
        ("/__spa-fallback.html", 404),
        ("/assets/nope-12345678.js", 404),
        ("/../Caddyfile", 404),
        ("/Caddyfile", 404),
        ("/robots.txt", 200),
        ("/sitemap.xml", 200),
        ("/favicon.svg", 200),
        ("/ping", 200),
        ("/_health", 200),
        ("/_upload/nope", 404),
    ],
)
def test_every_path_has_its_status(app, path, status):
    found, headers, body = app.get(path)
    assert found == status
    if status == 404 and path != "/_upload/nope":
        assert b"<html" in body
        assert headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "sent"), [("br", "br"), ("zstd", "zstd"), ("gzip", "gzip"), ("gzip, br, zstd", "br")]
)
def test_files_are_sent_compressed(app, accepted, sent):
    script = re.search(rb"/assets/entry\.client-[^\"]+\.js", app.get("/")[2])[0].decode()
    status, headers, body = app.get(script, Accept_Encoding=accepted)
    assert (status, headers["content-encoding"]) == (200, sent)
    assert len(body) < 100_000
    assert headers["vary"] == "Accept-Encoding"


def test_a_first_visit_loads_less_than_150_kb(app):
    """The home page and all that it names, as a browser gets it; docs/start-up.md has the parts."""
    home = app.get("/")[2].decode()
    named = set(re.findall(r'(?:href|src)="(/(?:assets/|favicon)[^"]+)"', home))
    assert any(".js" in file for file in named)
    assert sum(len(app.get(file, Accept_Encoding="br")[2]) for file in {"/", *named}) < 150_000


def test_hashed_files_are_kept_and_pages_are_asked_for_again(app):
    _, headers, body = app.get("/")
    assert headers["cache-control"] == "no-cache"
    assert app.get("/", If_None_Match=headers["etag"])[0] == 304
    script = re.search(rb"/assets/entry\.client-[^\"]+\.js", body)[0].decode()
    assert app.get(script)[1]["cache-control"] == "public, max-age=31536000, immutable"


def test_search_engines_find_the_sitemap(app):
    assert b"Sitemap: https://shop.example.com/sitemap.xml" in app.get("/robots.txt")[2]
    assert b"<loc>https://shop.example.com/about</loc>" in app.get("/sitemap.xml")[2]


def test_pages_of_another_site_get_no_socket(app):
    socket = "/_event/?EIO=4&transport=websocket"
    assert app.get(socket, Origin="https://evil.example")[0] == 403
    assert app.get(socket, Origin=f"{app.url}.evil.example")[0] == 403
    assert app.get(socket, Origin=app.url)[0] != 403
    assert app.get(socket)[0] != 403


def test_a_private_service_is_used_through_gclouds_proxy(project, page, tmp_path):
    """The proxy, for which a Caddy stands in here, changes the host and leaves the origin, which is its own."""
    made = project({"public": False}, built=True)
    with (
        Served(made) as private,
        Edge(made / ".venv/bin/caddy", private.port, tmp_path, host="my-reflex-app-abcdefghij-uc.a.run.app") as proxy,
    ):
        private.ready()
        complaints = watch(page)
        click_to_three(page, proxy.plain_url)
        click_to_three(page, proxy.plain_url.replace("localhost", "127.0.0.1"))
        assert complaints == []
        socket = "/_event/?EIO=4&transport=websocket"
        host = "my-reflex-app-abcdefghij-uc.a.run.app"
        for foreign in ("https://evil.example", "http://localhost.evil.example", "http://127.0.0.1.evil.example:8080"):
            assert private.get(socket, Origin=foreign, Host=host)[0] == 403, foreign


def test_a_public_service_takes_no_events_from_a_page_on_somebodys_machine(app):
    host = "my-reflex-app-abcdefghij-uc.a.run.app"
    assert app.get("/_event/?EIO=4&transport=websocket", Origin="http://localhost:3000", Host=host)[0] == 403


def test_caddy_writes_nothing_and_has_no_admin_port(app, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    with Served(app.project, HOME=str(home), XDG_DATA_HOME=str(home), XDG_CONFIG_HOME=str(home)) as other:
        other.ready()
        assert other.get("/")[0] == 200
        caddy = other.pids("caddy run")[0]
        listening = must_listen(caddy)
        other.process.terminate()
        other.ended(10)
    assert listening == {other.port}
    assert not [path for path in home.rglob("*") if "caddy" in path.name.lower()]


def must_listen(pid):
    """Return the TCP ports on which a process listens."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(link.readlink().name)
    ports = set()
    for table in ("tcp", "tcp6"):
        for row in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = row.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


@pytest.mark.parametrize("server", SERVERS)
def test_the_same_pages_work_on_any_port_and_host_name(server, project, page):
    made = project({"server": server}, built=True)
    with Served(made) as app:
        app.ready()
        click_to_three(page, f"http://127.0.0.1:{app.port}")


def test_a_button_that_waits_for_the_page_loses_no_click_on_a_slow_network(project, page):
    """As the README's table of what fails tells an owner to make it."""
    made = project()
    index = made / "my_reflex_app/pages/index.py"
    button = 'id="increment"'
    index.write_text(index.read_text().replace(button, f"{button}, disabled=~rx.State.is_hydrated"))
    build(made)
    with Served(made) as app:
        app.ready()
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        slow = {"downloadThroughput": 50_000, "uploadThroughput": 50_000}  # bytes a second
        session.send("Network.emulateNetworkConditions", {"offline": False, "latency": 150} | slow)
        page.goto(app.url, wait_until="commit")
        expect(page.locator("#increment")).to_be_disabled()
        page.click("#increment")
        expect(page.locator("#count")).to_have_text("1")
