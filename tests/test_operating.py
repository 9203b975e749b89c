"""What an owner does after the first deployment: look, go back, move traffic in steps, read the log."""

import copy
import itertools
import math
import re

import pytest

from harness.commands import must_run
from harness.google_cloud import FOREIGN_PROPERTIES
from harness.google_cloud.interruptions import interrupted
from harness.google_cloud.steps import SERVICE, deploy, step, switch
from harness.history import commit

pytestmark = pytest.mark.slow

FIRST, SECOND, THIRD = "11111111", "22222222", "33333333"


def revision(build):
    return f"{SERVICE}-b{build}"


def entry(build, severity="ERROR", status=None, **more):
    """Write an entry of the app's log as Cloud Logging returns it."""
    request = {"httpRequest": {"status": status, "requestUrl": "https://example.com/"}} if status else {}
    labels = {"labels": {"service_name": SERVICE, "revision_name": revision(build)}}
    resource = {"resource": {"type": "cloud_run_revision"} | labels}
    return {"timestamp": "2026-01-02T03:04:05Z", "severity": severity, "insertId": "1"} | resource | request | more


@pytest.fixture
def deployed(cloud, ready, remembered):
    """Have two deployments of different commits, the second of which serves."""
    made = ready()

    def compute():
        deploy(cloud, made, FIRST, COMMIT_SHA="aaaaaaa" + "0" * 33)
        deploy(cloud, made, SECOND, COMMIT_SHA="bbbbbbb" + "0" * 33)
        cloud.calls.clear()
        return [cloud.resources, cloud.policies]

    cloud.resources, cloud.policies = remembered("two deployments", compute)
    return made


def test_each_command_says_how_it_is_used(cloud, ready):
    made = ready({"database": "postgres"})
    commands = {path.name for path in (made / "deploy").iterdir() if path.is_file() and path.suffix == ""}
    assert commands == {"back", "check", "domain", "logs", "now", "restore", "setup", "teardown"}
    for command in commands:
        done = cloud.run(f"deploy/{command}", "--help", cwd=made)
        assert done.returncode == 0, done.stdout
        assert done.stdout.startswith(f"Usage: deploy/{command}")
    assert cloud.calls == []


