"""The whole way, from an empty Google Cloud project to an open page: by hand, by a push to a trigger, from GitHub.

Real: gcloud, git, the app's image in a container for each revision, the trial. A stand-in: Google's API, which rejects
what Google rejects. The image is built once for each kind of project; tests/test_cloud_build.py builds it in the build.
"""

import json
import os
import signal
import subprocess
import time
from http.client import HTTPConnection

import pytest
import yaml

from harness.commands import clean_environment
from harness.engine import build, docker
from harness.google_cloud import FOREIGN_PROPERTIES, NUMBER, PROJECT, metadata
from harness.google_cloud import builds as cloud_build
from harness.processes import until
from harness.serving import get
from tests.variants import name

pytestmark = pytest.mark.slow

SERVICE = "my-reflex-app"
KINDS = [
    {"public": public, "state_store": store}
    for public, store in [(True, "disk"), (False, "disk"), (True, "redis"), (False, "redis")]
]
BUCKET = f"b/{PROJECT}-{SERVICE}-source"
ACCOUNT = f"projects/{PROJECT}/serviceAccounts/{SERVICE}-build@{PROJECT}.iam.gserviceaccount.com"
POOL = f"projects/{NUMBER}/locations/global/workloadIdentityPools/{SERVICE}-github/providers/github"


def by_hand(google, project):
    return google.cloud.run("deploy/now", cwd=project, **FOREIGN_PROPERTIES, **google.cloud.impersonated())


def by_trigger(google, project):
    """Push to main: Cloud Build runs the trigger's configuration of what was pushed."""
    cloud = google.cloud
    (trigger,) = (item for path, item in cloud.resources.items() if "/triggers/" in path)
    assert trigger["github"]["push"]["branch"] == "^main$"
    number = f"{len(cloud.logs) + 1:08x}-trigger"
    resource = {
        "serviceAccount": trigger["serviceAccount"],
        "repository": str(project),
        "createTime": cloud_build.created(),
        "substitutions": trigger["substitutions"] | {"COMMIT_SHA": "c0ffee"},
    }
    cloud.resources[f"projects/{PROJECT}/locations/global/builds/{number}"] = resource
    google.build(cloud, number, resource)
    code = 0 if resource["status"] == "SUCCESS" else 1
    return subprocess.CompletedProcess([], code, stdout=google.log)


def from_github(google, project, workflow="deploy", given=None, **claims):
    """Run a workflow's step as on a runner: with GitHub's token for the repository, and no key."""
    jobs = yaml.safe_load((project / f".github/workflows/{workflow}.yml").read_text())["jobs"]
    (step,) = (step for job in jobs.values() for step in job.get("steps", []) if "run" in step)
    # As long as an owner's, a repository's and a branch's names may make it.
    subject = f"repo:{'owner' * 7}/{'repository' * 10}:ref:refs/heads/main"
    claims = {"repository_id": "42", "ref": "refs/heads/main", "sub": subject} | claims
    token = google.folder / "github-token"
    token.write_text(metadata.unsigned(claims))
    email = f"{SERVICE}-build@{PROJECT}.iam.gserviceaccount.com"
    # As google-github-actions/auth writes it, into the checkout.
    credentials = project / "gha-creds-0123456789abcdef.json"
    credentials.write_text(
        json.dumps(
            {
                "type": "external_account",
                "audience": f"//iam.googleapis.com/{POOL}",
                "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                "token_url": "http://sts.google.test/v1/token",
                "service_account_impersonation_url": (
                    f"http://iamcredentials.google.test/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
                ),
                "credential_source": {"file": str(token)},
            }
        )
    )
    environment = google.cloud.environment()
    del environment["CLOUDSDK_AUTH_ACCESS_TOKEN_FILE"]
    environment |= {"CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE": str(credentials), "GITHUB_SHA": "c0ffee"}
    environment |= {"CLOUDSDK_CONFIG": str(google.folder / "config-github"), "PROJECT_ID": PROJECT}
    environment |= given or {}
    return cloud_build.commands.run("bash", "-c", step["run"], cwd=project, **environment)


