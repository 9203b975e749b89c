"""deploy/setup, deploy/check and deploy/teardown, run by the real gcloud on a stand-in for Google's API."""

import copy
import math

import pytest

from harness.caches import ROOT
from harness.commands import must_run, run
from harness.google_cloud import FOREIGN_PROPERTIES, NUMBER, PERSON, PROJECT, GoogleCloud
from tests.variants import name

pytestmark = pytest.mark.slow

SERVICE = "my-reflex-app"
BUILD = f"{SERVICE}-build@{PROJECT}.iam.gserviceaccount.com"
RUNTIME = f"{SERVICE}-runtime@{PROJECT}.iam.gserviceaccount.com"
ACCOUNTS = f"projects/{PROJECT}/serviceAccounts"
BUCKET = f"{PROJECT}-{SERVICE}-source"
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
def prepared(set_up, tmp_path_factory):
    """Prepare a Google Cloud project with all that there is, for the tests that only look at it; and what was said."""
    with GoogleCloud(tmp_path_factory.mktemp("prepared")) as google:
        yield google, set_up(google, REDIS, "--github", "--trigger")


def setup(cloud, project, *options):
    done = cloud.run("deploy/setup", "--yes", *options, cwd=project, REPOSITORY_ID="42")
    assert done.returncode == 0, done.stdout
    return done.stdout


def memory(cloud):
    """Sum up what Google would know: resources, who may do what, APIs."""
    bindings = {
        path: sorted((binding["role"], *sorted(binding["members"])) for binding in policy.get("bindings", []))
        for path, policy in cloud.policies.items()
    }
    return copy.deepcopy((cloud.resources, bindings, sorted(cloud.enabled)))


@pytest.mark.parametrize("answers", [{}, REDIS], ids=name)
def test_a_second_run_ends_the_same(answers, cloud, project, set_up):
    set_up(cloud, answers, "--github", "--trigger")
    made = with_origin(project(answers))
    first = memory(cloud)
    setup(cloud, made, "--github", "--trigger")
    assert memory(cloud) == first


def test_what_gcloud_is_configured_to_changes_nothing(cloud, made, set_up):
    set_up(cloud, REDIS, "--github", "--trigger")
    wanted = memory(cloud)
    for path in list(cloud.resources):
        if path.count("/") > 1:
            del cloud.resources[path]
            cloud.policies.pop(path, None)
    properties = FOREIGN_PROPERTIES | cloud.impersonated()
    done = cloud.run("deploy/setup", "--yes", "--github", "--trigger", cwd=made, REPOSITORY_ID="42", **properties)
    assert done.returncode == 0, done.stdout
    assert {path for path in cloud.resources if "teammate@" not in path} == wanted[0].keys()


def test_an_organization_that_limits_locations_is_no_obstacle(cloud, made):
    cloud.constraints.add("gcp.resourceLocations")
    setup(cloud, made)
    secret = cloud.resources[f"projects/{PROJECT}/secrets/{SERVICE}-redis-url"]
    assert secret["replication"] == {"userManaged": {"replicas": [{"location": "us-central1"}]}}


def test_a_look_that_fails_is_no_sign_that_nothing_is_there(cloud, made, set_up):
    set_up(cloud, REDIS)
    instance = f"instances/{SERVICE}-redis"
    cloud.failing = {instance, f"repositories/{SERVICE}"}
    done = cloud.run("deploy/teardown", "--yes", cwd=made)
    assert done.returncode == 1
    assert done.stdout.count("this look failed") == 2
    assert "Removed." not in done.stdout
    assert "Run this again later" in done.stdout
    assert any(path.endswith(instance) for path in cloud.resources)
    cloud.failing = set()
    done = cloud.run("deploy/teardown", "--yes", cwd=made)
    assert done.returncode == 0, done.stdout
    assert not any(path.endswith(instance) for path in cloud.resources)


