"""Cloud SQL, from deploy/setup to deploy/teardown: migrations before traffic, and data that nothing loses.

Real: gcloud, PostgreSQL, the app's image in containers, which reach the database by the socket that Cloud Run offers. A
stand-in: Google's API.
"""

import base64
import copy
import json
import math

import pytest
from playwright.sync_api import expect

from harness.commands import must_run
from harness.engine import built
from harness.google_cloud import PROJECT, steps
from harness.google_cloud.interruptions import interrupted
from harness.history import commit
from harness.postgres_server import postgres_server
from harness.projects import copy_files
from harness.serving import get
from harness.visitor import open_page

pytestmark = pytest.mark.slow

ANSWERS = {"database": "postgres"}
SERVICE = "my-reflex-app"
INSTANCE = f"projects/{PROJECT}/instances/{SERVICE}-db"
URL = f"projects/{PROJECT}/secrets/{SERVICE}-db-url"
RUNTIME = f"serviceAccount:{SERVICE}-runtime@{PROJECT}.iam.gserviceaccount.com"
FIELD = "    text: str = Field(max_length=280)\n"


@pytest.fixture
def postgres(cloud):
    with postgres_server() as server:
        cloud.postgres = server
        yield server


def set_up(cloud, project):
    done = cloud.run("deploy/setup", "--yes", cwd=project)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.usefixtures("postgres")
class TestSetUp:
    def test_twice_with_its_cost_first(self, cloud, postgres, render, tmp_path):
        project = copy_files(render(ANSWERS), tmp_path / "project")
        said = set_up(cloud, project)
        assert said.index("idle: 9 USD a month, of which the database 9") < said.index("+ gcloud services enable")
        assert cloud.resources[INSTANCE]["settings"]["deletionProtectionEnabled"] is True
        assert cloud.members(f"projects/{PROJECT}", "roles/cloudsql.client") == [RUNTIME]
        assert postgres.sql("SELECT datname FROM pg_database WHERE datname = 'app'") == "app"
        (password,) = cloud.resources[INSTANCE]["users"].values()
        assert len(password) == 48
        assert password not in said
        before = len(cloud.changes())
        set_up(cloud, project)
        assert [
            call.path for call in cloud.changes()[before:] if "instances" in call.path or "secrets:" in call.path
        ] == []
        assert cloud.resources[INSTANCE]["users"] == {"app": password}

    def test_a_secret_that_cannot_be_read_is_not_replaced(self, cloud, render, tmp_path):
        """A new password would shut the running app out of its database."""
        project = copy_files(render(ANSWERS), tmp_path / "project")
        set_up(cloud, project)
        before = cloud.resources[INSTANCE]["users"], cloud.resources[URL]["versions"]
        before = copy.deepcopy(before)
        cloud.failing = {"versions/latest"}
        done = cloud.run("deploy/setup", "--yes", cwd=project)
        assert done.returncode == 1
        assert "this look failed" in done.stdout
        assert "shut the running app out of its database" in done.stdout
        assert (cloud.resources[INSTANCE]["users"], cloud.resources[URL]["versions"]) == before
        cloud.failing = set()
        set_up(cloud, project)
        assert (cloud.resources[INSTANCE]["users"], cloud.resources[URL]["versions"]) == before

    def test_a_run_that_was_interrupted_is_finished(self, cloud, render, tmp_path):
        project = copy_files(render(ANSWERS), tmp_path / "project")

        def cut_off(google, call):
            if call.path.endswith("/users"):
                google.requests_left = 0

        cloud.after = cut_off
        assert cloud.run("deploy/setup", "--yes", cwd=project).returncode != 0
        cloud.after, cloud.requests_left = None, math.inf
        set_up(cloud, project)
        assert len(cloud.resources[URL]["versions"]) == 1

    def test_without_a_public_address_where_the_organization_forbids_one(self, cloud, project):
        made = project(ANSWERS | {"database_network": "private"})
        cloud.enabled.add("orgpolicy.googleapis.com")
        cloud.constraints.add("sql.restrictPublicIp")
        set_up(cloud, made)
        network = f"projects/{PROJECT}/global/networks/{SERVICE}"
        addresses = cloud.resources[INSTANCE]["settings"]["ipConfiguration"]
        assert addresses["ipv4Enabled"] is False
        assert addresses["privateNetwork"].endswith(network)
        assert [item["network"] for item in cloud.peerings] == [network]
        steps.deploy(cloud, made)
        notes = cloud.service(SERVICE)["spec"]["template"]["metadata"]["annotations"]
        assert json.loads(notes["run.googleapis.com/network-interfaces"]) == [
            {"network": SERVICE, "subnetwork": SERVICE}
        ]
        job = cloud.resources[f"namespaces/{PROJECT}/jobs/{SERVICE}-migrate"]
        assert f'"network":"{SERVICE}"' in json.dumps(job).replace("\\", "").replace(": ", ":")
        # The network stays as long as the database does.
        done = cloud.run("deploy/teardown", "--yes", cwd=made)
        assert done.returncode == 0, done.stdout
        assert network in cloud.resources
        done = cloud.run("deploy/teardown", "--yes", f"--database={SERVICE}-db", cwd=made)
        assert done.returncode == 0, done.stdout
        assert not any("network" in path or "addresses" in path for path in cloud.resources)
        assert cloud.peerings == []

    def test_a_dry_run_changes_nothing(self, cloud, render, tmp_path):
        project = copy_files(render(ANSWERS), tmp_path / "project")
        done = cloud.run("deploy/setup", "--dry-run", cwd=project)
        assert done.returncode == 0, done.stdout
        assert "gcloud sql instances create my-reflex-app-db" in done.stdout
        assert cloud.changes() == []


