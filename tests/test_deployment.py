"""The steps of a build that deploy: the real gcloud as the build's account, on the strict stand-in for Google's API."""

import base64
import json
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from harness.google_cloud import NUMBER, PROJECT
from harness.google_cloud.metadata import claims_of
from harness.google_cloud.resources import created
from harness.google_cloud.steps import BUILD, SERVICE, candidate, deploy, step, switch
from harness.processes import until

pytestmark = pytest.mark.slow

REGION = "us-central1"
RUNTIME = f"{SERVICE}-runtime@{PROJECT}.iam.gserviceaccount.com"
ACCOUNTS = f"projects/{PROJECT}/serviceAccounts"
SECRET = f"projects/{PROJECT}/secrets/{SERVICE}-redis-url"
INVOKERS = f"projects/{PROJECT}/locations/{REGION}/services/{SERVICE}"


def template(cloud):
    return cloud.service(SERVICE)["spec"]["template"]


class TestFirstDeployment:
    def test_the_service_is_what_the_answers_say(self, cloud, ready):
        made = ready()
        candidate(cloud, made)
        service = cloud.service(SERVICE)
        notes = template(cloud)["metadata"]["annotations"]
        spec = template(cloud)["spec"]
        container = spec["containers"][0]
        assert template(cloud)["metadata"]["name"] == f"{SERVICE}-b0123abcd"
        assert container["image"] == "image:0123abcd-build"
        assert container["resources"]["limits"] == {"cpu": "1", "memory": "512Mi"}
        assert (spec["containerConcurrency"], spec["timeoutSeconds"]) == (1000, 3600)
        assert spec["serviceAccountName"] == RUNTIME
        assert notes["run.googleapis.com/startup-cpu-boost"].lower() == "true"
        assert notes["run.googleapis.com/sessionAffinity"] == "true"
        assert notes["run.googleapis.com/execution-environment"] == "gen2"
        assert notes["run.googleapis.com/cpu-throttling"].lower() == "true"
        assert notes["autoscaling.knative.dev/maxScale"] == "1"
        assert "autoscaling.knative.dev/minScale" not in notes, "a revision without visitors would cost money"
        assert container["livenessProbe"]["httpGet"]["path"] == "/ping"
        assert container["livenessProbe"]["initialDelaySeconds"] == 240, "as long as STARTUP_SECONDS may be"
        assert "startupProbe" not in container, "a visitor who wakes an instance would wait for Python"
        assert {each["name"]: each["value"] for each in container["env"]} == {
            "REGION": REGION,
            "GOOGLE_CLOUD_PROJECT": PROJECT,
        }
        assert not any("vpc" in note or "network" in note for note in notes)
        assert [target.get("tag") for target in service["spec"]["traffic"] if target.get("tag")] == ["b0123abcd"]

    def test_nobody_may_enter_before_the_trial(self, cloud, ready):
        made = ready()
        candidate(cloud, made)
        assert not cloud.is_open(SERVICE)
        assert switch(cloud, made).returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b0123abcd": 100}
        assert cloud.is_open(SERVICE)
        assert cloud.members(INVOKERS, "roles/run.invoker") == [], "many organizations forbid a grant to allUsers"
        assert cloud.tags(SERVICE) == {}

    def test_the_trial_gets_an_address_and_a_token(self, cloud, ready):
        made = ready()
        candidate(cloud, made)
        assert (made / ".candidate/url").read_text().strip() == "http://localhost:1"
        payload = (made / ".candidate/token").read_text().split(".")[1]
        claims = base64.urlsafe_b64decode(payload + "==")
        assert json.loads(claims)["aud"] == cloud.service(SERVICE)["status"]["url"], "not the address of the tag"

    def test_a_revision_that_does_not_start_fails_the_build(self, cloud, ready):
        made = ready()
        cloud.start = refuse
        done = step(cloud, made, "candidate")
        assert done.returncode != 0
        assert "container failed to start" in done.stdout
        assert "The current revision keeps serving" in done.stdout
        # The next attempt meets a service that has never been ready.
        cloud.start = lambda _: "http://localhost:2"
        deploy(cloud, made, "fedcba98")
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-bfedcba98": 100}
        assert cloud.tags(SERVICE) == {}

    def test_a_failed_trial_leaves_a_closed_service(self, cloud, ready):
        made = ready()
        candidate(cloud, made)
        done = step(cloud, made, "traffic")
        assert done.returncode != 0
        assert "did not pass its trial" in done.stdout
        assert not cloud.is_open(SERVICE)
        assert cloud.tags(SERVICE) == {}