def test_a_run_after_one_that_broke_off_ends_the_same(cloud, made, set_up):
    set_up(cloud, REDIS)
    assert not any("/triggers/" in path or "Pools" in path for path in cloud.resources), "nobody asked for these"
    whole = memory(cloud)
    for path in list(cloud.resources):
        if "secrets" in path or "subnetworks" in path or "-build@" in path:
            del cloud.resources[path]
            cloud.policies.pop(path, None)
    setup(cloud, made)
    assert memory(cloud) == whole


@pytest.mark.long
@pytest.mark.parametrize("answers", [{}, REDIS], ids=name)
def test_teardown_removes_all_that_setup_made(answers, cloud, project, set_up):
    before = memory(cloud)[0]
    set_up(cloud, answers, "--github", "--trigger")
    made = with_origin(project(answers))
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
            if item.get("state") != "DELETED" and "/providers/" not in path and "/builds/" not in path
        }
        assert left == {*before, secret}, "a secret that somebody made by hand stays"
        assert not any(BUILD in str(policy) or RUNTIME in str(policy) for policy in cloud.policies.values())
    # Google keeps the name of a pool for 30 days.
    setup(cloud, made, "--github")
    pool = cloud.resources[f"projects/{PROJECT}/locations/global/workloadIdentityPools/{SERVICE}-github"]
    assert pool["state"] == "ACTIVE"


@pytest.mark.parametrize("made", [REDIS], ids=name, indirect=True)
def test_a_network_that_cloud_run_still_holds_is_removed_later(cloud, made, set_up):
    """Cloud Run gives the addresses of a deleted service back after one to two hours."""
    set_up(cloud, REDIS)
    cloud.busy.add(f"projects/{PROJECT}/regions/us-central1/subnetworks/{SERVICE}")
    done = cloud.run("deploy/teardown", "--yes", cwd=made)
    assert done.returncode == 1
    assert "is already being used" in done.stdout
    assert "one to two hours" in done.stdout
    assert not any("redis" in path or "serviceAccounts" in path for path in cloud.resources), "the rest is gone"
    cloud.busy.clear()
    done = cloud.run("deploy/teardown", "--yes", cwd=made)
    assert done.returncode == 0, done.stdout


@pytest.mark.long
@pytest.mark.parametrize("made", [{}], ids=name, indirect=True)
def test_a_teardown_that_breaks_off_at_each_command_goes_on(cloud, made, set_up):
    """Each run is cut off after the first thing that it removes, until one has nothing left to remove."""
    set_up(cloud, {}, "--trigger")
    cuts = 0

    def cut_off(google, _):
        google.requests_left = 0

    cloud.after = cut_off
    while cloud.run("deploy/teardown", "--yes", cwd=made).returncode != 0:
        assert cloud.requests_left <= 0, "it ended by itself"
        cloud.requests_left = math.inf
        cuts += 1
        assert cuts < 40
    assert cuts >= 8
    assert not any(SERVICE in path for path in cloud.resources)
    assert not any(SERVICE in str(policy) for policy in cloud.policies.values())


def test_the_accounts_may_do_what_they_must_and_no_more(cloud, set_up):
    set_up(cloud, REDIS)
    project = {binding["role"]: binding["members"] for binding in cloud.policies[f"projects/{PROJECT}"]["bindings"]}
    roles = ("roles/logging.logWriter", "roles/run.admin", "roles/cloudbuild.builds.viewer", "roles/logging.viewer")
    assert project == {"roles/owner": [PERSON]} | {role: [f"serviceAccount:{BUILD}"] for role in roles}
    assert cloud.members(f"{ACCOUNTS}/{RUNTIME}", "roles/iam.serviceAccountUser") == [f"serviceAccount:{BUILD}"]
    itself = cloud.policies[f"{ACCOUNTS}/{BUILD}"]["bindings"]
    assert [binding["role"] for binding in itself] == ["roles/iam.serviceAccountOpenIdTokenCreator"]
    images = f"projects/{PROJECT}/locations/us-central1/repositories/{SERVICE}"
    assert cloud.members(images, "roles/artifactregistry.writer") == [f"serviceAccount:{BUILD}"]
    assert cloud.members(f"b/{BUCKET}", "roles/storage.objectViewer") == [f"serviceAccount:{BUILD}"]
    url = f"projects/{PROJECT}/secrets/{SERVICE}-redis-url"
    assert cloud.members(url, "roles/secretmanager.secretAccessor") == [f"serviceAccount:{RUNTIME}"]
    assert cloud.members(url, "roles/secretmanager.viewer") == [f"serviceAccount:{BUILD}"]
    given = [path for path, policy in cloud.policies.items() if RUNTIME in str(policy)]
    assert given == [url], "the app may read its secrets and do nothing else"


