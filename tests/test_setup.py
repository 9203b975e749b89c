"""deploy/setup and deploy/teardown, run by the real gcloud on a stand-in for Google's API."""

import copy
import shutil

import pytest
from cloud_run import PROJECT
from google_cloud import NUMBER, GoogleCloud
from house import ROOT, must_run, run
from variants import name

pytestmark = pytest.mark.slow

SERVICE = "my-reflex-app"
BUILD = f"{SERVICE}-build@{PROJECT}.iam.gserviceaccount.com"
RUNTIME = f"{SERVICE}-runtime@{PROJECT}.iam.gserviceaccount.com"
ACCOUNTS = f"projects/{PROJECT}/serviceAccounts"
REDIS = {"state_store": "redis"}


@pytest.fixture
def made(project, request):
    """Make a project with an origin on GitHub; the test's parameter is its answers."""
    return with_origin(project(getattr(request, "param", REDIS)))


def with_origin(folder):
    must_run("git", "init", "-q", cwd=folder)
    must_run("git", "remote", "add", "origin", "git@github.com:OWNER/REPOSITORY.git", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def prepared(render, tmp_path_factory):
    """Prepare a Google Cloud project with all that there is, for the tests that only look at it; and what was said."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copytree(render(REDIS), folder / "project")
    with_origin(folder / "project")
    with GoogleCloud(folder / "google") as google:
        said = setup(google, folder / "project", "--github", "--trigger")
        yield google, said


def setup(cloud, project, *options):
    done = cloud.run("deploy/setup", "--yes", *options, cwd=project)
    assert done.returncode == 0, done.stdout
    return done.stdout


def memory(cloud):
    """Sum up what Google would know: resources, who may do what, APIs."""
    bindings = {
        path: sorted((binding["role"], *sorted(binding["members"])) for binding in policy.get("bindings", []))
        for path, policy in cloud.policies.items()
    }
    return copy.deepcopy((cloud.resources, bindings, sorted(cloud.enabled)))


@pytest.mark.parametrize("made", [{}, REDIS], ids=name, indirect=True)
def test_a_second_run_ends_the_same(cloud, made):
    setup(cloud, made, "--github", "--trigger")
    first = memory(cloud)
    setup(cloud, made, "--github", "--trigger")
    assert memory(cloud) == first


def test_a_run_after_one_that_broke_off_ends_the_same(cloud, made):
    setup(cloud, made)
    assert not any("/triggers/" in path or "/b/" in path for path in cloud.resources), "nobody asked for these"
    whole = memory(cloud)
    for path in list(cloud.resources):
        if "secrets" in path or "subnetworks" in path or "-build@" in path:
            del cloud.resources[path]
            cloud.policies.pop(path, None)
    setup(cloud, made)
    assert memory(cloud) == whole


@pytest.mark.parametrize("made", [{}, REDIS], ids=name, indirect=True)
def test_teardown_removes_all_that_setup_made(cloud, made):
    before = memory(cloud)[0]
    setup(cloud, made, "--github", "--trigger")
    secret = f"projects/{PROJECT}/secrets/stripe-key"
    cloud.resources[secret] = {"name": secret, "versions": ["c2VjcmV0"]}
    (made / "deploy/secrets.yaml").write_text("STRIPE_KEY: stripe-key\n")
    setup(cloud, made)
    for _ in range(2):
        done = cloud.run("deploy/teardown", "--yes", cwd=made)
        assert done.returncode == 0, done.stdout
        left = {
            path
            for path, item in cloud.resources.items()
            if item.get("state") != "DELETED" and "/providers/" not in path
        }
        assert left == {*before, secret}, "a secret that somebody made by hand stays"
        assert not any(BUILD in str(policy) or RUNTIME in str(policy) for policy in cloud.policies.values())
    # Google keeps the name of a pool for 30 days.
    setup(cloud, made, "--github")
    pool = cloud.resources[f"projects/{PROJECT}/locations/global/workloadIdentityPools/{SERVICE}-github"]
    assert pool["state"] == "ACTIVE"


def test_the_accounts_may_do_what_they_must_and_no_more(cloud, made):
    setup(cloud, made)
    project = {binding["role"]: binding["members"] for binding in cloud.policies[f"projects/{PROJECT}"]["bindings"]}
    assert project == {
        role: [f"serviceAccount:{BUILD}"]
        for role in ("roles/logging.logWriter", "roles/run.admin", "roles/run.invoker", "roles/storage.objectViewer")
    }
    condition = next(b["condition"] for b in cloud.policies[f"projects/{PROJECT}"]["bindings"] if "condition" in b)
    assert condition["expression"] == f'resource.name.startsWith("projects/_/buckets/{PROJECT}_cloudbuild")'
    assert cloud.members(f"{ACCOUNTS}/{RUNTIME}", "roles/iam.serviceAccountUser") == [f"serviceAccount:{BUILD}"]
    images = f"projects/{PROJECT}/locations/us-central1/repositories/{SERVICE}"
    assert cloud.members(images, "roles/artifactregistry.writer") == [f"serviceAccount:{BUILD}"]
    url = f"projects/{PROJECT}/secrets/{SERVICE}-redis-url"
    assert cloud.members(url, "roles/secretmanager.secretAccessor") == [f"serviceAccount:{RUNTIME}"]
    assert cloud.members(url, "roles/secretmanager.viewer") == [f"serviceAccount:{BUILD}"]
    given = [path for path, policy in cloud.policies.items() if RUNTIME in str(policy)]
    assert given == [url], "the app may read its secrets and do nothing else"


def test_old_images_go_and_the_newest_stay(prepared):
    cloud, _ = prepared
    policies = cloud.resources[f"projects/{PROJECT}/locations/us-central1/repositories/{SERVICE}"]["cleanupPolicies"]
    assert policies["old"]["action"].upper() == "DELETE"
    assert policies["newest"]["mostRecentVersions"]["keepCount"] == 10


def test_redis_is_in_a_network_of_its_own_with_a_password(prepared):
    cloud, said = prepared
    redis = cloud.resources[f"projects/{PROJECT}/locations/us-central1/instances/{SERVICE}-redis"]
    assert (redis["tier"], redis["memorySizeGb"], redis["authEnabled"]) == ("BASIC", 1, True)
    assert redis["redisConfigs"] == {"notify-keyspace-events": "K$sgxe"}
    assert redis["authorizedNetwork"] == f"projects/{PROJECT}/global/networks/{SERVICE}"
    read = cloud.run("gcloud", "secrets", "versions", "access", "latest", f"--secret={SERVICE}-redis-url", cwd=ROOT)
    assert read.stdout == "redis://:a-password@10.8.1.3:6379/0"
    assert "a-password" not in said


def test_github_gets_in_without_a_key_from_main_only(prepared):
    cloud, said = prepared
    pool = f"projects/{PROJECT}/locations/global/workloadIdentityPools/{SERVICE}-github"
    provider = cloud.resources[f"{pool}/providers/github"]
    assert provider["oidc"]["issuerUri"] == "https://token.actions.githubusercontent.com"
    assert "assertion.repository == 'OWNER/REPOSITORY'" in provider["attributeCondition"]
    assert "assertion.ref == 'refs/heads/main'" in provider["attributeCondition"]
    who = f"principalSet://iam.googleapis.com/{pool.replace(PROJECT, NUMBER)}/attribute.repository/OWNER/REPOSITORY"
    assert cloud.members(f"{ACCOUNTS}/{BUILD}", "roles/iam.workloadIdentityUser") == [who]
    assert f"gh variable set DEPLOY_ACCOUNT --body {BUILD}" in said


def test_a_push_to_main_deploys_where_the_trigger_is_asked_for(prepared):
    cloud, _ = prepared
    trigger = cloud.resources[f"projects/{PROJECT}/locations/global/triggers/{SERVICE}"]
    assert trigger["github"] == {"owner": "OWNER", "name": "REPOSITORY", "push": {"branch": "^main$"}}
    assert trigger["filename"] == "cloudbuild.yaml"
    assert trigger["serviceAccount"].endswith(BUILD)
    assert trigger["substitutions"] == {"_SOURCE": "https://github.com/OWNER/REPOSITORY"}


def test_a_secret_that_is_not_there_yet_is_named(cloud, made):
    (made / "deploy/secrets.yaml").write_text("STRIPE_KEY: stripe-key\n")
    assert "Still missing in Secret Manager, and named in deploy/secrets.yaml: stripe-key" in setup(cloud, made)


@pytest.mark.parametrize("script", ["setup", "teardown"])
class TestNothingIsDone:
    def test_by_a_dry_run(self, script, cloud, made):
        done = cloud.run(f"deploy/{script}", "--dry-run", cwd=made)
        assert done.returncode == 0, done.stdout
        assert cloud.calls == []
        assert "+ gcloud " in done.stdout

    def test_when_nobody_is_there_to_ask(self, script, cloud, made):
        done = cloud.run(f"deploy/{script}", cwd=made)
        assert done.returncode == 2
        assert "Run it again with --yes" in done.stdout
        assert cloud.calls == []

    def test_when_the_answer_is_no(self, script, cloud, made):
        done = cloud.run(
            "script", "--quiet", "--return", "--command", f"echo n | deploy/{script}", "/dev/null", cwd=made
        )
        assert done.returncode != 0
        assert cloud.calls == []

    def test_by_an_unknown_option(self, script, cloud, made):
        done = cloud.run(f"deploy/{script}", "--all", cwd=made)
        assert done.returncode == 2
        assert "'--all' is no option" in done.stdout
        assert cloud.calls == []

    def test_without_a_project(self, script, cloud, made):
        done = cloud.run(f"deploy/{script}", "--yes", cwd=made, CLOUDSDK_CORE_PROJECT="")
        assert done.returncode == 2
        assert "gcloud config set project PROJECT_ID" in done.stdout
        assert cloud.changes() == []


def test_a_project_that_is_not_there_is_told_before_anything_is_made(cloud, made):
    done = cloud.run("deploy/setup", "--yes", cwd=made, PROJECT_ID="no-such-project")
    assert done.returncode != 0
    assert "no-such-project" in done.stdout
    assert cloud.changes() == []


def test_an_origin_elsewhere_is_an_error_that_says_what_to_do(cloud, made):
    must_run("git", "remote", "set-url", "origin", "https://example.com/me/app.git", cwd=made)
    done = cloud.run("deploy/setup", "--yes", "--trigger", cwd=made)
    assert done.returncode == 2
    assert "origin is 'https://example.com/me/app.git' and must be on GitHub" in done.stdout
    assert cloud.calls == []


@pytest.mark.parametrize("length", [1, 22, 23, 42])
def test_the_names_that_follow_from_the_services_are_allowed(length, render):
    service = "s" * length
    project = render({"service_name": service, "state_store": "redis"})
    said = run("deploy/setup", "--dry-run", cwd=project, PROJECT_ID=PROJECT).stdout
    creations = [line.split() for line in said.splitlines() if " create " in line]
    accounts = [words[5] for words in creations if words[2:4] == ["iam", "service-accounts"]]
    assert len(accounts) == 2
    assert all(6 <= len(account) <= 30 for account in accounts)
    assert [len(words[5]) <= 40 for words in creations if words[2] == "redis"] == [True]
