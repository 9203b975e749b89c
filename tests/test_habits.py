"""What existing apps do while they are imported, and what lies in their assets."""

import base64
import contextlib
import functools
import http.client
import http.server
import os
import re
import threading

import pytest
from playwright.sync_api import expect

from harness import additions
from harness.apps import adopt, copy_of
from harness.caches import ROOT
from harness.commands import must_run, run
from harness.engine import Container, built, docker
from harness.history import commit
from harness.installs import give_uv
from harness.serving import Served, get
from harness.visitor import watch

pytestmark = [pytest.mark.slow, pytest.mark.long]

SECRET = "of-the-tea-shop"  # noqa: S105
IMPORTED = """
import os, threading, time
import tea_from_folder, tea_from_git, tea_from_index, tea_from_wheel
GREETING = os.environ["GREETING"]
threading.Thread(target=time.sleep, args=(3600,)).start()
"""


def package(folder, name):
    """Write a package, as a folder of an app or a repository has it."""
    folder.mkdir(parents=True)
    (folder / f"{name}.py").write_text(f'"""Tea."""\n\n__version__ = "1.0"\nNAME = "{name}"\n')
    build_system = '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "flit_core.buildapi"\n'
    project = f'[project]\nname = "{name}"\nversion = "1.0"\ndescription = "Tea"\n'
    (folder / "pyproject.toml").write_text(build_system + project)
    return folder