@pytest.mark.parametrize("way", [by_hand, by_trigger, from_github], ids=lambda way: way.__name__)
@pytest.mark.parametrize("answers", KINDS, ids=name)
def test_from_an_empty_project_to_traffic_and_again(way, answers, cloud, google, set_up):
    running, project = google(answers)
    said = set_up(cloud, answers, "--trigger", "--github")
    assert "deploy/now" in said.splitlines()[-2]
    for number in (1, 2):
        done = way(running, project)
        assert done.returncode == 0, f"{done.stdout}\n{running.log}"
        assert len(cloud.traffic(SERVICE)) == 1
        assert cloud.tags(SERVICE) == {}
        assert cloud.is_open(SERVICE) == answers["public"]
        (serving,) = cloud.traffic(SERVICE)
        address = cloud.service(SERVICE)["status"]["revisions"][serving]
        assert get(f"{address}/")[0] == 200
        assert get(f"{address}/ping")[0] == 200
        assert len(running.containers) == number
        if way is not by_trigger:
            assert f"Deployed: {cloud.service(SERVICE)['status']['url']}" in done.stdout
            assert ("gcloud run services proxy" in done.stdout) == (not answers["public"])
    assert not any("gha-creds" in member for member in uploaded(cloud))
    if answers["public"]:
        checked = cloud.run("deploy/check", cwd=project)
        assert checked.returncode == 0, checked.stdout


def uploaded(cloud):
    """List the files of all that `gcloud builds submit` uploaded."""
    names = []
    for content in cloud.objects.values():
        listed = subprocess.run(["tar", "--list", "--gzip"], input=content, capture_output=True, check=True)
        names += listed.stdout.decode().splitlines()
    return names


class TestGitHub:
    @pytest.fixture
    def prepared(self, cloud, google, set_up):
        set_up(cloud, KINDS[0], "--trigger", "--github")
        return google(KINDS[0])

    @pytest.mark.parametrize(
        "claims",
        [{"repository_id": "43"}, {"ref": "refs/heads/feature"}, {"ref": "refs/pull/1/merge"}],
        ids=str,
    )
    def test_another_repository_or_branch_does_not_get_in(self, claims, cloud, prepared):
        before = len(cloud.changes())
        done = from_github(*prepared, **claims)
        assert done.returncode != 0
        assert "rejected by the attribute condition" in done.stdout
        assert len(cloud.changes()) == before

    @pytest.mark.parametrize(
        ("where", "role", "says"),
        [
            (BUCKET, "roles/storage.admin", "storage.objects.create|storage.buckets.get"),
            (f"projects/{PROJECT}", "roles/cloudbuild.builds.editor", "cloudbuild.builds.create"),
            (ACCOUNT, "roles/iam.workloadIdentityUser", "iam.serviceAccounts.getAccessToken"),
            (ACCOUNT, "roles/iam.serviceAccountUser", "does not have permission to act as service account"),
        ],
    )
    def test_without_a_role_it_fails_with_googles_words(self, where, role, says, cloud, prepared):
        bindings = cloud.policies[where]["bindings"]
        cloud.policies[where]["bindings"] = [binding for binding in bindings if binding["role"] != role]
        done = from_github(*prepared)
        assert done.returncode != 0
        assert any(word in done.stdout for word in says.split("|")) or "permission" in done.stdout.lower(), done.stdout


def test_an_app_behind_identity_aware_proxy_gets_traffic_and_only_those_with_the_role_enter(cloud, google):
    running, project = google({"public": False, "iap": True})
    assert cloud.run("deploy/setup", "--yes", cwd=project).returncode == 0
    done = cloud.run("deploy/now", cwd=project)
    assert done.returncode == 0, f"{done.stdout}\n{running.log}"
    assert "trial: event: passed" in running.log
    address = next(iter(cloud.service(SERVICE)["status"]["revisions"].values()))
    build = f"{SERVICE}-build@{PROJECT}.iam.gserviceaccount.com"
    now = int(time.time())

    def enter(email=build, audience=f"{address}/*"):
        token = metadata.unsigned({"iss": email, "sub": email, "aud": audience, "iat": now, "exp": now + 600})
        return get(f"{address}/ping", Authorization=f"Bearer {token}")[0]

    visitor = HTTPConnection(address.removeprefix("http://"), timeout=10)
    visitor.request("GET", "/")
    answer = visitor.getresponse()
    assert (answer.status, answer.headers["Location"].split("/")[2]) == (302, "accounts.google.com")
    visitor.close()
    assert enter() == 200
    assert enter(audience="https://other.example/*") == 401
    assert enter(email=f"stranger@{PROJECT}.iam.gserviceaccount.com") == 403