def refuse(_):
    msg = "The user-provided container failed to start and listen on the port defined provided by the PORT=8080"
    raise RuntimeError(msg)


class TestSecondDeployment:
    @pytest.fixture
    def deployed(self, cloud, ready):
        made = ready()
        deploy(cloud, made, "11111111")
        return made

    def test_the_candidate_gets_no_traffic(self, cloud, deployed):
        candidate(cloud, deployed, "22222222")
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}
        assert cloud.tags(SERVICE) == {"b22222222": f"{SERVICE}-b22222222"}
        assert switch(cloud, deployed, "22222222").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b22222222": 100}
        assert cloud.tags(SERVICE) == {}

    def test_a_candidate_that_does_not_start_changes_nothing(self, cloud, deployed):
        cloud.start = refuse
        done = step(cloud, deployed, "candidate", build="33333333")
        assert done.returncode != 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}
        assert cloud.tags(SERVICE) == {}
        cloud.start = lambda _: "http://localhost:4"
        candidate(cloud, deployed, "44444444")
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}

    def test_a_failed_trial_leaves_no_address(self, cloud, deployed):
        """A candidate of a public service has an address that anyone may open, with the secrets of production."""
        candidate(cloud, deployed, "22222222")
        done = step(cloud, deployed, "traffic", build="22222222")
        assert done.returncode != 0
        assert cloud.tags(SERVICE) == {}
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}

    def test_an_address_that_a_cancelled_build_left_is_removed(self, cloud, deployed):
        long_ago = f"projects/{PROJECT}/locations/global/builds/22222222"
        cloud.resources[long_ago] = {"createTime": created(seconds_ago=7200)}
        candidate(cloud, deployed, "22222222")
        # and one of version 0.2.0 of the template
        cloud.service(SERVICE)["spec"]["traffic"].append({"tag": "next", "revisionName": f"{SERVICE}-b11111111"})
        cloud.service(SERVICE)["status"]["traffic"].append({"tag": "next", "revisionName": f"{SERVICE}-b11111111"})
        candidate(cloud, deployed, "33333333")
        assert cloud.tags(SERVICE) == {"b33333333": f"{SERVICE}-b33333333"}


