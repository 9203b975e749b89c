"""A database that survives: in a file, in a container, and on Cloud SQL; a real PostgreSQL where it is one."""

import re
import time
from itertools import product

import pytest
import yaml
from playwright.sync_api import expect

from harness.commands import must_run, run
from harness.postgres_server import postgres_server
from harness.processes import until
from harness.serving import Served
from harness.visitor import open_page, watch

FILES = [
    "production/migrate.py",
    "alembic.ini",
    "alembic/script.py.mako",
    "my_reflex_app/models.py",
    "my_reflex_app/pages/notes.py",
]
FIELD = "    text: str = Field(max_length=280)\n"


@pytest.fixture
def postgres():
    with postgres_server() as server:
        yield server


def migrate(project, **environment):
    return run(".venv/bin/python", "-m", "production.migrate", cwd=project, **environment)


def add_a_field(project):
    """Change the model as an owner would, without a migration."""
    models = project / "my_reflex_app/models.py"
    models.write_text(models.read_text().replace(FIELD, f'{FIELD}    author: str = ""\n'))


def add_note(page, url, text):
    open_page(page, f"{url}/notes")
    page.fill("#text", text)
    page.click("#add")
    expect(page.locator("#notes li").first).to_have_text(text)


class TestFiles:
    def test_who_wants_none_gets_nothing_of_it(self, render):
        project = render()
        assert [file for file in FILES if (project / file).exists()] == []
        for file in (
            "pyproject.toml",
            "requirements.txt",
            "production/environment.sh",
            "deploy/setup",
            "compose.yaml",
            "README.md",
        ):
            assert not re.search(r"alembic|sqlmodel|Cloud SQL|REFLEX_DB_URL", (project / file).read_text()), file

    @pytest.mark.parametrize("database", ["sqlite", "postgres"])
    def test_who_wants_one_gets_all_of_it(self, database, render):
        project = render({"database": database})
        assert [file for file in FILES if not (project / file).exists()] == []
        assert ("psycopg" in (project / "requirements.txt").read_text()) == (database == "postgres")
        services = yaml.safe_load((project / "compose.yaml").read_text())["services"]
        assert ("postgres" in services) == (database == "postgres")
        assert services["app"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}

    def test_connections_stay_below_what_the_instance_has(self, render):
        limits = {"db-f1-micro": 25, "db-g1-small": 50, "db-custom-1-3840": 100, "db-custom-2-7680": 400}
        limits |= {"db-custom-4-15360": 500, "db-custom-8-30720": 600}
        tiers = set()
        for instances, workers in product([1, 3, 20, 100], [1, 4]):
            if instances * workers > 148:
                continue
            answers = {"database": "postgres", "state_store": "redis", "max_instances": instances, "workers": workers}
            project = render(answers)
            tier = re.search(r"--tier=(db-\S+)", (project / "deploy/setup").read_text())[1]
            pool = int(re.search(r"POOL_SIZE:-(\d+)", (project / "production/environment.sh").read_text())[1])
            assert pool >= 2
            # Old and new instances run side by side during a deployment.
            assert 2 * instances * workers * pool < limits[tier]
            tiers.add(tier)
        assert len(tiers) >= 3

    @pytest.mark.slow
    def test_sqlite_is_rejected_on_cloud_run(self, cloud, project):
        made = project({"database": "sqlite"})
        for command in ("deploy/setup", "deploy/now", "deploy/check"):
            done = cloud.run(command, cwd=made)
            assert done.returncode == 2
            assert "uvx copier update --data database=postgres" in done.stdout
        assert cloud.calls == []
        (made / ".web/build/client").mkdir(parents=True)
        (made / ".web/build/routes.caddy").touch()
        done = run("./start.sh", cwd=made, K_SERVICE="my-reflex-app")
        assert done.returncode == 2
        assert "Cloud Run deletes files" in done.stdout