def test_what_was_just_made_is_waited_for(cloud, made, set_up):
    """Google shows a new account and a new API to everybody only after a while, and rejects until then."""
    calm = GoogleCloud(cloud.folder.with_name("calm"))
    set_up(calm, REDIS, "--github", "--trigger")
    cloud.unseen, cloud.hesitant = 2, True
    said = setup(cloud, made, "--github", "--trigger")
    assert "Trying again" in said
    assert memory(cloud) == memory(calm)
    assert cloud.refusals.total() > len(cloud.enabled)


def test_waiting_for_google_has_an_end(cloud, made):
    cloud.unseen = 1_000_000
    done = cloud.run("deploy/setup", "--yes", cwd=made, PATIENCE="1")
    assert done.returncode != 0
    assert "does not exist" in done.stdout.splitlines()[-1]


@pytest.mark.long
@pytest.mark.parametrize("made", [{}], ids=name, indirect=True)
def test_a_set_up_that_breaks_off_at_each_command_goes_on(cloud, made, set_up):
    """Each run is cut off after the first thing that it changes, until one has nothing left to change."""
    whole = GoogleCloud(cloud.folder.with_name("whole"))
    set_up(whole, {}, "--github", "--trigger")
    before = memory(cloud)

    def cut_off(google, _):
        if memory(google) != before:
            google.requests_left = 0

    cloud.after = cut_off
    cuts = 0
    while not finished(cloud, made):
        assert cloud.requests_left <= 0, "it ended by itself"
        cloud.requests_left, before = math.inf, memory(cloud)
        cuts += 1
        assert cuts < 60
    assert cuts >= 20
    assert memory(cloud) == memory(whole)


def finished(cloud, made):
    return cloud.run("deploy/setup", "--yes", "--github", "--trigger", cwd=made, REPOSITORY_ID="42").returncode == 0


@pytest.mark.parametrize(
    ("instances", "prefix"), [(1, 24), (60, 24), (61, 23), (250, 22), (500, 21), (501, 20), (1000, 20)]
)
def test_the_network_has_addresses_for_every_instance(instances, prefix, render):
    """An instance holds two, and during a deployment there are two revisions: Cloud Run, Direct VPC."""
    project = render({"state_store": "redis", "max_instances": instances})
    said = run("deploy/setup", "--dry-run", cwd=project, PROJECT_ID=PROJECT).stdout
    assert f"--range=10.8.0.0/{prefix}\n" in said
    assert 2 ** (32 - prefix) >= 4 * instances


def test_a_network_that_is_too_small_grows(cloud, project, set_up):
    set_up(cloud, REDIS)
    subnet = f"projects/{PROJECT}/regions/us-central1/subnetworks/{SERVICE}"
    assert cloud.resources[subnet]["ipCidrRange"] == "10.8.0.0/24"
    made = with_origin(project(REDIS | {"max_instances": 300}))
    for _ in range(2):
        setup(cloud, made)
        assert cloud.resources[subnet]["ipCidrRange"] == "10.8.0.0/21"


def test_old_images_go_and_the_newest_stay(prepared):
    cloud, _ = prepared
    policies = cloud.resources[f"projects/{PROJECT}/locations/us-central1/repositories/{SERVICE}"]["cleanupPolicies"]
    assert policies["old"]["action"].upper() == "DELETE"
    assert policies["newest"]["mostRecentVersions"]["keepCount"] == 10