class TestBack:
    def test_the_list_has_the_commit_the_traffic_and_the_state(self, cloud, deployed):
        cloud.start = lambda _: (_ for _ in ()).throw(RuntimeError("failed to start"))
        assert step(cloud, deployed, "candidate", THIRD).returncode != 0
        before = len(cloud.changes())
        done = cloud.run("deploy/back", cwd=deployed, **FOREIGN_PROPERTIES)
        assert done.returncode == 0, done.stdout
        rows = {line.split()[-1]: line.split()[2:-1] for line in done.stdout.splitlines() if SERVICE in line}
        assert rows == {
            revision(FIRST): ["aaaaaaa", "0", "%", "ready"],
            revision(SECOND): ["bbbbbbb", "100", "%", "ready"],
            revision(THIRD): ["none", "0", "%", "failed"],
        }
        assert len(cloud.changes()) == before
        # One that never started cannot be chosen.
        done = cloud.run("deploy/back", "--yes", revision(THIRD), cwd=deployed)
        assert done.returncode == 1
        assert "did not start when it was deployed" in done.stdout
        assert len(cloud.changes()) == before

    @pytest.mark.parametrize("name", [revision(FIRST), "aaaaaaa"], ids=["revision", "commit"])
    def test_traffic_moves_to_a_revision_and_the_next_deployment_gets_it_again(self, name, cloud, deployed):
        done = cloud.run("deploy/back", "--yes", name, cwd=deployed, **FOREIGN_PROPERTIES)
        assert done.returncode == 0, done.stdout
        assert cloud.traffic(SERVICE) == {revision(FIRST): 100}
        again = cloud.run("deploy/back", "--yes", name, cwd=deployed)
        assert again.returncode == 0
        assert "has all traffic already" in again.stdout
        deploy(cloud, deployed, THIRD)
        assert cloud.traffic(SERVICE) == {revision(THIRD): 100}

    @pytest.mark.parametrize(
        ("arguments", "code", "says"),
        [
            (["--dry-run", revision(FIRST)], 0, f"--to-revisions={revision(FIRST)}=100"),
            ([revision(FIRST)], 2, "no terminal to confirm on"),
            (["--yes", "my-other-app-b1"], 2, "'my-other-app-b1' is 0 of the last 10 revisions"),
            (["--yes", "000000"], 2, "'000000' is 0 of the last 10 revisions"),
            (["--force"], 2, "unknown option '--force'"),
            (["--help"], 0, "Usage: deploy/back"),
        ],
        ids=str,
    )
    def test_nothing_moves_without_a_clear_order(self, arguments, code, says, cloud, deployed):
        before = len(cloud.changes())
        done = cloud.run("deploy/back", *arguments, cwd=deployed)
        assert done.returncode == code, done.stdout
        assert says in done.stdout
        assert len(cloud.changes()) == before

    def test_migrations_that_stay_are_named(self, cloud, ready):
        made = ready({"database": "postgres"})
        must_run("git", "init", "-q", "--initial-branch=main", cwd=made)
        commit(made, "Start")
        for build in (FIRST, SECOND):
            if build == SECOND:
                (made / "alembic/versions/0002_a_column.py").write_text("# a migration\n")
                (made / "notes.txt").write_text("not a migration\n")
                commit(made, "Add a column")
            deploy(cloud, made, build, COMMIT_SHA=must_run("git", "rev-parse", "HEAD", cwd=made).strip())
        done = cloud.run("deploy/back", "--dry-run", revision(FIRST), cwd=made)
        assert done.returncode == 0, done.stdout
        assert "these migrations stay applied" in done.stdout
        assert re.findall(r"^  (\S+)$", done.stdout, re.MULTILINE) == ["alembic/versions/0002_a_column.py"]
        # Where git does not know a commit, that is said instead of nothing.
        cloud.resources[f"namespaces/my-project-123/revisions/{revision(SECOND)}"]["metadata"]["labels"]["commit"] = (
            "c" * 40
        )
        done = cloud.run("deploy/back", "--dry-run", revision(FIRST), cwd=made)
        assert "are not both in this repository" in done.stdout


