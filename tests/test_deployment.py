"""Deployment: the real gcloud on a stand-in for Google's API, the real Docker Engine, a real registry."""

import base64
import json
import re

import pytest
import yaml
from cloud_run import PROJECT

pytestmark = pytest.mark.slow

SERVICE = "my-reflex-app"
REGION = "us-central1"
RUNTIME = f"{SERVICE}-runtime@{PROJECT}.iam.gserviceaccount.com"


def step(cloud, project, name, build="0123abcd-build", **more):
    """Run one of the steps that talk to Google, as Cloud Build does."""
    region = yaml.safe_load((project / "cloudbuild.yaml").read_text())["substitutions"]["_REGION"]
    values = {"PROJECT_ID": PROJECT, "REGION": region, "SERVICE": SERVICE, "IMAGE": "image", "BUILD_ID": build}
    return cloud.run("bash", f"deploy/{name}", cwd=project, **(values | more))


def template(cloud):
    return cloud.service(SERVICE)["spec"]["template"]


class TestFirstDeployment:
    def test_the_service_is_what_the_answers_say(self, cloud, project):
        made = project()
        assert step(cloud, made, "candidate").returncode == 0
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
        assert notes["autoscaling.knative.dev/maxScale"] == "1"
        assert "autoscaling.knative.dev/minScale" not in notes, "a revision without visitors would cost money"
        assert container["livenessProbe"]["httpGet"]["path"] == "/ping"
        assert "startupProbe" not in container, "a visitor who wakes an instance would wait for Python"
        assert container["env"] == [{"name": "REGION", "value": REGION}]
        assert not any("vpc" in note or "network" in note for note in notes)
        assert [target.get("tag") for target in service["spec"]["traffic"] if target.get("tag")] == ["next"]

    def test_nobody_may_enter_before_the_trial(self, cloud, project):
        made = project()
        path = f"projects/{PROJECT}/locations/{REGION}/services/{SERVICE}"
        assert step(cloud, made, "candidate").returncode == 0
        assert cloud.members(path, "roles/run.invoker") == []
        assert step(cloud, made, "traffic").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b0123abcd": 100}
        assert cloud.members(path, "roles/run.invoker") == ["allUsers"]

    def test_the_trial_gets_an_address_and_a_token(self, cloud, project):
        made = project()
        step(cloud, made, "candidate")
        assert (made / ".candidate/url").read_text().strip() == "http://localhost:1"
        payload = (made / ".candidate/token").read_text().split(".")[1]
        claims = base64.urlsafe_b64decode(payload + "==")
        assert json.loads(claims)["aud"] == cloud.service(SERVICE)["status"]["url"], "not the address of the tag"

    def test_a_revision_that_does_not_start_fails_the_build(self, cloud, project):
        made = project()
        cloud.start = refuse
        done = step(cloud, made, "candidate")
        assert done.returncode != 0
        assert "container failed to start" in done.stdout
        assert "The visitors stay where they are" in done.stdout
        # The next attempt meets a service that has never been ready.
        cloud.start = lambda _: "http://localhost:2"
        assert step(cloud, made, "candidate", build="fedcba98").returncode == 0
        assert step(cloud, made, "traffic", build="fedcba98").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-bfedcba98": 100}


def refuse(_):
    msg = "The user-provided container failed to start and listen on the port defined provided by the PORT=8080"
    raise RuntimeError(msg)


class TestSecondDeployment:
    @pytest.fixture
    def deployed(self, cloud, project):
        made = project()
        for part in ("candidate", "traffic"):
            assert step(cloud, made, part, build="11111111").returncode == 0
        return made

    def test_the_candidate_gets_no_visitors(self, cloud, deployed):
        assert step(cloud, deployed, "candidate", build="22222222").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}
        tagged = [share for share in cloud.service(SERVICE)["status"]["traffic"] if share.get("tag") == "next"]
        assert [share["revisionName"] for share in tagged] == [f"{SERVICE}-b22222222"]
        assert step(cloud, deployed, "traffic", build="22222222").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b22222222": 100}

    def test_a_candidate_that_does_not_start_changes_nothing(self, cloud, deployed):
        cloud.start = refuse
        done = step(cloud, deployed, "candidate", build="33333333")
        assert done.returncode != 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}
        cloud.start = lambda _: "http://localhost:4"
        assert step(cloud, deployed, "candidate", build="44444444").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}

    def test_the_readmes_command_goes_back(self, cloud, deployed):
        for part in ("candidate", "traffic"):
            assert step(cloud, deployed, part, build="22222222").returncode == 0
        back = re.search(
            r"^gcloud run services update-traffic .*$", (deployed / "README.md").read_text(), re.MULTILINE
        )[0]
        done = cloud.run(*back.replace("REVISION", f"{SERVICE}-b11111111").split(), cwd=deployed)
        assert done.returncode == 0, done.stdout
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b11111111": 100}
        # and the next deployment goes forward again
        for part in ("candidate", "traffic"):
            assert step(cloud, deployed, part, build="55555555").returncode == 0
        assert cloud.traffic(SERVICE) == {f"{SERVICE}-b55555555": 100}