def test_redis_is_in_a_separate_network_with_a_password(prepared):
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
    assert "assertion.repository_id == '42'" in provider["attributeCondition"], "a name can be claimed by somebody else"
    assert "assertion.ref == 'refs/heads/main'" in provider["attributeCondition"]
    who = f"principalSet://iam.googleapis.com/{pool.replace(PROJECT, NUMBER)}/attribute.repository_id/42"
    assert cloud.members(f"{ACCOUNTS}/{BUILD}", "roles/iam.workloadIdentityUser") == [who]
    assert f"gh variable set DEPLOY_ACCOUNT --body {BUILD}" in said


def test_a_project_that_trusted_the_repositorys_name_is_fixed(cloud, made, set_up):
    set_up(cloud, REDIS, "--github")
    pool = f"projects/{PROJECT}/locations/global/workloadIdentityPools/{SERVICE}-github"
    cloud.resources[f"{pool}/providers/github"] |= {
        "attributeMapping": {"google.subject": "assertion.sub", "attribute.repository": "assertion.repository"},
        "attributeCondition": "assertion.repository == 'OWNER/REPOSITORY' && assertion.ref == 'refs/heads/main'",
    }
    old = f"principalSet://iam.googleapis.com/{pool.replace(PROJECT, NUMBER)}/attribute.repository/OWNER/REPOSITORY"
    itself = cloud.policies[f"{ACCOUNTS}/{BUILD}"]["bindings"]
    next(binding for binding in itself if binding["role"] == "roles/iam.workloadIdentityUser")["members"] = [old]
    setup(cloud, made, "--github")
    assert "repository_id" in cloud.resources[f"{pool}/providers/github"]["attributeCondition"]
    assert old not in str(cloud.policies)
    assert "attribute.repository_id/42" in str(cloud.policies)


def test_a_repository_whose_number_nobody_knows_is_an_error_that_says_what_to_do(cloud, made):
    done = cloud.run("deploy/setup", "--yes", "--github", cwd=made)
    assert done.returncode == 2
    assert "REPOSITORY_ID=NUMBER deploy/setup --github" in done.stdout
    assert cloud.changes() == []
    assert cloud.outside_requests == ["api.github.com:443"], "GitHub was asked"
    cloud.outside_requests.clear()


def test_a_push_to_main_deploys_where_the_trigger_is_asked_for(prepared):
    cloud, _ = prepared
    trigger = cloud.resources[f"projects/{PROJECT}/locations/global/triggers/{SERVICE}"]
    assert trigger["github"] == {"owner": "OWNER", "name": "REPOSITORY", "push": {"branch": "^main$"}}
    assert trigger["filename"] == "cloudbuild.yaml"
    assert trigger["serviceAccount"].endswith(BUILD)
    assert trigger["substitutions"] == {"_SOURCE": "https://github.com/OWNER/REPOSITORY"}


def test_a_secret_that_is_not_there_yet_is_named(cloud, made):
    (made / "deploy/secrets.yaml").write_text("STRIPE_KEY: stripe-key\n")
    assert "Missing in Secret Manager, and named in deploy/secrets.yaml: stripe-key" in setup(cloud, made)