class TestGradual:
    def steps(self, cloud):
        """List what share of the traffic the third revision had after each change."""
        shares = []
        for call in cloud.changes():
            targets = call.body.get("spec", {}).get("traffic", [])
            share = sum(
                target.get("percent") or 0 for target in targets if target.get("revisionName") == revision(THIRD)
            )
            if call.method == "PUT" and shares[-1:] != [share]:
                shares.append(share)
        return shares

    def go(self, cloud, made, **more):
        assert step(cloud, made, "candidate", THIRD).returncode == 0
        return switch(cloud, made, THIRD, GRADUAL="yes", GRADUAL_SECONDS="0.2", **more)

    def test_a_revision_without_errors_gets_all_traffic_in_steps(self, cloud, deployed):
        cloud.app_log += [entry(SECOND), entry(THIRD, "INFO", 200)]
        done = self.go(cloud, deployed)
        assert done.returncode == 0, done.stdout
        assert self.steps(cloud) == [0, 10, 50, 100]
        assert cloud.traffic(SERVICE) == {revision(THIRD): 100}
        assert cloud.tags(SERVICE) == {}

    @pytest.mark.parametrize(
        "problem", [entry(THIRD, textPayload="Traceback"), entry(THIRD, "INFO", 503)], ids=["a traceback", "a 503"]
    )
    def test_one_with_errors_loses_it_again(self, problem, cloud, deployed):
        cloud.app_log.append(problem)
        done = self.go(cloud, deployed)
        assert done.returncode == 1
        assert self.steps(cloud) == [0, 10, 0]
        assert ("Traceback" if "textPayload" in problem else "503 https://example.com/") in done.stdout
        assert f"{revision(SECOND)}=100 serves again" in done.stdout
        assert cloud.traffic(SERVICE) == {revision(SECOND): 100}
        assert cloud.tags(SERVICE) == {}

    def test_a_log_that_cannot_be_read_is_no_proof(self, cloud, deployed):
        bindings = cloud.policies["projects/my-project-123"]["bindings"]
        bindings[:] = [binding for binding in bindings if binding["role"] != "roles/logging.viewer"]
        done = self.go(cloud, deployed)
        assert done.returncode == 1
        assert "its log cannot be read" in done.stdout
        assert cloud.traffic(SERVICE) == {revision(SECOND): 100}

    def test_the_first_deployment_has_nothing_to_share_with(self, cloud, ready):
        made = ready()
        done = self.go(cloud, made)
        assert done.returncode == 0, done.stdout
        assert cloud.traffic(SERVICE) == {revision(THIRD): 100}

    def test_deploy_now_asks_the_build_for_it(self, cloud, deployed):
        before = len(cloud.changes())
        shown = cloud.run("deploy/now", "--gradual", "--dry-run", cwd=deployed)
        assert shown.returncode == 0, shown.stdout
        assert "--substitutions=_GRADUAL=yes" in shown.stdout
        assert len(cloud.changes()) == before
        cloud.run("deploy/now", "--gradual", cwd=deployed)
        (build,) = (call.body for call in cloud.changes() if call.path.endswith("/builds"))
        assert build["substitutions"]["_GRADUAL"] == "yes"


def test_a_deployment_does_not_wait_for_a_newer_preview(cloud, deployed):
    assert step(cloud, deployed, "candidate", THIRD).returncode == 0
    (deployed / "deploy/env.my-project-123.yaml").write_text("")
    kept = {file.name: file.read_text() for file in (deployed / ".candidate").iterdir()}
    assert step(cloud, deployed, "candidate", "44444444", PREVIEW="pr-1").returncode == 0
    for name, text in kept.items():
        (deployed / ".candidate" / name).write_text(text)
    done = switch(cloud, deployed, THIRD)
    assert done.returncode == 0, done.stdout
    assert "waiting for its result" not in done.stdout
    assert cloud.traffic(SERVICE) == {revision(THIRD): 100}
    assert cloud.tags(SERVICE) == {"pr-1": revision("44444444")}


def test_a_preview_that_fails_its_trial_leaves_the_former_one_at_its_address(cloud, deployed):
    (deployed / "deploy/env.my-project-123.yaml").write_text("")
    for build in (THIRD, "44444444"):
        assert step(cloud, deployed, "candidate", build, PREVIEW="pr-1").returncode == 0
        if build == THIRD:
            (deployed / ".candidate/passed").touch()
        assert (step(cloud, deployed, "traffic", build, PREVIEW="pr-1").returncode == 0) == (build == THIRD)
    assert cloud.tags(SERVICE) == {"pr-1": revision(THIRD)}