class TestTwoBuildsAtOnce:
    @pytest.fixture
    def two(self, cloud, ready, tmp_path):
        """Have a first deployment, and two builds whose candidates are deployed: the older and the newer."""
        made = ready()
        deploy(cloud, made, "11111111")
        workspaces = {}
        for build in ("22222222", "33333333"):
            workspaces[build] = shutil.copytree(made, tmp_path / build, symlinks=True)
            shutil.rmtree(workspaces[build] / ".candidate")
            candidate(cloud, workspaces[build], build)
        return workspaces

    def test_each_tries_its_own_revision(self, cloud, two):
        assert cloud.tags(SERVICE) == {f"b{build}": f"{SERVICE}-b{build}" for build in two}

    def test_the_newer_one_wins_when_the_older_ends_last(self, cloud, two):
        assert switch(cloud, two["33333333"], "33333333").returncode == 0
        done = switch(cloud, two["22222222"], "22222222")
        assert done.returncode != 0
        assert f"the revision {SERVICE}-b33333333 of a newer build serves already" in done.stdout
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b33333333": 100}
        assert cloud.tags(SERVICE) == {}
        # Somebody may still ask for it.
        command = next(line for line in done.stdout.splitlines() if "update-traffic" in line).removeprefix("deploy: ")
        assert cloud.run(*command.split(), cwd=two["22222222"]).returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b22222222": 100}

    @pytest.mark.parametrize("passes", [True, False], ids=["which passes", "which fails"])
    def test_the_older_one_waits_for_the_newer_ones_trial(self, passes, cloud, two):
        with ThreadPoolExecutor() as both:
            older = both.submit(switch, cloud, two["22222222"], "22222222")
            until(lambda: any("revisions/" in call.path for call in cloud.calls[-3:]), 30)
            time.sleep(1)
            assert not older.done()
            if passes:
                assert switch(cloud, two["33333333"], "33333333").returncode == 0
            else:
                assert step(cloud, two["33333333"], "traffic", "33333333").returncode != 0
            assert "waiting for its result" in older.result(60).stdout
        assert (older.result().returncode == 0) != passes, older.result().stdout
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b{'33333333' if passes else '22222222'}": 100}
        assert cloud.tags(SERVICE) == {}

    def test_a_change_of_the_other_at_the_same_moment_is_met(self, cloud, two):
        """Cloud Run rejects a change that is based on an older state of the service; the step tries again."""
        interfered = []

        def get_in_between(google, _):
            if not interfered:
                interfered.append(True)
                google.service(SERVICE)["metadata"]["resourceVersion"] = "v1000"

        cloud.before_put = get_in_between
        done = switch(cloud, two["33333333"], "33333333")
        assert interfered
        assert done.returncode == 0, done.stdout
        assert "Conflict for resource" in done.stdout
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b33333333": 100}


#: Each role that deploy/setup grants the build or the app: where, which, the step that needs it, and Google's words.
NEEDED = [
    (f"projects/{PROJECT}", "roles/run.admin", "candidate", "Permission 'run.services.list' denied"),
    (f"projects/{PROJECT}", "roles/cloudbuild.builds.viewer", "candidate", "Permission 'cloudbuild.builds.get' denied"),
    (
        f"{ACCOUNTS}/{BUILD}",
        "roles/iam.serviceAccountOpenIdTokenCreator",
        "candidate",
        "No identity token can be obtained",
    ),
    (
        f"{ACCOUNTS}/{RUNTIME}",
        "roles/iam.serviceAccountUser",
        "candidate",
        "Permission 'iam.serviceaccounts.actAs' denied",
    ),
    (SECRET, "roles/secretmanager.viewer", "candidate", "Permission 'secretmanager.versions.get' denied"),
    (SECRET, "roles/secretmanager.secretAccessor", "candidate", "Permission denied on secret"),
]


@pytest.mark.parametrize(("where", "role", "name", "says"), NEEDED, ids=lambda value: str(value)[-44:])
def test_without_a_role_the_deployment_fails_with_googles_words(where, role, name, says, cloud, ready):
    made = ready({"state_store": "redis"})
    bindings = cloud.policies[where]["bindings"]
    cloud.policies[where]["bindings"] = [binding for binding in bindings if binding["role"] != role]
    assert len(cloud.policies[where]["bindings"]) == len(bindings) - 1
    done = step(cloud, made, name, PATIENCE="0")
    assert done.returncode != 0
    assert says in done.stdout
    if "OpenIdToken" in role or "cloudbuild" in role:  # what version 0.2.0 did not grant
        assert "run deploy/setup again" in done.stdout
        assert cloud.changes() == []


def test_a_role_that_was_just_granted_is_waited_for(cloud, ready):
    made = ready()
    account = cloud.policies[f"{ACCOUNTS}/{BUILD}"]
    cloud.policies[f"{ACCOUNTS}/{BUILD}"] = {"bindings": []}
    with ThreadPoolExecutor() as both:
        started = both.submit(step, cloud, made, "candidate")
        until(lambda: cloud.refusals["404 identity token of the metadata server"] > 1, 60)
        cloud.policies[f"{ACCOUNTS}/{BUILD}"] = account
        assert started.result(60).returncode == 0, started.result().stdout
    assert "Trying again" in started.result().stdout