class TestAlerts:
    OPTIONS = ("--alerts=me@example.com", "--budget=50")

    @pytest.mark.parametrize(
        "answers", [{}, {"database": "postgres", "state_store": "redis"}], ids=["default", "everything"]
    )
    def test_alerts_and_a_budget_are_made_once_and_removed(self, answers, cloud, project):
        made = project(answers)
        names = ["no instance answers", "errors", "slow answers", "restarts", "memory is full"]
        if answers:
            names += ["the database is full", "Redis is full"]
        for _ in range(1 if answers else 2):
            setup(cloud, made, *self.OPTIONS)
            alerts = [item for path, item in cloud.resources.items() if "/alertPolicies/" in path]
            assert [item["displayName"] for item in alerts] == [f"{SERVICE}: {name}" for name in names]
            (channel,) = (path for path in cloud.resources if "/notificationChannels/" in path)
            assert cloud.resources[channel]["labels"] == {"email_address": "me@example.com"}
            assert all(item["notificationChannels"] == [channel] for item in alerts)
            (budget,) = (item for path, item in cloud.resources.items() if "/budgets/" in path)
            assert budget["amount"]["specifiedAmount"]["units"] == "50"
            assert budget["budgetFilter"]["projects"] == [f"projects/{PROJECT}"]
        filters = "".join(str(item["conditions"]) for item in alerts)
        assert f'resource.labels.service_name="{SERVICE}"' in filters
        assert f"alerts by mail: {', '.join(names)}\n" in cloud.run("deploy/check", cwd=made).stdout
        done = cloud.run("deploy/teardown", "--yes", cwd=made)
        assert done.returncode == 0, done.stdout
        assert not any(kind in path for path in cloud.resources for kind in ("alert", "notification", "budgets"))

    def test_a_look_that_fails_makes_nothing_twice(self, cloud, made, set_up):
        set_up(cloud, REDIS)
        setup(cloud, made, *self.OPTIONS)
        before = memory(cloud)
        for kind in ("alertPolicies", "notificationChannels", "budgets"):
            cloud.failing = {kind}
            done = cloud.run("deploy/setup", "--yes", *self.OPTIONS, cwd=made)
            assert done.returncode == 1
            assert "this look failed" in done.stdout
            assert memory(cloud) == before

    @pytest.mark.parametrize("option", ["--alerts", "--alerts=me", "--budget=much", "--budget="])
    def test_a_wrong_value_is_named(self, option, cloud, made):
        done = cloud.run("deploy/setup", "--yes", option, cwd=made)
        assert done.returncode == 2
        assert f"'{option}' must be an address or an amount" in done.stdout
        assert cloud.calls == []


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
        assert "unknown option '--all'" in done.stdout
        assert cloud.calls == []

    def test_without_a_project(self, script, cloud, made):
        for wrong in ("", "example.com:shop"):
            done = cloud.run(f"deploy/{script}", "--yes", cwd=made, CLOUDSDK_CORE_PROJECT=wrong)
            assert done.returncode == 2
            assert "gcloud config set project PROJECT_ID" in done.stdout
        assert cloud.changes() == []


def test_a_project_that_is_not_there_is_told_before_anything_is_made(cloud, made):
    done = cloud.run("deploy/setup", "--yes", cwd=made, PROJECT_ID="no-such-project")
    assert done.returncode != 0
    assert "no-such-project" in done.stdout
    assert cloud.changes() == []


@pytest.mark.parametrize(
    ("answers", "constraint", "says"),
    [
        ({}, "iam.disableServiceAccountCreation", "forbids new service accounts"),
        ({}, "run.managed.requireInvokerIam", "copier update --data public=false"),
        ({"database": "postgres"}, "sql.restrictPublicIp", "forbids a Cloud SQL instance with a public address"),
    ],
    ids=str,
)
def test_an_organization_in_which_it_cannot_work_is_named_before_anything_is_made(
    answers, constraint, says, cloud, project
):
    cloud.enabled.add("orgpolicy.googleapis.com")
    cloud.constraints.add(constraint)
    done = cloud.run("deploy/setup", "--yes", cwd=project(answers))
    assert done.returncode == 1
    assert f"the organization policy {constraint}" in done.stdout
    assert says in done.stdout
    assert cloud.changes() == []


def test_rules_for_images_and_files_that_the_owner_has_changed_stay(cloud, made, set_up):
    set_up(cloud, REDIS)
    images = f"projects/{PROJECT}/locations/us-central1/repositories/{SERVICE}"
    mine = {"mine": {"id": "mine", "action": "KEEP", "mostRecentVersions": {"keepCount": 99}}}
    cloud.resources[images]["cleanupPolicies"] = mine
    cloud.resources[f"b/{BUCKET}"]["lifecycle"] = {"rule": [{"action": {"type": "Delete"}, "condition": {"age": 99}}]}
    before = memory(cloud)
    setup(cloud, made)
    assert memory(cloud) == before


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