class TestLogs:
    def test_the_newest_line_comes_last(self, cloud, deployed):
        cloud.app_log += [
            entry(FIRST, "INFO", textPayload="an old line"),
            entry(SECOND, "INFO", jsonPayload={"message": "a message of the app"}),
            entry(SECOND, "WARNING", 503),
        ]
        done = cloud.run("deploy/logs", cwd=deployed, **FOREIGN_PROPERTIES, TZ="UTC")
        assert done.returncode == 0, done.stdout
        lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
        assert lines[:3] == [
            "2026-01-02 03:04:05 INFO an old line",
            "2026-01-02 03:04:05 INFO a message of the app",
            "2026-01-02 03:04:05 WARNING 503 https://example.com/",
        ]
        assert "console.cloud.google.com/run/detail/us-central1/my-reflex-app/logs" in lines[3]
        for option, said in (("--errors", lines[2]), (f"--revision={revision(FIRST)}", lines[0])):
            found = cloud.run("deploy/logs", option, cwd=deployed, TZ="UTC").stdout.splitlines()
            assert [" ".join(line.split()) for line in found[:-1]] == [said]

    @pytest.mark.parametrize(
        ("option", "says"),
        [("--since=yesterday", "--since is 'yesterday'"), ("--lines=all", "--lines is 'all'"), ("--tail", "'--tail'")],
    )
    def test_a_wrong_option_is_named(self, option, says, cloud, ready):
        done = cloud.run("deploy/logs", option, cwd=ready())
        assert done.returncode == 2
        assert says in done.stdout
        assert cloud.calls == []

    def test_no_lines_are_said(self, cloud, deployed):
        assert "No lines in the last 1h." in cloud.run("deploy/logs", cwd=deployed).stdout


class TestDomain:
    DOMAIN = "app.example.com"

    def ask(self, cloud, made, *options, answers=True):
        """Run the command where the new address answers or not, as it would on the internet."""
        folder = cloud.folder / "bin"
        folder.mkdir(parents=True, exist_ok=True)
        curl = folder / "curl"
        curl.write_text(f'#!/bin/sh\necho "$*" >>{folder}/asked\nexit {0 if answers else 22}\n')
        curl.chmod(0o755)
        path = f"{folder}:{cloud.environment()['PATH']}"
        return cloud.run("deploy/domain", *options, self.DOMAIN, cwd=made, PATH=path, **FOREIGN_PROPERTIES)

    def test_from_a_domain_that_nobody_has_proved_to_an_address_that_answers(self, cloud, deployed):
        before = len(cloud.changes())
        done = self.ask(cloud, deployed)
        assert done.returncode == 1
        assert "gcloud domains verify example.com" in done.stdout
        assert len(cloud.changes()) == before
        cloud.verified_domains.add("example.com")
        for _ in range(2):  # and again after an interruption
            done = self.ask(cloud, deployed)
            assert done.returncode == 1
            assert f"  {self.DOMAIN}  CNAME  ghs.googlehosted.com." in done.stdout
            assert "not ready: Unknown Waiting for the DNS records." in done.stdout
        mapping = cloud.resources[f"namespaces/my-project-123/domainmappings/{self.DOMAIN}"]
        assert mapping["spec"]["routeName"] == SERVICE
        mapping["status"]["conditions"][1] |= {"status": "True", "message": ""}
        done = self.ask(cloud, deployed, answers=False)
        assert "does not answer yet" in done.stdout
        done = self.ask(cloud, deployed, "--wait")
        assert done.returncode == 0, done.stdout
        assert f"Ready: https://{self.DOMAIN}" in done.stdout
        assert f"--data deploy_url=https://{self.DOMAIN}" in done.stdout
        assert cloud.run("deploy/teardown", "--yes", cwd=deployed).returncode == 0
        assert not any("domainmappings" in path for path in cloud.resources)

    def test_a_domain_of_another_service_stays_with_it(self, cloud, deployed):
        cloud.verified_domains.add("example.com")
        assert self.ask(cloud, deployed).returncode == 1
        cloud.resources[f"namespaces/my-project-123/domainmappings/{self.DOMAIN}"]["spec"]["routeName"] = "other"
        done = self.ask(cloud, deployed)
        assert done.returncode == 1
        assert "is mapped to the service other" in done.stdout

    def test_a_look_that_fails_changes_nothing(self, cloud, deployed):
        cloud.verified_domains.add("example.com")
        cloud.failing.add(f"domainmappings/{self.DOMAIN}")
        before = len(cloud.changes())
        assert self.ask(cloud, deployed).returncode == 1
        assert len(cloud.changes()) == before

    def test_where_google_maps_no_domains_the_load_balancer_is_named(self, cloud, project):
        done = self.ask(cloud, project({"region": "europe-west3"}))
        assert done.returncode == 1
        assert "Cloud Run does not map domains in europe-west3" in done.stdout
        assert cloud.calls == []

    @pytest.mark.parametrize("domain", ["https://app.example.com", "App.example.com", "localhost", "a b.com", ""])
    def test_a_wrong_name_is_named(self, domain, cloud, ready):
        done = cloud.run("deploy/domain", domain, cwd=ready())
        assert done.returncode == 2
        assert f"DOMAIN is '{domain}' and must be" in done.stdout
        assert cloud.calls == []


