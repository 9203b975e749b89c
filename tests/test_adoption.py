"""An app that is there already gets its way to production, and stays what it is."""

import shutil

import pytest
from house import ROOT, Served, build, digest, must_run, run
from playwright.sync_api import expect
from projects import copier, must_copier
from visitor import watch

EXISTING = ROOT / "tests/existing_app"
FILES = sorted(
    str(path.relative_to(EXISTING)) for path in EXISTING.rglob("*") if path.is_file() and path.suffix != ".pyc"
)


@pytest.fixture
def shop(tmp_path):
    """Have a folder with an app of several pages, a database model and assets, and its history."""
    folder = tmp_path / "shop"
    shutil.copytree(EXISTING, folder, ignore=shutil.ignore_patterns("__pycache__"))
    must_run("git", "init", "--quiet", cwd=folder)
    must_run("git", "add", "--all", cwd=folder)
    return folder


def adopt(folder, *options):
    return must_copier(
        *("copy", "--defaults", "--vcs-ref=HEAD", "--data=app_name=bookshop", *options, ROOT, "."), cwd=folder
    )


@pytest.mark.parametrize("options", [[], ["--overwrite"]], ids=str)
def test_its_own_files_are_kept(options, shop):
    before = digest(shop, FILES)
    adopt(shop, "--data=starter=false", *options)
    assert digest(shop, FILES) == before
    for file in ("Dockerfile", "start.sh", "Caddyfile", "cloudbuild.yaml", "deploy/setup", ".copier-answers.yml"):
        assert (shop / file).exists()


def test_who_does_not_say_so_is_asked_about_each_file(shop):
    """Copier asks before it replaces a file, and ends where nobody is there to ask."""
    before = digest(shop, FILES)
    done = copier("copy", "--defaults", "--vcs-ref=HEAD", "--data=app_name=bookshop", ROOT, ".", cwd=shop)
    assert done.returncode != 0
    assert "conflict" in done.stdout
    assert digest(shop, FILES) == before


def test_nothing_is_put_into_the_app(shop):
    adopt(shop, "--data=starter=false")
    assert {
        str(path.relative_to(shop))
        for name in ("bookshop", "assets")
        for path in (shop / name).rglob("*")
        if path.is_file()
    } == {file for file in FILES if file.startswith(("bookshop", "assets"))}


def test_a_copy_tells_what_is_left_to_do(shop):
    said = adopt(shop, "--data=starter=false")
    for line in (
        "mv requirements.txt requirements.in",
        "scripts/lock",
        "scripts/serve",
        "plugins=[..., ProductionPlugin()]",
    ):
        assert line in said


def test_who_forgets_to_lock_is_told(shop):
    adopt(shop, "--data=starter=false")
    done = run("scripts/bootstrap", cwd=shop)
    assert done.returncode == 1
    assert "Run: mv requirements.txt requirements.in && scripts/lock" in done.stdout


@pytest.mark.slow
def test_it_is_served(shop, page):
    before = digest(shop, FILES)
    adopt(shop, "--data=starter=false")
    must_run("mv", "requirements.txt", "requirements.in", cwd=shop)
    must_run("scripts/lock", cwd=shop)
    build(shop, "bookshop")
    with Served(shop, REFLEX_DB_URL=f"sqlite:///{shop}/shop.db") as app:
        app.ready()
        complaints = watch(page)
        page.goto(app.url)
        expect(page.locator("#total")).to_have_text("0")
        page.fill("#title", "Persuasion")
        page.click("#add")
        expect(page.locator("#books li")).to_have_text("Persuasion")
        expect(page.locator("#total")).to_have_text("1,500")
        page.goto(f"{app.url}/book/emma")
        expect(page.locator("#book")).to_have_text("emma")
        assert complaints == []
        assert app.get("/logo.svg")[2] == (EXISTING / "assets/logo.svg").read_bytes()
        assert app.get("/nothing")[0] == 404
    # Only the list of packages has another name.
    must_run("cp", "requirements.in", "requirements.txt", cwd=shop)
    assert digest(shop, FILES) == before