class TestCheck:
    def test_a_project_that_is_set_up_lacks_a_deployment_only(self, cloud, made, set_up):
        set_up(cloud, REDIS)
        before = memory(cloud)
        done = cloud.run("deploy/check", cwd=made)
        assert done.returncode == 1
        assert missing(done) == {"the service is not deployed": "deploy/now"}
        assert memory(cloud) == before
        assert len(done.stdout.splitlines()) < 40, "one screen"

    def test_an_empty_project_is_told_to_be_set_up(self, cloud, made):
        done = cloud.run("deploy/check", cwd=made)
        assert done.returncode == 1
        assert set(missing(done).values()) >= {"deploy/setup"}
        assert len(missing(done)) > 8

    @pytest.mark.parametrize(
        ("where", "role", "says"),
        [
            (f"projects/{PROJECT}", "roles/run.admin", "roles/run.admin in the project for the build"),
            (f"{ACCOUNTS}/{RUNTIME}", "roles/iam.serviceAccountUser", "on the app's account for the build"),
            (f"{ACCOUNTS}/{BUILD}", "roles/iam.serviceAccountOpenIdTokenCreator", "on its own account for the build"),
            (
                f"projects/{PROJECT}/secrets/{SERVICE}-redis-url",
                "roles/secretmanager.secretAccessor",
                f"the app may not read the secret {SERVICE}-redis-url",
            ),
        ],
        ids=str,
    )
    def test_a_role_that_was_taken_away_is_named(self, where, role, says, cloud, made, set_up):
        set_up(cloud, REDIS)
        bindings = cloud.policies[where]["bindings"]
        cloud.policies[where]["bindings"] = [binding for binding in bindings if binding["role"] != role]
        found = missing(cloud.run("deploy/check", cwd=made))
        assert [fix for what, fix in found.items() if says in what] == ["deploy/setup"], found
        assert len(found) == 2, found

    def test_an_organization_that_forbids_public_services_is_named(self, cloud, made, set_up):
        set_up(cloud, REDIS)
        cloud.enabled.add("orgpolicy.googleapis.com")
        assert "the organization allows public services" in cloud.run("deploy/check", cwd=made).stdout
        cloud.constraints.add("run.managed.requireInvokerIam")
        found = missing(cloud.run("deploy/check", cwd=made))
        assert any("the organization forbids public services" in what for what in found)

    def test_a_teammate_learns_which_command_is_not_for_them_and_by_which_role(self, cloud, made, set_up):
        set_up(cloud, REDIS)
        cloud.policies[f"projects/{PROJECT}"]["bindings"][0]["members"] = ["user:boss@example.com"]
        grants = cloud.policies[f"projects/{PROJECT}"]["bindings"]
        grants += [{"role": role, "members": [PERSON]} for role in ("roles/viewer", "roles/run.developer")]
        done = cloud.run("deploy/check", cwd=made)
        assert "ok       you may move traffic (deploy/back)" in done.stdout
        assert "you may change the set-up" not in done.stdout
        fixes = {what: fix.rpartition("=")[2] for what, fix in missing(done).items() if what.startswith("you may not")}
        assert fixes == {
            "you may not deploy (deploy/now) (cloudbuild.builds.create)": "roles/cloudbuild.builds.editor",
            "you may not upload the folder (deploy/now) (storage.objects.create)": "roles/storage.objectUser",
        }

    def test_somebody_who_may_see_nothing_is_told_so(self, cloud, made):
        cloud.policies[f"projects/{PROJECT}"] = {"bindings": []}
        done = cloud.run("deploy/check", cwd=made)
        assert done.returncode == 1
        assert "the project cannot be seen" in done.stdout
        assert "gcloud auth login" in done.stdout


def missing(done):
    """List what deploy/check says that is missing, with the command that fixes it."""
    lines = done.stdout.splitlines()
    found = {}
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  MISSING  "):
            found[line.removeprefix("  MISSING  ")] = after.strip().removeprefix("-> ")
    return found