def wheel(folder, name, into):
    must_run("uv", "build", "--quiet", "--wheel", "--out-dir", into, package(folder / name, name), cwd=folder)
    return next(into.glob("*.whl")).name


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Serve a package index with one package that no other has, and a mirror of this machine's."""
    configured = run("python", "-m", "pip", "config", "get", "global.index-url", cwd=ROOT).stdout
    default = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    addresses = [os.environ.get("PIP_INDEX_URL", ""), configured, must_run("python", "-c", default, cwd=ROOT)]
    usual = next(address.strip().rstrip("/") for address in addresses if address.startswith("http"))
    folder = tmp_path_factory.mktemp("index")
    file = wheel(folder, "tea_from_index", folder / "simple/tea-from-index")
    (folder / "simple/tea-from-index/index.html").write_text(f'<a href="{file}">{file}</a>')

    class Files(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def send_head(self):
            """Have a second index, at /private, with the same package and for one person, and so the mirror."""
            if self.path.startswith("/private"):
                if self.headers["Authorization"] != f"Basic {base64.b64encode(f'me:{SECRET}'.encode()).decode()}":
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="private"')
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return None
                self.path = self.path.removeprefix("/private")
            if self.path.startswith("/mirror"):
                self.send_response(302)
                self.send_header("Location", self.path.replace("/mirror", usual))
                self.send_header("Content-Length", "0")
                self.end_headers()
                return None
            return super().send_head()

    handler = functools.partial(Files, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/simple"
        server.shutdown()


@pytest.fixture(scope="module")
def app(index, tmp_path_factory):
    """Adopt an app that reads a variable and starts a thread while it is imported, and build it with that variable.

    Its packages come from git, from its own folder, from another index and from a wheel; its files have Windows' line
    ends.
    """
    folder = copy_of("ordinary", tmp_path_factory.mktemp("habits") / "app")
    repository = package(tmp_path_factory.mktemp("git") / "tea", "tea_from_git")
    must_run("git", "init", "--quiet", cwd=repository)
    commit(repository, "Tea")
    package(folder / "parts/tea", "tea_from_folder")
    file = wheel(tmp_path_factory.mktemp("wheel"), "tea_from_wheel", folder / "wheels")
    wanted = [
        f"--extra-index-url {index}",
        f"# --index-url https://me:{SECRET}@shop.example/simple",
        "-r requirements/more.txt",
        f"tea_from_git @ git+file://{repository}",
        "./parts/tea",
        f"./wheels/{file}",
    ]
    (folder / "requirements").mkdir()
    (folder / "requirements/more.txt").write_text("reflex>=0.8\r\ntea_from_index\r\n")
    (folder / "requirements.txt").write_text("\r\n".join(wanted))
    module = folder / "ordinary/ordinary.py"
    module.write_text(module.read_text() + IMPORTED)
    (folder / "assets/manual").mkdir(parents=True)
    (folder / "assets/manual/index.html").write_text('<a href="next.html">next</a>')
    (folder / "assets/old.txt").write_text("old")
    adopt(folder, "--data=deploy_url=https://shop.example")
    must_run("scripts/lock", cwd=folder)
    (folder / ".env").write_text("GREETING=hello\n")
    must_run("scripts/build", cwd=folder)  # it ends, whatever the thread does
    return folder


@contextlib.contextmanager
def changed(file, change):
    before = file.read_text()
    file.write_text(change(before))
    yield
    file.write_text(before)


def test_a_variable_that_the_build_lacks_is_named(app):
    (app / ".env").rename(app / "kept")
    try:
        done = run("scripts/build", cwd=app)
    finally:
        (app / "kept").rename(app / ".env")
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert "ordinary.py, line" in last
    assert "'GREETING'" in last
    assert ".env for this machine and in deploy/env.yaml" in last
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize(
    ("file", "line", "says"),
    [
        ("ordinary/ordinary.py", "import tea_that_nobody_has", "line 1: No module named 'tea_that_nobody_has'"),
        ("ordinary/ordinary.py", "def tea(:", "line 1: invalid syntax"),
        ("ordinary/ordinary.py", "1 / 0", "line 1: ZeroDivisionError: division by zero"),
        ("rxconfig.py", "def tea(:", "line 1: invalid syntax"),
        ("rxconfig.py", "raise ValueError('tea')", "line 1: ValueError: tea"),
    ],
)
def test_an_app_that_cannot_be_imported_is_explained_in_a_sentence(file, line, says, app):
    with changed(app / file, lambda text: f"{line}\n{text}"):
        done = run("scripts/build", cwd=app)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith(f"production.build: {file}, {says}")
    assert ("The pages cannot be built." in last) == ("Traceback" in done.stdout) == ("Error: " in says)
    assert "cannot be" in last


def test_an_api_url_that_is_no_address_is_named(app):
    with changed(app / "rxconfig.py", lambda text: text.replace(")", ', api_url="shop.example/")')):
        done = run("scripts/build", cwd=app)
    assert done.returncode == 1
    assert "api_url of rxconfig.py is 'shop.example/' and must start with https://" in done.stdout.splitlines()[-1]


PRIVATE = """[project]
name = "ordinary"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["reflex>=0.8", "tea_from_index"]

[tool.uv.sources]
tea_from_index = {{ index = "tea-shop" }}

[[tool.uv.index]]
name = "tea-shop"
url = "{index}"
explicit = true
"""


@pytest.mark.parametrize("place", ["the environment", "a variable of the address", "the address"])
def test_a_package_of_a_private_index_becomes_a_wheel_and_its_credentials_stay_here(place, index, tmp_path):
    app = copy_of("ordinary", tmp_path / "app")
    private = index.replace("/simple", "/private/simple")
    given = {}
    if place == "the environment":
        (app / "requirements.txt").unlink()
        (app / "pyproject.toml").write_text(PRIVATE.format(index=private))
        given = {"UV_INDEX_TEA_SHOP_USERNAME": "me", "UV_INDEX_TEA_SHOP_PASSWORD": SECRET}
    else:
        secret = SECRET if place == "the address" else "${TEA_TOKEN}"
        address = private.replace("://", f"://me:{secret}@")
        (app / "requirements.txt").write_text(f"--extra-index-url {address}\nreflex>=0.8\ntea_from_index\n")
        given = {"TEA_TOKEN": SECRET}
    adopt(app)
    give_uv(app)
    said = must_run("scripts/lock", cwd=app, **given)
    written = (app / "production/requirements.lock").read_text()
    assert re.search(r"^./production/tea_from_index-1.0-\S+.whl --hash=sha256:", written, re.MULTILINE)
    assert "tea-from-index==" not in written
    assert "/private/" not in written
    assert SECRET not in said + written


def test_a_mirror_that_asks_for_credentials_stands_for_pypi(index, tmp_path):
    """An image installs from PyPI what the developer's machine got from the mirror."""
    app = copy_of("ordinary", tmp_path / "app")
    mirror = index.replace("://", f"://me:{SECRET}@").replace("/simple", "/private/mirror")
    (app / "requirements.txt").write_text(f"--index-url {mirror}\nreflex>=0.8\n")
    adopt(app)
    give_uv(app)
    said = must_run("scripts/lock", cwd=app)
    written = (app / "production/requirements.lock").read_text()
    assert re.search(r"^reflex==\S+ \\\n    --hash=sha256:", written, re.MULTILINE)
    assert "mirror" not in written
    assert SECRET not in said + written
    assert not list((app / "production").glob("*.whl"))


WORKSPACE = """[project]
name = "ordinary"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["reflex>=0.8", "tea_from_workspace", "tea_from_index"]

[tool.uv.workspace]
members = ["parts/*"]

[tool.uv.sources]
tea_from_workspace = {{ workspace = true }}
tea_from_index = {{ index = "tea" }}

[[tool.uv.index]]
name = "tea"
url = "{index}"
explicit = true
"""


def test_a_workspace_is_locked_and_a_lock_that_fails_leaves_the_old_one(index, tmp_path):
    app = copy_of("ordinary", tmp_path / "app")
    (app / "requirements.txt").unlink()
    (app / "pyproject.toml").write_text(WORKSPACE.format(index=index))
    part = package(app / "parts/tea", "tea_from_workspace")
    must_run("uv", "lock", "--quiet", cwd=app)
    adopt(app)
    give_uv(app)
    must_run("scripts/lock", cwd=app)
    locks = ("requirements.lock", "requirements-tools.lock", "tea_from_workspace-1.0-py2.py3-none-any.whl")
    written = [(app / "production" / name).read_bytes() for name in locks]
    assert b"./production/tea_from_workspace-1.0-py2.py3-none-any.whl --hash=sha256:" in written[0]
    assert f"--extra-index-url {index}\n".encode() in written[0]
    assert b"tea-from-index==1.0 \\\n    --hash=sha256:" in written[0]
    with changed(part / "pyproject.toml", lambda text: text.replace("flit_core.buildapi", "nothing_there")):
        assert run("scripts/lock", "--upgrade", cwd=app).returncode != 0
    assert [(app / "production" / name).read_bytes() for name in locks] == written


def test_its_lock_has_no_more_than_an_image_can_install(app):
    written = (app / "production/requirements.lock").read_text()
    for place in ("git", "folder", "wheel"):
        assert re.search(rf"^./production/tea_from_{place}-1.0-\S+.whl --hash=sha256:", written, re.MULTILINE)
    assert "tea-from-index==1.0 \\\n    --hash=sha256:" in written
    assert "file:" not in written
    assert "git+" not in written
    must_run("scripts/lock", cwd=app)
    assert (app / "production/requirements.lock").read_text() == written


def test_an_asset_that_was_deleted_is_not_served(app):
    assert (app / ".web/build/client/old.txt").exists()
    (app / "assets/old.txt").unlink()
    must_run("scripts/build", cwd=app)
    assert not (app / ".web/build/client/old.txt").exists()


def test_a_folder_of_files_gets_its_slash_and_the_site_has_its_own_address(app):
    with Served(app, GREETING="hello") as served:
        served.ready()
        connection = http.client.HTTPConnection("localhost", served.port, timeout=10)
        connection.request("GET", "/manual")
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Location"]) == (302, "/manual/")
        connection.close()
        assert b"next.html" in served.get("/manual/")[2]
        assert served.get("/item/7")[0] == 200
        assert b"Sitemap: https://shop.example/sitemap.xml" in served.get("/robots.txt")[2]
        sitemap = served.get("/sitemap.xml")[2]
        assert b"https://shop.example" in sitemap
        assert b"localhost" not in sitemap


def test_an_image_gets_the_variables_of_its_deployment(app):
    (app / "deploy/env.yaml").write_text("# What the app greets with.\nGREETING: \"hello\"\nOTHER: 'it''s' # unused\n")
    with Container(built(app), GREETING="hello") as container:
        assert get(f"{container.ready().url}/")[0] == 200
        for file in ("requirements.txt", "requirements/more.txt"):  # the credentials of an index stay outside
            written = (app / file).read_text()
            assert docker("exec", container.id, "cat", file) == written.replace(f"me:{SECRET}@", "")


ELSEWHERE = """

def elsewhere():
    return rx.fragment(
        rx.image(src="https://pictures.example/a.png"),
        rx.script(src="https://scripts.example/a.js"),
        rx.el.script(rx.Var("1 + 1", _var_type=str)),
    )


app.add_page(elsewhere, route="/elsewhere")
"""


def test_the_starters_policy_lets_the_components_of_reflex_work(project, page):
    made = project()
    additions.add(made, "components")
    config = made / "rxconfig.py"  # 2,400 files take longer to compress than to build
    config.write_text(re.sub(r"(frontend_compression_formats)=\[.*\]", r"\1=[]", config.read_text()))
    said = must_run("scripts/build", cwd=made)
    assert [line for line in said.splitlines() if line.startswith("production.build")] == []
    with Served(made) as served:
        complaints = watch(page)
        page.goto(f"{served.ready().url}/parts")
        page.wait_for_load_state("networkidle")
        page.wait_for_function("window.first")
        assert page.evaluate("[window.second, window.third]") == [True, True]
        assert page.locator(".part").count() > 70
        assert complaints == []
        page.goto(served.url)  # from a page whose own scripts are others
        page.evaluate("history.pushState({}, '', '/parts'); dispatchEvent(new PopStateEvent('popstate'))")
        page.wait_for_function("window.first")
        page.goto(f"{served.url}/docs")  # what the API answers is not the template's to restrict
        expect(page).to_have_title("docs")


def test_what_the_starters_policy_rejects_is_named_by_the_build(project):
    made = project()
    module = made / "my_reflex_app/my_reflex_app.py"
    sheets = module.read_text().replace('["/styles.css"]', '["/styles.css", "https://fonts.example/css2?family=Tea"]')
    module.write_text(sheets + ELSEWHERE)
    said = [line for line in must_run("scripts/build", cwd=made).splitlines() if line.startswith("production.build")]
    for site in ("pictures", "scripts", "fonts"):
        assert any(f"https://{site}.example" in line and "in the Caddyfile" in line for line in said), said
    assert any("'unsafe-inline'" in line for line in said), said
    assert len(said) == 4, said