@pytest.mark.usefixtures("postgres")
class TestTearDown:
    def test_the_data_goes_only_with_its_name_and_leaves_a_backup(self, cloud, render, tmp_path):
        project = copy_files(render(ANSWERS), tmp_path / "project")
        set_up(cloud, project)
        for options in ([], ["--database=another"]):
            done = cloud.run("deploy/teardown", "--yes", *options, cwd=project)
            assert done.returncode == 0, done.stdout
            assert f"deploy/teardown --database={SERVICE}-db" in done.stdout
            assert {INSTANCE, URL} <= cloud.resources.keys()
        done = cloud.run("deploy/teardown", "--yes", f"--database={SERVICE}-db", cwd=project)
        assert done.returncode == 0, done.stdout
        assert not {INSTANCE, URL} & cloud.resources.keys()
        assert cloud.backups == [f"{SERVICE}-db"]
        assert "backup" in done.stdout


class TestRestore:
    TIME = "2026-01-31T15:04:05Z"
    COPY = f"{SERVICE}-db-20260131150405"

    @pytest.fixture
    def lost(self, cloud, postgres, project):
        """Have a database that was emptied by mistake, and Google's memory of it as it was before."""
        made = project(ANSWERS)
        set_up(cloud, made)
        postgres.sql("CREATE TABLE note (text text); GRANT ALL ON note TO app", "app")
        postgres.sql("INSERT INTO note VALUES ('kept')", "app")
        past = {self.TIME.replace("Z", ""): postgres.dump()}
        postgres.sql("DELETE FROM note", "app")
        with postgres_server() as other:

            def copy_of(moment):
                other.load(past[moment[:19]])
                return other

            cloud.copy_of = copy_of
            yield made

    def test_the_next_deployment_has_the_data_as_it_was_and_the_present_database_is_left_alone(
        self, cloud, postgres, lost
    ):
        listed = cloud.run("deploy/restore", cwd=lost)
        assert listed.returncode == 0, listed.stdout
        assert "SUCCESSFUL" in listed.stdout
        before = copy.deepcopy((cloud.resources[INSTANCE], cloud.resources[URL]))
        done = cloud.run("deploy/restore", "--yes", self.TIME, cwd=lost)
        assert done.returncode == 0, done.stdout
        assert (cloud.resources[INSTANCE], cloud.resources[URL]) == before
        assert (lost / f"deploy/database.{PROJECT}").read_text() == f"{self.COPY}\n"
        started = []
        cloud.start = lambda description: started.append(description) or "http://localhost:1"
        steps.deploy(cloud, lost)
        (description,) = started
        (url,) = (entry["value"] for entry in description["env"] if entry["name"] == "REFLEX_DB_URL")
        (place, folder) = next(iter(description["sockets"].items()))
        assert place.endswith(f":{self.COPY}")
        assert f"host={place}&" in url
        password = url.partition("app:")[2].partition("@")[0]
        found = must_run(
            *("psql", "--tuples-only", "--no-align", "--command=SELECT text FROM note"),
            f"postgresql://app:{password}@/app?host={folder}",
            cwd=lost,
        )
        assert found.strip() == "kept"
        assert postgres.sql("SELECT count(*) FROM note", "app") == "0"
        for said in (f"{self.COPY} is the app's database already", "Usage: deploy/restore"):
            option = "--help" if "Usage" in said else self.TIME
            again = cloud.run("deploy/restore", "--yes", option, cwd=lost)
            assert again.returncode == 0, again.stdout
            assert said in again.stdout

    def test_one_that_breaks_off_at_any_request_ends_the_same_when_it_is_run_again(self, cloud, lost):
        made = cloud.copy_of(self.TIME)
        cloud.copy_of = lambda _: made
        chosen, secret = lost / f"deploy/database.{PROJECT}", f"projects/{PROJECT}/secrets/{self.COPY}-url"

        def restore():
            return cloud.run("deploy/restore", "--yes", self.TIME, cwd=lost)

        def state():
            secrets = cloud.resources.get(secret, {}).get("versions", [])
            return chosen.exists(), sorted(cloud.resources), secrets, cloud.policies.get(secret)

        present = copy.deepcopy((cloud.resources[INSTANCE], cloud.resources[URL]))
        for left in interrupted(cloud, restore, state, reset=lambda: chosen.unlink(missing_ok=True)):
            assert not left[0], "the next deployment would take a copy that is not whole"
            assert (cloud.resources[INSTANCE], cloud.resources[URL]) == present

    def test_an_address_of_another_form_is_not_guessed(self, cloud, lost):
        cloud.resources[URL]["versions"] = [base64.b64encode(b"postgresql://elsewhere/app").decode()]
        done = cloud.run("deploy/restore", "--yes", self.TIME, cwd=lost)
        assert done.returncode == 1
        assert f"does not name the instance {SERVICE}-db" in done.stdout
        assert not (lost / f"deploy/database.{PROJECT}").exists()

    @pytest.mark.parametrize("moment", ["yesterday", "2026-01-31", "2999-01-01T00:00:00Z"])
    def test_a_moment_that_is_none_is_named(self, moment, cloud, lost):
        before = len(cloud.changes())
        done = cloud.run("deploy/restore", "--yes", moment, cwd=lost)
        assert done.returncode == 2
        assert f"TIME is '{moment}'" in done.stdout
        assert len(cloud.changes()) == before