@pytest.mark.parametrize(
    "command",
    [
        ("deploy/back", "--yes", revision(FIRST)),
        ("deploy/domain", TestDomain.DOMAIN),
        ("deploy/now", "--end-preview=pr-1"),
    ],
    ids=lambda command: command[0],
)
def test_a_command_that_breaks_off_at_any_request_ends_the_same_when_it_is_run_again(command, cloud, deployed):
    cloud.verified_domains.add("example.com")
    preview = {"tag": "pr-1", "revisionName": revision(FIRST)}
    cloud.service(SERVICE)["spec"]["traffic"].append(preview)
    cloud.service(SERVICE)["status"]["traffic"].append(preview | {"url": "https://pr-1---a.run.app"})

    def state():
        return cloud.traffic(SERVICE), cloud.tags(SERVICE), sorted(cloud.resources)

    unchanged = state()
    for left in interrupted(cloud, lambda: cloud.run(*command, cwd=deployed), state):
        assert left in (unchanged, state()), "half of it is done"


def test_traffic_that_moves_in_steps_and_breaks_off_at_any_request_is_moved_by_the_next_deployment(cloud, deployed):
    assert step(cloud, deployed, "candidate", THIRD).returncode == 0
    kept, seen = copy.deepcopy([cloud.resources, cloud.policies]), []
    for requests in itertools.count():
        cloud.resources, cloud.policies = copy.deepcopy(kept)
        cloud.requests_left = requests
        done = switch(cloud, deployed, THIRD, GRADUAL="yes", GRADUAL_SECONDS="0.1")
        if cloud.requests_left >= 0:
            break
        cloud.requests_left = math.inf
        shares = cloud.traffic(SERVICE)
        assert sum(shares.values()) == 100
        assert shares.keys() <= {revision(SECOND), revision(THIRD)}
        assert done.returncode != 0
        assert done.stdout.strip()
        if shares not in seen:
            seen.append(shares)
            candidate = {file: file.read_bytes() for file in (deployed / ".candidate").iterdir()}
            deploy(cloud, deployed, "44444444")
            assert cloud.traffic(SERVICE) == {revision("44444444"): 100}
            for file, content in candidate.items():
                file.write_bytes(content)
    assert [shares.get(revision(THIRD), 0) for shares in seen] == [0, 10, 50, 100]
    assert done.returncode == 0, done.stdout


def test_a_deployment_that_breaks_off_before_its_build_changes_nothing(cloud, deployed):
    def builds():
        return [call for call in cloud.changes() if call.path.endswith("/builds")]

    before, resources = len(cloud.calls), copy.deepcopy(cloud.resources)
    assert cloud.run("deploy/now", cwd=deployed).returncode == 0
    posted = cloud.calls.index(builds()[-1]) - before
    assert posted >= 3
    for requests in range(posted + 1):
        cloud.resources, cloud.requests_left = copy.deepcopy(resources), requests
        done = cloud.run("deploy/now", cwd=deployed)
        assert done.returncode == 1
        assert "broken off by the test" in done.stdout
        assert {path for path in cloud.resources if not path.startswith("b/")} == {
            path for path in resources if not path.startswith("b/")
        }