class TestOrganizations:
    def test_one_that_forbids_all_users_gets_a_public_service(self, cloud, ready):
        made = ready()
        cloud.constraints.add("iam.allowedPolicyMemberDomains")
        deploy(cloud, made)
        assert cloud.is_open(SERVICE)

    def test_one_that_forbids_public_services_is_named(self, cloud, ready):
        made = ready()
        cloud.constraints.add("run.managed.requireInvokerIam")
        candidate(cloud, made)
        done = switch(cloud, made)
        assert done.returncode != 0
        assert "constraints/run.managed.requireInvokerIam" in done.stdout
        assert "copier update --data public=false" in done.stdout
        assert not cloud.is_open(SERVICE)
        assert cloud.tags(SERVICE) == {}


class TestConfiguration:
    def test_settings_and_secrets_reach_the_app(self, cloud, ready):
        made = ready()
        (made / "deploy/env.yaml").write_text('GREETING: "Hello, you = me: #1"\nEMPTY: ""\n')
        (made / "deploy/secrets.yaml").write_text(
            "# ours\nSTRIPE_KEY: stripe-key\nMAIL: mail_password:1 # an old one\n"
        )
        for secret in ("stripe-key", "mail_password"):
            create_secret(cloud, secret)
        candidate(cloud, made)
        found = {entry["name"]: entry for entry in template(cloud)["spec"]["containers"][0]["env"]}
        assert found["GREETING"]["value"] == "Hello, you = me: #1"
        assert found["EMPTY"].get("value", "") == ""
        assert found["STRIPE_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "stripe-key", "key": "latest"}
        assert found["MAIL"]["valueFrom"]["secretKeyRef"] == {"name": "mail_password", "key": "1"}
        # What is gone from the files is gone from the app.
        (made / "deploy/env.yaml").write_text("# nothing\n")
        (made / "deploy/secrets.yaml").write_text("")
        candidate(cloud, made, "22222222")
        names = [entry["name"] for entry in template(cloud)["spec"]["containers"][0]["env"]]
        assert names == ["REGION", "GOOGLE_CLOUD_PROJECT"]

    @pytest.mark.parametrize("file", ["env.yaml", "secrets.yaml"])
    def test_a_variable_that_cloud_run_sets_itself_is_named(self, file, cloud, ready):
        made = ready()
        (made / "deploy" / file).write_text("OTHER: other\nPORT: mine\n")
        done = step(cloud, made, "candidate")
        assert done.returncode == 1
        assert "Cloud Run sets PORT itself: remove it" in done.stdout
        assert not any(call.api == "run" for call in cloud.changes())

    def test_a_name_may_move_between_variables_and_secrets(self, cloud, ready):
        made = ready()
        create_secret(cloud, "stripe-key")
        create_secret(cloud, "other-key")
        steps = [
            ("", "KEY: stripe-key"),
            ('KEY: "plain"', ""),
            ("", "KEY: other-key"),
            ('KEY: "again"', "OTHER: other-key"),
        ]
        steps += [('OTHER: "plain"', "KEY: stripe-key"), ("", "")]
        for number, (variables, secrets) in enumerate(steps):
            (made / "deploy/env.yaml").write_text(f"# ours\n{variables}\n")
            (made / "deploy/secrets.yaml").write_text(f"{secrets}\n")
            deploy(cloud, made, f"{number}{number}abcdef-build")
            found = {entry["name"]: entry for entry in template(cloud)["spec"]["containers"][0]["env"]}
            wanted = {}
            for line in filter(None, (variables, secrets)):
                name, value = line.split(": ")
                wanted[name] = value.strip('"')
            given = {
                name: entry.get("value") or entry["valueFrom"]["secretKeyRef"]["name"]
                for name, entry in found.items()
                if name in ("KEY", "OTHER")
            }
            assert given == wanted, number
            (serving,) = cloud.traffic(SERVICE)
            assert serving == f"{SERVICE}-b{number}{number}abcdef"

    def test_a_missing_secret_stops_the_deployment_with_its_name(self, cloud, ready):
        made = ready()
        (made / "deploy/secrets.yaml").write_text("STRIPE_KEY: stripe-key\nMAIL: mail_password\n")
        create_secret(cloud, "mail_password")
        done = step(cloud, made, "candidate")
        assert done.returncode != 0
        assert "the secret stripe-key, version latest, for the variable STRIPE_KEY, cannot be used" in done.stdout
        assert "mail_password" not in done.stdout
        assert cloud.changes() == []

    @pytest.mark.parametrize(
        ("file", "text", "says"),
        [
            (
                *("secrets.yaml", "\n# ours\nSTRIPE_KEY = sk_live_1\n"),
                "deploy/secrets.yaml, line 3 is 'STRIPE_KEY = sk_live_1' and must be NAME: secret",
            ),
            ("env.yaml", "RATE: 3\n", "RATE|must be strings"),
        ],
    )
    def test_a_wrong_line_is_named_before_anything_changes(self, file, text, says, cloud, ready):
        made = ready()
        (made / "deploy" / file).write_text(text)
        done = step(cloud, made, "candidate")
        assert done.returncode != 0
        assert re.search(says, done.stdout), done.stdout
        assert cloud.changes() == []


def create_secret(cloud, secret):
    path = f"projects/{PROJECT}/secrets/{secret}"
    cloud.resources[path] = {"name": secret, "versions": ["c2VjcmV0"]}
    # What one more deploy/setup grants.
    roles = {RUNTIME: "roles/secretmanager.secretAccessor", BUILD: "roles/secretmanager.viewer"}
    members = [{"role": role, "members": [f"serviceAccount:{account}"]} for account, role in roles.items()]
    cloud.policies[path] = {"bindings": members}


def test_redis_is_reached_by_a_secret_and_a_network(cloud, ready):
    made = ready({"state_store": "redis", "workers": 2, "max_instances": 7, "min_instances": 2, "cpu": "2"})
    candidate(cloud, made)
    notes = template(cloud)["metadata"]["annotations"]
    network = json.loads(notes["run.googleapis.com/network-interfaces"])
    assert network == [{"network": SERVICE, "subnetwork": SERVICE}]
    assert notes["run.googleapis.com/vpc-access-egress"] == "private-ranges-only"
    assert notes["autoscaling.knative.dev/maxScale"] == "7"
    assert cloud.service(SERVICE)["metadata"]["annotations"]["run.googleapis.com/minScale"] == "2"
    found = {entry["name"]: entry for entry in template(cloud)["spec"]["containers"][0]["env"]}
    assert found["REFLEX_REDIS_URL"]["valueFrom"]["secretKeyRef"] == {"name": f"{SERVICE}-redis-url", "key": "latest"}


def test_a_private_service_stays_private(cloud, ready):
    made = ready({"public": False})
    deploy(cloud, made)
    assert not cloud.is_open(SERVICE)
    # One that was open before the answer was changed is closed, in whichever way it was opened.
    cloud.policies[INVOKERS] = {
        "bindings": [{"role": "roles/run.invoker", "members": ["allUsers", "user:a@example.com"]}]
    }
    cloud.service(SERVICE)["metadata"]["annotations"]["run.googleapis.com/invoker-iam-disabled"] = "true"
    deploy(cloud, made, "22222222")
    assert not cloud.is_open(SERVICE)
    assert cloud.members(INVOKERS, "roles/run.invoker") == ["user:a@example.com"]


def test_cpu_between_requests_and_the_older_environment_are_answers(cloud, ready):
    made = ready({"billing": "instance", "execution_environment": "gen1", "min_instances": 1})
    candidate(cloud, made)
    notes = template(cloud)["metadata"]["annotations"]
    assert notes["run.googleapis.com/cpu-throttling"].lower() == "false"
    assert notes["run.googleapis.com/execution-environment"] == "gen1"


WITH_PROXY = {"public": False, "iap": True}


class TestIdentityAwareProxy:
    def test_people_sign_in_and_the_trial_passes_with_a_token_of_its_account(self, cloud, ready):
        made = ready(WITH_PROXY)
        candidate(cloud, made)
        notes = cloud.service(SERVICE)["metadata"]["annotations"]
        assert notes["run.googleapis.com/iap-enabled"].lower() == "true"
        # The proxy opens the service in its own name, so its account has to be let in.
        agent = f"serviceAccount:service-{NUMBER}@gcp-sa-iap.iam.gserviceaccount.com"
        assert cloud.members(INVOKERS, "roles/run.invoker") == [agent]
        claims = claims_of((made / ".candidate/token").read_text())
        url = (made / ".candidate/url").read_text().strip()
        assert (claims["iss"], claims["sub"], claims["aud"]) == (BUILD, BUILD, f"{url}/*")
        assert 0 < claims["exp"] - time.time() <= 3600
        assert cloud.may(f"serviceAccount:{BUILD}", "iap.webServiceVersions.accessViaIAP", f"projects/{PROJECT}")
        assert switch(cloud, made).returncode == 0
        assert not cloud.is_open(SERVICE)
        assert cloud.members(INVOKERS, "roles/run.invoker") == [agent]
        deploy(cloud, made, "22222222")
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b22222222": 100}
        assert "Identity-Aware Proxy" not in cloud.run("deploy/check", cwd=made).stdout
        cloud.service(SERVICE)["metadata"]["annotations"]["run.googleapis.com/iap-enabled"] = "false"
        assert "Identity-Aware Proxy is off" in cloud.run("deploy/check", cwd=made).stdout

    def test_a_set_up_from_before_the_answer_is_named(self, cloud, project, set_up):
        set_up(cloud, {"public": False})
        done = step(cloud, project(WITH_PROXY), "candidate", PATIENCE="0")
        assert done.returncode == 1
        assert "run deploy/setup again" in done.stdout
        assert cloud.changes() == []

    def test_a_proxy_that_somebody_turned_on_stops_the_deployment_with_both_ways_out(self, cloud, ready):
        made = ready({"public": False})
        deploy(cloud, made, "11111111")
        cloud.service(SERVICE)["metadata"]["annotations"]["run.googleapis.com/iap-enabled"] = "true"
        before = len(cloud.changes())
        done = step(cloud, made, "candidate", "22222222")
        assert done.returncode == 1
        assert "--data iap=true" in done.stdout
        assert "--no-iap" in done.stdout
        assert len(cloud.changes()) == before
        assert "Identity-Aware Proxy is on, and stops every deployment" in cloud.run("deploy/check", cwd=made).stdout


def test_the_longest_service_name_has_room_for_a_tag(cloud, project, set_up):
    answers = {"service_name": "s" * 42}
    set_up(cloud, answers)
    made = project(answers)
    config = yaml.safe_load((made / "cloudbuild.yaml").read_text())
    name = config["substitutions"]["_SERVICE"]
    account = config["serviceAccount"].rpartition("/")[2].partition("@")[0] + f"@{PROJECT}.iam.gserviceaccount.com"
    cloud.resources[f"projects/{PROJECT}/locations/global/builds/0123abcd"] = {"createTime": created()}
    values = {"PROJECT_ID": PROJECT, "REGION": REGION, "SERVICE": name, "IMAGE": "image", "BUILD_ID": "0123abcd"}
    done = cloud.run("bash", "deploy/build/candidate", cwd=made, account=account, **values)
    assert done.returncode == 0, done.stdout
    assert list(cloud.tags(name)) == ["b012"]