def add_note(page, url, text):
    open_page(page, f"{url}/notes")
    page.fill("#text", text)
    page.click("#add")
    expect(page.locator("#notes li").first).to_have_text(text)


def change_the_model(project):
    models = project / "my_reflex_app/models.py"
    models.write_text(models.read_text().replace(FIELD, f'{FIELD}    author: str = "nobody"\n'))


@pytest.mark.long
def test_four_deployments(cloud, google, postgres, page):
    running, project = google(ANSWERS)
    set_up(cloud, project)

    # The first: the tables are there before anybody gets in.
    done = cloud.run("deploy/now", cwd=project)
    assert done.returncode == 0, f"{done.stdout}\n{running.log}"
    (first,) = cloud.traffic(SERVICE)
    first_url = cloud.service(SERVICE)["status"]["revisions"][first]
    add_note(page, first_url, "the first")
    checked = cloud.run("deploy/check", cwd=project)
    assert checked.returncode == 0, checked.stdout
    assert "the database runs" in checked.stdout

    # A model without its migration: the build fails, the current revision keeps serving.
    change_the_model(project)
    commit(project, "Change the model")
    running.image = built(project)
    done = cloud.run("deploy/now", cwd=project)
    assert done.returncode == 1
    assert "the models differ from the migrations. Run: .venv/bin/reflex db makemigrations" in running.log
    assert list(cloud.traffic(SERVICE)) == [first]
    add_note(page, first_url, "still there")

    # With it: both revisions see all notes, old and new.
    local = {"REFLEX_DB_URL": f"sqlite:///{project}/reflex.db"}
    must_run(".venv/bin/reflex", "db", "migrate", cwd=project, **local)
    must_run(".venv/bin/reflex", "db", "makemigrations", cwd=project, **local)
    commit(project, "Add the migration")
    running.image = built(project)
    done = cloud.run("deploy/now", cwd=project)
    assert done.returncode == 0, f"{done.stdout}\n{running.log}"
    (second,) = cloud.traffic(SERVICE)
    second_url = cloud.service(SERVICE)["status"]["revisions"][second]
    add_note(page, second_url, "the second")
    assert page.locator("#notes li").all_inner_texts() == ["the second", "still there", "the first"]

    # A migration that PostgreSQL rejects: nothing of it stays.
    (newest,) = (path for path in (project / "alembic/versions").glob("*.py") if "_notes_" not in path.name)
    down = newest.stem.rpartition("_")[2]
    broken = project / "alembic/versions/20991231_broken_ffffffffffff.py"
    # Of its two statements the first alone would empty the table.
    broken.write_text(
        "\n".join(
            [
                '"""Break."""',
                "from alembic import op",
                'revision = "ffffffffffff"',
                f'down_revision = "{down}"',
                "def upgrade():",
                '    op.execute("DELETE FROM note")',
                '    op.execute("ALTER TABLE nothing ADD x int")',
            ]
        )
    )
    commit(project, "Break the migration")
    running.image = built(project)
    done = cloud.run("deploy/now", cwd=project)
    assert done.returncode == 1
    assert 'relation "nothing" does not exist' in running.log
    assert list(cloud.traffic(SERVICE)) == [second]
    assert postgres.sql("SELECT count(*) FROM note", "app") == "3"

    # Back to the first revision, which lives with the newer tables.
    back = ("run", "services", "update-traffic", SERVICE, "--region=us-central1", f"--to-revisions={first}=100")
    done = cloud.run("gcloud", *back, cwd=project)
    assert done.returncode == 0, done.stdout
    add_note(page, first_url, "back again")
    assert get(f"{first_url}/ping")[0] == 200
    assert postgres.sql("SELECT author FROM note WHERE text = 'back again'", "app") == "nobody"