@pytest.mark.slow
class TestMigrations:
    @pytest.fixture
    def made(self, project):
        return project({"database": "postgres"})

    def test_up_from_empty_twice_and_with_a_new_one(self, made, postgres):
        for _ in range(2):
            done = migrate(made, REFLEX_DB_URL=postgres.url())
            assert done.returncode == 0, done.stdout
        postgres.sql("INSERT INTO note (text) VALUES ('kept')")
        add_a_field(made)
        done = migrate(made, REFLEX_DB_URL=postgres.url())
        assert done.returncode == 1
        assert "the models differ from the migrations. Run: .venv/bin/reflex db makemigrations" in done.stdout
        must_run(".venv/bin/reflex", "db", "makemigrations", cwd=made, REFLEX_DB_URL=postgres.url())
        done = migrate(made, REFLEX_DB_URL=postgres.url())
        assert done.returncode == 0, done.stdout
        assert postgres.sql("SELECT text, author FROM note") == "kept|"

    def test_models_without_migrations_are_named(self, made, postgres):
        (made / "alembic.ini").unlink()
        done = migrate(made, REFLEX_DB_URL=postgres.url())
        assert done.returncode == 1
        assert "Run: .venv/bin/reflex db init" in done.stdout

    def test_an_older_version_of_the_app_is_told_to_switch_traffic(self, made, postgres):
        assert migrate(made, REFLEX_DB_URL=postgres.url()).returncode == 0
        postgres.sql("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        done = migrate(made, REFLEX_DB_URL=postgres.url())
        assert done.returncode == 1
        assert "switch traffic to the earlier revision" in done.stdout

    def test_a_database_that_does_not_answer_is_named_without_its_password(self, made):
        started = time.monotonic()
        url = "postgresql+psycopg://app:se/cret@127.0.0.1:1/app?connect_timeout=5"
        done = migrate(made, REFLEX_DB_URL=url.replace("/cret", "%2Fcret"))
        assert done.returncode == 1
        assert "127.0.0.1:1" in done.stdout
        assert "cret" not in done.stdout
        assert time.monotonic() - started < 20


@pytest.mark.slow
class TestServed:
    def test_a_file_without_any_set_up(self, project, page):
        made = project({"database": "sqlite"}, built=True)
        must_run(".venv/bin/python", "-m", "production.migrate", cwd=made)
        for text in ("first", "second"):
            with Served(made) as app:
                complaints = watch(page)
                add_note(page, app.ready().url, text)
                assert complaints == []
                shown = page.locator("#notes li").all_inner_texts()
                page.goto("about:blank")
        assert shown == ["second", "first"]

    def test_two_instances_and_an_outage(self, project, postgres, redis_url, browser):
        made = project({"database": "postgres", "state_store": "redis"}, built=True)
        given = {"REFLEX_DB_URL": postgres.url(), "REFLEX_REDIS_URL": redis_url}
        must_run(".venv/bin/python", "-m", "production.migrate", cwd=made, **given)
        with Served(made, **given) as one, Served(made, **given) as two:
            pages = [browser.new_context().new_page() for _ in range(2)]
            add_note(pages[0], one.ready().url, "from the first")
            pages[1].goto(f"{two.ready().url}/notes")
            expect(pages[1].locator("#notes li")).to_have_text(["from the first"])

            postgres.stop()
            started = time.monotonic()
            pages[0].fill("#text", "lost")
            pages[0].click("#add")
            until(lambda: "connection" in one.log.lower() and "psycopg" in one.log.lower(), 15)
            assert one.get("/ping")[0] == 200
            assert time.monotonic() - started < 15, "an event ends, whether it works or not"

            postgres.start()
            add_note(pages[0], one.url, "back again")
            pages[1].reload()
            expect(pages[1].locator("#notes li").first).to_have_text("back again")
            for tab in pages:
                tab.context.close()

    def test_a_database_that_is_away_at_the_start_keeps_nobody_from_the_pages(self, project, page):
        made = project({"database": "postgres"}, built=True)
        with Served(made, REFLEX_DB_URL="postgresql+psycopg://app@127.0.0.1:1/app?connect_timeout=5") as app:
            open_page(page, app.ready().url)
            page.click("#increment")
            expect(page.locator("#count")).to_have_text("1")