class TestConfiguration:
    def test_settings_and_secrets_reach_the_app(self, cloud, project):
        made = project()
        (made / "deploy/env.yaml").write_text('GREETING: "Hello, you = me: #1"\nEMPTY: ""\n')
        (made / "deploy/secrets.yaml").write_text(
            "# ours\nSTRIPE_KEY: stripe-key\nMAIL: mail_password:1 # an old one\n"
        )
        for secret in ("stripe-key", "mail_password"):
            create_secret(cloud, secret)
        assert step(cloud, made, "candidate").returncode == 0
        found = {entry["name"]: entry for entry in template(cloud)["spec"]["containers"][0]["env"]}
        assert found["GREETING"]["value"] == "Hello, you = me: #1"
        assert found["EMPTY"].get("value", "") == ""
        assert found["STRIPE_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "stripe-key", "key": "latest"}
        assert found["MAIL"]["valueFrom"]["secretKeyRef"] == {"name": "mail_password", "key": "1"}
        # What is gone from the files is gone from the app.
        (made / "deploy/env.yaml").write_text("# nothing\n")
        (made / "deploy/secrets.yaml").write_text("")
        assert step(cloud, made, "candidate", build="22222222").returncode == 0
        assert [entry["name"] for entry in template(cloud)["spec"]["containers"][0]["env"]] == ["REGION"]

    def test_a_missing_secret_stops_the_deployment_with_its_name(self, cloud, project):
        made = project()
        (made / "deploy/secrets.yaml").write_text("STRIPE_KEY: stripe-key\nMAIL: mail_password\n")
        create_secret(cloud, "mail_password")
        done = step(cloud, made, "candidate")
        assert done.returncode != 0
        assert "the secret stripe-key, version latest, which is to be STRIPE_KEY, cannot be used" in done.stdout
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
    def test_a_wrong_line_is_named_before_anything_changes(self, file, text, says, cloud, project):
        made = project()
        (made / "deploy" / file).write_text(text)
        done = step(cloud, made, "candidate")
        assert done.returncode != 0
        assert re.search(says, done.stdout), done.stdout
        assert cloud.changes() == []


def create_secret(cloud, secret):
    cloud.resources[f"projects/{PROJECT}/secrets/{secret}"] = {"name": secret, "versions": ["c2VjcmV0"]}


def test_redis_is_reached_by_a_secret_and_a_network(cloud, project):
    made = project({"state_store": "redis", "workers": 2, "max_instances": 7, "min_instances": 2, "cpu": "2"})
    create_secret(cloud, f"{SERVICE}-redis-url")
    assert step(cloud, made, "candidate").returncode == 0
    notes = template(cloud)["metadata"]["annotations"]
    network = json.loads(notes["run.googleapis.com/network-interfaces"])
    assert network == [{"network": SERVICE, "subnetwork": SERVICE}]
    assert notes["run.googleapis.com/vpc-access-egress"] == "private-ranges-only"
    assert notes["autoscaling.knative.dev/maxScale"] == "7"
    assert cloud.service(SERVICE)["metadata"]["annotations"]["run.googleapis.com/minScale"] == "2"
    found = {entry["name"]: entry for entry in template(cloud)["spec"]["containers"][0]["env"]}
    assert found["REFLEX_REDIS_URL"]["valueFrom"]["secretKeyRef"] == {"name": f"{SERVICE}-redis-url", "key": "latest"}


def test_a_private_service_stays_private(cloud, project):
    made = project({"public": False})
    path = f"projects/{PROJECT}/locations/{REGION}/services/{SERVICE}"
    for part in ("candidate", "traffic"):
        assert step(cloud, made, part).returncode == 0
    assert cloud.members(path, "roles/run.invoker") == []
    # One that was open before the answer was changed is closed.
    cloud.policies[path] = {"bindings": [{"role": "roles/run.invoker", "members": ["allUsers", "user:a@example.com"]}]}
    assert step(cloud, made, "traffic").returncode == 0
    assert cloud.members(path, "roles/run.invoker") == ["user:a@example.com"]
