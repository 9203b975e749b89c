"""Existing apps are served as under `reflex run --env prod`, after two commands and no edit."""

import json
import os
import re
import shutil
import sqlite3
import urllib.request

import pytest
from playwright.sync_api import expect

from harness.apps import APPS, adopt, copy_of, lock, run_by_reflex
from harness.caches import ROOT, digest
from harness.commands import must_run, run
from harness.engine import Container, built, docker
from harness.engine import build as build_image
from harness.installs import build
from harness.processes import until
from harness.servers import SERVERS
from harness.serving import Served, get
from harness.visitor import open_page, watch

MINORS = ["0.8.0", "0.9.0", *os.environ.get("TRY_REFLEX", "").split()]
"""The minor versions of Reflex that an app may be on, in addition to the newest one, which all of these tests use.

The workflow newest.yml sets TRY_REFLEX."""
FILE = {"name": "tea list.txt", "mimeType": "text/plain", "buffer": b"green"}

ECHO = """address => new Promise(resolve => {
    const socket = new WebSocket(address)
    socket.onopen = () => socket.send("tea")
    socket.onmessage = message => resolve(message.data)
    socket.onerror = () => resolve("error")
})"""


def ordinary(page, url):
    open_page(page, url)
    page.click("#add")
    expect(page.locator("#count")).to_have_text("1")
    page.click("#work")
    expect(page.locator("#behind")).to_have_text("3")
    page.set_input_files("#files input[type=file]", FILE)
    page.click("#send")
    expect(page.locator(".file")).to_have_text("tea list.txt")
    address = page.locator(".file").get_attribute("href")
    yield get((address if "://" in address else url + address).replace(" ", "%20"))[2]
    page.goto(f"{url}/item/pot")
    expect(page.locator("#item")).to_have_text("item pot")
    yield get(f"{url}/ping")[0], get(f"{url}/nothing")[0]


def bookshop(page, url):
    open_page(page, url)
    expect(page.locator("#total")).not_to_have_text("")  # the page is loaded, and the table is there
    before = page.locator("#books li").count()
    page.fill("#title", "Persuasion")
    page.click("#add")
    expect(page.locator("#books li")).to_have_count(before + 1)
    yield page.inner_text("#total")
    page.goto(f"{url}/book/emma")
    expect(page.locator("#book")).to_have_text("emma")
    yield get(f"{url}/logo.svg")[2]


def setters(page, url):
    open_page(page, url, transport="polling")
    page.select_option("#options", "coffee")
    expect(page.locator("#option")).to_have_text("coffee")
    page.fill("#text", "hot")
    expect(page.locator("#said")).to_have_text("hot")
    page.click("#reset")
    expect(page.locator("#option")).to_have_text("none")
    yield page.inner_text("#said")


def brochure(page, url):
    page.goto(url)
    page.click("#hours")
    expect(page.locator("#open")).to_have_text("9 to 5")
    yield get(f"{url}/hours")[0], get(f"{url}/ping")[0], get(f"{url}/nothing")[0]


def page_states(page, url):
    open_page(page, url)
    page.click("#first")
    page.click("#first")
    page.click("#second")
    expect(page.locator("#first-count")).to_have_text("2")
    expect(page.locator("#second-count")).to_have_text("1")
    open_page(page, f"{url}/late")
    page.click("#done")
    expect(page.locator("#said")).to_have_value("done")
    page.goto(f"{url}/plain")
    yield page.inner_text("body")