class TestStaging:
    """A Google Cloud project for staging: main is deployed to it, and each pull request beside main."""

    @pytest.fixture
    def staging(self, cloud, google):
        running, project = google(KINDS[0])
        (project / f"deploy/env.{PROJECT}.yaml").write_text('STAGE: "staging"\n')
        (project / f"deploy/secrets.{PROJECT}.yaml").write_text("")
        (project / "deploy/secrets.yaml").write_text("PAYMENT_KEY: a-secret-of-production\n")
        done = cloud.run("deploy/setup", "--yes", "--github", "--previews", cwd=project, REPOSITORY_ID="42")
        assert done.returncode == 0, done.stdout
        assert f"gh variable set STAGING_GOOGLE_CLOUD_PROJECT --body {PROJECT}" in done.stdout
        return running, project

    def on_pull_request(self, staging, output, *, closed=False):
        given = {"PREVIEW": "pr-12", "CLOSED": str(closed).lower(), "GITHUB_OUTPUT": str(output)}
        claims = {"ref": "refs/pull/12/merge", "event_name": "pull_request"}
        return from_github(*staging, workflow="staging", given=given, **claims)

    def test_a_pull_request_has_an_address_until_it_is_closed(self, cloud, staging, tmp_path):
        early = self.on_pull_request(staging, tmp_path / "early")
        assert early.returncode != 0
        assert "run deploy/now for this project first" in staging[0].log
        done = from_github(*staging, workflow="staging", given={"PREVIEW": "", "CLOSED": "false"}, event_name="push")
        assert done.returncode == 0, f"{done.stdout}\n{staging[0].log}"
        before = cloud.traffic(SERVICE)
        for _ in range(2):  # and again after another push to it
            done = self.on_pull_request(staging, tmp_path / "output")
            assert done.returncode == 0, f"{done.stdout}\n{staging[0].log}"
            assert cloud.traffic(SERVICE) == before
            assert list(cloud.tags(SERVICE)) == ["pr-12"]
            address = cloud.service(SERVICE)["status"]["revisions"][cloud.tags(SERVICE)["pr-12"]]
            assert (tmp_path / "output").read_text().splitlines()[-1] == f"address={address}"
            assert get(f"{address}/")[0] == 200
        names = {entry["name"] for entry in cloud.service(SERVICE)["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert "STAGE" in names
        assert "PAYMENT_KEY" not in names
        # A deployment of main leaves it.
        assert from_github(*staging, workflow="staging", given={"PREVIEW": ""}).returncode == 0
        assert list(cloud.tags(SERVICE)) == ["pr-12"]
        for said in ("has no address any more", "There is no preview pr-12"):
            done = self.on_pull_request(staging, tmp_path / "output", closed=True)
            assert done.returncode == 0, done.stdout
            assert said in done.stdout
            assert cloud.tags(SERVICE) == {}

    def test_a_look_that_fails_is_not_taken_for_an_end(self, cloud, project, set_up):
        set_up(cloud)
        made = project()
        assert "There is no preview pr-1." in cloud.run("deploy/now", "--end-preview=pr-1", cwd=made).stdout
        cloud.failing = {f"services/{SERVICE}"}
        done = cloud.run("deploy/now", "--end-preview=pr-1", cwd=made)
        assert done.returncode == 1
        assert "this look failed" in done.stdout
        assert "There is no preview" not in done.stdout

    def test_production_gets_no_previews(self, cloud, project):
        made = project()
        for command in (("deploy/now", "--preview=pr-12"), ("deploy/setup", "--yes", "--github", "--previews")):
            done = cloud.run(*command, cwd=made)
            assert done.returncode == 2
            assert f"the project {PROJECT} has no separate settings" in done.stdout
        assert cloud.calls == []

    @pytest.mark.parametrize("name", ["", "PR 12", "b0123abcd", "next", "p" * 40])
    def test_a_wrong_name_is_named(self, name, cloud, project):
        done = cloud.run("deploy/now", f"--preview={name}", cwd=project())
        assert done.returncode == 2
        assert f"the preview's name is '{name}'" in done.stdout
        assert cloud.calls == []


class TestFailures:
    def test_a_project_without_a_set_up_is_told_to_run_it(self, cloud, project):
        made = project()
        done = cloud.run("deploy/now", cwd=made)
        assert done.returncode == 1
        assert "Run deploy/setup" in done.stdout
        assert cloud.changes() == []

    def test_a_build_that_fails_is_reported_with_its_log(self, cloud, google, set_up):
        running, project = google(KINDS[0])
        set_up(cloud, KINDS[0])

        def refuse(_):
            msg = "The user-provided container failed to start and listen on the port defined by PORT=8080"
            raise RuntimeError(msg)

        cloud.start = refuse
        done = by_hand(running, project)
        assert done.returncode == 1
        assert "the build ended with FAILURE; the current revision keeps serving" in done.stdout
        assert "failed to start and listen on the port" in done.stdout, "the end of the build's log"
        assert "deploy/check" in done.stdout
        assert not cloud.is_open(SERVICE)

    @pytest.mark.parametrize(
        ("where", "role", "says"),
        [
            (BUCKET, "roles/storage.objectViewer", "Permission 'storage.objects.get' denied"),
            (f"projects/{PROJECT}", "roles/logging.logWriter", "Permission 'logging.logEntries.create' denied"),
        ],
    )
    def test_without_a_role_the_build_fails_with_googles_words(self, where, role, says, cloud, google, set_up):
        running, project = google(KINDS[0])
        set_up(cloud, KINDS[0])
        bindings = cloud.policies[where]["bindings"]
        cloud.policies[where]["bindings"] = [binding for binding in bindings if binding["role"] != role]
        done = by_hand(running, project)
        assert done.returncode == 1
        assert says in running.log

    def test_a_build_goes_on_when_the_command_is_interrupted(self, cloud, google, set_up):
        running, project = google(KINDS[0])
        set_up(cloud, KINDS[0])
        command = subprocess.Popen(
            ["deploy/now"],
            cwd=project,
            env=clean_environment(**cloud.environment()),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until(lambda: any("/builds/" in path for path in cloud.resources), 60)
        os.killpg(command.pid, signal.SIGINT)
        assert command.wait(20) != 0
        until(lambda: cloud.logs or running.failures, 120)
        assert running.failures == []
        assert len(cloud.traffic(SERVICE)) == 1, running.log
        assert by_hand(running, project).returncode == 0

    def test_an_unknown_option_is_named(self, cloud, project):
        done = cloud.run("deploy/now", "--fast", cwd=project())
        assert done.returncode == 2
        assert "unknown option '--fast'" in done.stdout
        assert cloud.calls == []


def test_nothing_secret_is_uploaded(cloud, project):
    """Whatever lies in the folder of an app: no credentials leave it."""
    made = project()
    secret = [
        "gha-creds-0123.json",
        ".env",
        ".env.production",
        "key.pem",
        "private.key",
        "my-project-0a1b2c3d4e5f.json",
    ]
    inside = ["my_reflex_app/.env", "my_reflex_app/key.pem", "my_reflex_app/gha-creds-1.json", "assets/server.key"]
    for canary in (*secret, *inside, ".git/config", ".ssh/id_ed25519", ".config/gcloud/credentials.db"):
        (made / canary).parent.mkdir(parents=True, exist_ok=True)
        (made / canary).write_text("a-secret\n")
    (made / "assets/logo.svg").write_text("<svg/>\n")
    listed = cloud.run("gcloud", "meta", "list-files-for-upload", cwd=made)
    assert listed.returncode == 0, listed.stdout
    names = listed.stdout.splitlines()
    assert not any("a-secret" in (made / path).read_text(errors="replace") for path in names if (made / path).exists())
    assert {"assets/logo.svg", "Dockerfile", "cloudbuild.yaml", "deploy/build/candidate", "my_reflex_app/state.py"} <= {
        *names
    }
    # and none is in the image's context
    image = "canaries:test"
    build(made, image, "--target=pages")
    search = "grep --recursive --files-with-matches --exclude-dir=node_modules a-secret /app || test $? = 1"
    assert docker("run", "--rm", "--entrypoint=sh", image, "-c", search) == ""