def api(page, url):
    open_page(page, url)
    page.click("#fail")
    expect(page.locator("#said")).to_have_value("sorry: on purpose")
    for path in (
        "/api/items/7",
        "/api/items/seven",
        "/ping-pong",
        "/admin/users/a/b",
        "/v2/login/providers/github/callback",
        "/docs",
        "/openapi.json",
        "/ping",
    ):
        status, headers, body = get(url + path)
        yield path, status, headers["content-type"], body
    posted = urllib.request.Request(
        f"{url}/api/items", b'{"tea": 1}', {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(posted) as answer:
        yield json.load(answer)
    yield get(f"{url}/api/nothing")[0], get(f"{url}/nothing")[0]
    yield get(f"{url}/where")[2].decode().replace(url, "")
    yield page.evaluate(ECHO, f"{url.replace('http', 'ws')}/echo")


def javascript(page, url):
    open_page(page, url)
    page.click("#shout")
    expect(page.locator("#heard")).to_have_text("TEA")
    expect(page.locator("#confetti canvas")).to_be_visible()
    yield page.inner_text("#shout")
    yield page.evaluate("getComputedStyle(document.querySelector('#shout')).letterSpacing")


def login(page, url):
    open_page(page, f"{url}/inside")
    page.wait_for_url(f"{url}/")
    page.fill("#name", "ada")
    page.fill("#password", "wrong")
    page.click("#enter")
    expect(page.locator("#problem")).to_have_text("no such name or password")
    page.fill("#password", "engine")
    page.click("#enter")
    expect(page.locator("#user")).to_have_text("ada")
    page.click("#paint")
    expect(page.locator("#color")).to_have_text("blue")
    page.reload()
    expect(page.locator("#color")).to_have_text("blue")
    yield page.inner_text("#user")
    page.click("#leave")
    page.wait_for_url(f"{url}/")
    yield [(cookie["name"], cookie["sameSite"]) for cookie in page.context.cookies()]


def data_files(page, url):
    open_page(page, url)
    page.click("#load")
    expect(page.locator("#rows li")).to_have_count(2)
    yield page.inner_text("#rows"), page.inner_text("#note")


def uploads(page, url):
    for number, (path, form) in enumerate((("/", "first"), ("/second", "second")), 1):
        open_page(page, url + path)
        page.set_input_files(f"#{form} input[type=file]", FILE)
        page.click("#send")
        expect(page.locator(".file")).to_have_count(number)
        expect(page.locator(".file").last).to_have_text("tea list.txt")
        address = page.locator(".file").last.get_attribute("href")
        status, _, body = get((address if "://" in address else url + address).replace(" ", "%20"))
        yield path, page.locator(".file").count(), status, body
    status, headers, body = get(f"{url}/hello")
    yield status, headers.get("x-shop"), body


def notes(page, url):
    open_page(page, url)
    page.fill("#text", "tea")
    page.click("#add")
    expect(page.locator("#memos li")).to_have_text(["tea"])
    yield page.inner_text("#memos")


def paths(page, url):
    open_page(page, f"{url}/shop/")
    page.click("#more")
    expect(page.locator("#count")).to_have_text("1")
    page.click("#third")
    expect(page.locator("#shown")).to_have_text("item 3")
    page.goto(f"{url}/shop/item/4")
    expect(page.locator("#shown")).to_have_text("item 4")
    page.goto(f"{url}/shop/hours/")
    expect(page.locator("#hours")).to_have_text("hours")
    yield [get(url + path)[0] for path in ("/shop/Logo.SVG", "/shop/nothing", "/shop/sitemap.xml", "/backend/ping")]


def src_layout(page, url):
    open_page(page, url)
    page.click("#sell")
    expect(page.locator("#shown")).to_have_text("1,500")
    yield "sold"


def poetry(page, url):
    open_page(page, url)
    page.click("#add")
    expect(page.locator("#shown")).to_have_text("1.0 kB")
    yield "added"


def guide(page, url):
    open_page(page, url)
    expect(page.locator("#badge")).to_have_text("arrived")
    page.click("#slowly")
    expect(page.locator("#badge")).to_have_text("arrived one two 2 behind")
    expect(page.locator("#note")).to_have_text("made by an event")
    page.keyboard.press("k")
    expect(page.locator("#badge")).to_have_text("arrived one two 2 behind k")
    page.click("#color")
    with page.expect_download() as download:
        page.click("#save")
    yield download.value.path().read_text()
    expect(page.locator("#theme")).to_have_text("dark")
    expect(page.locator("#typed")).to_have_text("typed")
    yield [page.inner_text(name) for name in ("#ruler", "#color")]
    yield page.evaluate("[getComputedStyle(document.querySelector('#ruler')).fontFamily, document.title]")
    yield page.get_attribute("meta[name=author]", "content")
    page.click("#leave")
    page.wait_for_url(f"{url}/inside?from=home")
    expect(page.locator("#number")).to_have_text("5")
    expect(page.locator("#origin")).to_have_text("home")
    yield page.inner_text("#running"), page.title()
    open_page(page, url)
    expect(page.locator("#theme")).to_have_text("dark")


VISITS = [
    ordinary,
    bookshop,
    setters,
    brochure,
    page_states,
    api,
    javascript,
    guide,
    login,
    data_files,
    uploads,
    notes,
    paths,
    src_layout,
    poetry,
]


def visit(what, browser, url):
    """Click in a browser that was never there; return what was seen and what its console complained about.

    A complaint counts once: React requests an image again whose file was missing, or does not, as fast as it comes.
    """
    context = browser.new_context()
    page = context.new_page()
    complaints = watch(page)
    seen = list(what(page, url))
    context.close()
    return seen, sorted({complaint.replace(url, "") for complaint in complaints})


def test_each_app_is_visited():
    assert {what.__name__ for what in VISITS} == {path.name for path in APPS.iterdir() if path.is_dir()}


@pytest.mark.slow
@pytest.mark.parametrize("what", VISITS, ids=lambda what: what.__name__)
def test_it_is_what_reflex_itself_serves(what, browser, tmp_path):
    app = what.__name__
    plain = copy_of(app, tmp_path / "plain")
    if what is src_layout:
        must_run("uv", "lock", "--quiet", cwd=plain)  # kept in no repository: it names the index that it was made with
    adopted = shutil.copytree(plain, tmp_path / "adopted")
    own = [str(path.relative_to(plain)) for path in plain.rglob("*") if path.is_file() and ".git" not in str(path)]
    adopt(adopted)
    lock(adopted)
    build(adopted, ".")

    if what is notes:
        for folder in (plain, adopted):  # scripts/serve does it, see below
            must_run(adopted / ".venv/bin/reflex", "db", "migrate", cwd=folder)
    with run_by_reflex(plain, adopted / ".venv") as url:
        theirs = visit(what, browser, url)
    with Served(adopted) as served:
        ours = visit(what, browser, served.ready().url)
        said = must_run(".venv/bin/python", "deploy/build/trial.py", served.url, cwd=adopted)
        log = served.log
    assert ours == theirs
    assert said.count("passed, after") == (2 if what is brochure else 3)
    assert digest(adopted, own) == digest(plain, own)
    assert "does not match the backend state schema" not in log
    assert "No registered handler" not in log
    assert "does not fit this version of Reflex" not in log


@pytest.mark.slow
@pytest.mark.parametrize("what", [data_files, src_layout], ids=lambda what: what.__name__)
def test_its_image_has_all_that_it_reads(what, browser, tmp_path):
    adopted = copy_of(what.__name__, tmp_path / "adopted")
    if what is src_layout:
        must_run("uv", "lock", "--quiet", cwd=adopted)
    adopt(adopted)
    lock(adopted)
    build(adopted, ".")  # Reflex notes the frontend's packages
    with Container(built(adopted)) as container:
        assert visit(what, browser, container.ready().url)[0]


@pytest.mark.slow
def test_a_database_that_an_image_has_no_place_for_is_named(tmp_path):
    adopted = copy_of("notes", tmp_path / "adopted")
    adopt(adopted)
    lock(adopted)
    build(adopted, ".")
    with Container(built(adopted)) as container:
        until(lambda: container.state("Running") != "true", 30, every=0.3)
        assert container.state("ExitCode") != "0"
        assert "the file notes.db, and a container cannot write there. Answer database with postgres" in container.log


@pytest.mark.slow
@pytest.mark.parametrize("what", [notes, paths], ids=lambda what: what.__name__)
def test_its_scripts_test_passes_what_a_deployment_requests(what, tmp_path):
    adopted = copy_of(what.__name__, tmp_path / "adopted")
    adopt(adopted)
    lock(adopted)
    done = run("scripts/test", cwd=adopted)
    assert done.returncode == 0, done.stdout
    assert "trial: event: passed" in done.stdout
    if what is notes:  # migrated before it was served
        with sqlite3.connect(adopted / "notes.db") as database:
            assert database.execute("SELECT count(*) FROM memo").fetchone() == (0,)


ON_OLDER = [
    *(("0.8.0", what) for what in (bookshop, login, data_files, setters)),
    *(("0.9.0", what) for what in (login, api, page_states, uploads, javascript)),
]
"""Apps of older minor versions of Reflex, and what is clicked: what Reflex itself serves in them."""
TOGETHER = ["fastapi", "bcrypt", "humanize", "alembic", "sqlmodel"]
"""What these apps ask for: all of them get all of it, so that a minor version needs one set of packages."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "what"), ON_OLDER, ids=lambda value: value if isinstance(value, str) else value.__name__
)
def test_an_app_of_an_older_minor_is_what_that_reflex_serves(version, what, browser, tmp_path):
    plain = copy_of(what.__name__, tmp_path / "plain")
    (plain / "requirements.txt").write_text("\n".join([f"reflex~={version}", *TOGETHER, ""]))
    adopted = shutil.copytree(plain, tmp_path / "adopted")
    adopt(adopted)
    lock(adopted)
    build(adopted, ".")
    with run_by_reflex(plain, adopted / ".venv", older=version == "0.8.0") as url:
        theirs = visit(what, browser, url)
    with Served(adopted) as served:
        ours = visit(what, browser, served.ready().url)
        assert "Traceback" not in served.log
    assert ours == theirs


@pytest.mark.slow
def test_an_image_of_an_older_minor_has_the_settings_of_its_pages(tmp_path):
    """Reflex 0.8 writes Vite's settings only when it prepares `.web`, and has to know the app's by then."""
    adopted = copy_of("setters", tmp_path / "adopted")
    (adopted / "requirements.txt").write_text("\n".join(["reflex~=0.8.0", *TOGETHER, ""]))
    config = adopted / "rxconfig.py"
    config.write_text(config.read_text().replace("rx.Config(", 'rx.Config(frontend_path="shop", '))
    adopt(adopted)
    lock(adopted)
    build_image(adopted, "older:test", "--target=pages")
    pages = ("run", "--rm", "--entrypoint=cat", "older:test", "/built/.web/build/client/shop/index.html")
    assert re.findall(r'href="(/[a-z/]*assets)/', docker(*pages))[:1] == ["/shop/assets"]


#: Each server with one of the two orders of starting and one of the two stores.
WAYS = {
    "gunicorn": ("overlap", "redis"),
    "uvicorn": ("backend-first", "disk"),
    "granian": ("backend-first", "redis"),
    "reflex": ("overlap", "disk"),
}


def workarounds(version, store):
    """Return the workarounds that do not fit a minor version of Reflex, as the table in docs/adopting.md has it."""
    rows = [line.split(" | ") for line in (ROOT / "docs/adopting.md").read_text().splitlines() if " | fits" in line]
    column = {"0.8.0": 2, "0.9.0": 3}.get(version, 4)
    return {row[0].strip("| `") for row in rows if row[1] == store and row[column].strip(" |") != "fits"}


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("version", MINORS)
def test_it_runs_on_each_minor_version_of_reflex(version, server, browser, redis_url, tmp_path):
    """Its owner's lock has the newest patch of that version, and what many locks have: an older `websockets`."""
    adopted = copy_of("ordinary", tmp_path / "adopted")
    wanted = "reflex" if version == "newest" else f"reflex~={version}\nwebsockets==15.0.1"
    (adopted / "requirements.txt").write_text(f"{wanted}\n")
    config = adopted / "rxconfig.py"
    config.write_text(config.read_text().replace(")", ', api_url="http://0.0.0.0:8000")'))
    startup, store = WAYS[server]
    adopt(adopted, f"--data=server={server}", f"--data=startup={startup}", f"--data=state_store={store}")
    if version == "newest":  # which may be one that the range does not allow yet
        needed = adopted / "production/requirements-server.in"
        needed.write_text(re.sub(r"(?m)^(reflex\S*?),<\S+", r"\1", needed.read_text()))
    lock(adopted)
    build(adopted, ".")
    with Served(adopted, **({"REFLEX_REDIS_URL": redis_url} if store == "redis" else {})) as served:
        seen, complaints = visit(ordinary, browser, served.ready().url)
        assert seen == [b"green", (200, 404)]
        assert complaints == []
        assert "Traceback" not in served.log
        left_out = re.findall(r"production/fixes/(\w+)\.py does not fit this version of Reflex", served.log)
    # The server of Reflex 0.8 loads the app by itself, without any of them.
    assert sorted(left_out) == ([] if (version, server) == ("0.8.0", "reflex") else sorted(workarounds(version, store)))


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_an_api_knows_the_visitors_address(server, tmp_path):
    adopted = copy_of("api", tmp_path / "adopted")
    adopt(adopted, f"--data=server={server}")
    lock(adopted)
    build(adopted, ".")
    with Served(adopted) as served:
        headers = {"Host": "shop.example", "X-Forwarded-Proto": "https"}
        assert (
            get(f"{served.ready().url}/where", **headers)[2]
            == b"https://shop.example/v2/login/providers/github/callback"
        )


@pytest.mark.slow
@pytest.mark.parametrize("server", [server for server in SERVERS if server != "gunicorn"])
def test_every_server_knows_the_events_that_reflex_makes(server, browser, tmp_path):
    adopted = copy_of("setters", tmp_path / "adopted")
    adopt(adopted, f"--data=server={server}")
    lock(adopted)
    build(adopted, ".")
    with Served(adopted) as served:
        assert visit(setters, browser, served.ready().url)[0] == ["hot"]
        assert "does not match the backend state schema" not in served.log
