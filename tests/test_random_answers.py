"""Any set of answers: an accepted one renders a project that is whole, a rejected one says why, and none runs as code.

hypothesis draws the sets, hundreds by default and thousands a night (HYPOTHESIS_PROFILE=night).
"""

import ast
import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from copier import run_copy
from copier.errors import CopierError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.caches import ROOT
from harness.hostile import note
from harness.projects import copy_files

pytestmark = pytest.mark.slow

COMMON = {
    "deadline": None,
    "derandomize": True,  # a red run can be repeated
    "database": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
}
settings.register_profile("day", max_examples=200, **COMMON)
settings.register_profile("night", max_examples=2000, **(COMMON | {"derandomize": False, "print_blob": True}))
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "day"))

MARK = "MARK-OF-CODE-THAT-RAN"
"""A file of this name is there when an answer was run as code."""
CODE = [
    *(f"$(touch {MARK})", f"`touch {MARK}`", f"'; touch {MARK}; '", f'"; touch {MARK}; "', f"x\ntouch {MARK}"),
    *(f"a && touch {MARK}", f"| touch {MARK}", f"<(touch {MARK})", f"a[$(touch {MARK})]", f"${{x:=$(touch {MARK})}}"),
    f'"); open("{MARK}", "w"); ("',
    f"'''); open('{MARK}', 'w'); ('''",
    f"{{{{ self.__init__.__globals__.__builtins__.open('{MARK}', 'w') }}}}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{% endfor %}",
    "${{ secrets.GITHUB_TOKEN }}",
    f"!!python/object/apply:os.system ['touch {MARK}']",
    "a: b\n- c",
    "# comment",
    "%s %(x)s \\u0000 \\",
    "*alias &anchor",
    "--help",
    "</script><script>alert(1)</script>",
]
TEXT = st.one_of(st.sampled_from(CODE), st.text(max_size=90), st.sampled_from(["", "Tea Shop", "日本", "a" * 300]))
NOT_A_NUMBER = st.one_of(
    st.integers(-3, 20), st.sampled_from([256, 1000, 1001, 10**9, 1.5, True, None, "4", "1; ls", *CODE])
)


class Loader(yaml.SafeLoader):
    """Reads copier.yml, whose parts are in several documents and files."""


Loader.add_constructor("!include", lambda _loader, _node: {})
PARTS = [part or {} for part in yaml.load_all((ROOT / "copier.yml").read_text(), Loader)]
ASKED = {name: asked for part in PARTS for name, asked in part.items() if isinstance(asked, dict)}
ASKED = {name: asked for name, asked in ASKED.items() if "help" in asked and name not in ("starter", "own_files")}
SERVERS = list(yaml.safe_load((ROOT / "servers.yml").read_text())["servers"]["default"])
NAMES = {
    "project_name": TEXT,
    "project_description": TEXT,
    "app_name": st.from_regex(r"[a-zA-Z_]\w{0,20}", fullmatch=True),
    "service_name": st.from_regex(r"[a-z]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True),
    "gcp_project": st.from_regex(r"[a-z][-a-z0-9]{4,20}[a-z0-9]", fullmatch=True),
    "deploy_url": st.sampled_from(["https://example.com", "https://shop.example.com"]),
}
NUMBERS = {"workers": 4, "threads": 64, "max_requests": 2, "concurrency": 80, "max_instances": 4, "min_instances": 1}


def sensible(name: str) -> st.SearchStrategy:
    """Draw an answer that is accepted, unless another one forbids it."""
    if name in NAMES:
        return NAMES[name]
    if name in NUMBERS:
        return st.integers(0 if name.startswith("m") else 1, NUMBERS[name])
    choices = SERVERS if name == "server" else ASKED[name]["choices"]
    return st.sampled_from(list(choices.values()) if isinstance(choices, dict) else choices)


def hostile(name: str) -> st.SearchStrategy:
    """Draw anything."""
    return NOT_A_NUMBER if name in NUMBERS else TEXT


ANSWERS = st.builds(
    lambda most, some: most | some,
    st.fixed_dictionaries({}, optional={name: sensible(name) for name in ASKED}),
    st.sampled_from(["", "", *ASKED]).flatmap(
        lambda name: st.fixed_dictionaries({name: hostile(name)} if name else {})
    ),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Have the template without its history, which Copier would clone each time."""
    folder = tmp_path_factory.mktemp("template") / "template"
    kept = shutil.ignore_patterns(".git", ".cache", ".venv", "__pycache__", "tests", "docs", "bench", "harness")
    return shutil.copytree(ROOT, folder, ignore=kept)


@pytest.fixture(scope="module")
def tools(render, tmp_path_factory):
    """Have a PATH with Caddy and a gcloud that only says which account and project it has."""
    from harness.installs import install  # noqa: PLC0415

    project = copy_files(render(), tmp_path_factory.mktemp("tools") / "project")
    folder = project / "stand-ins"
    folder.mkdir()
    gcloud = folder / "gcloud"
    gcloud.write_text('#!/bin/sh\ncase "$*" in *"get-value"*|*"get project"*) echo my-project-123 ;; esac\n')
    gcloud.chmod(0o755)
    return f"{folder}:{install(project)}:{os.environ['PATH']}"


def check_files(project: Path) -> None:
    """Parse every file that has a syntax."""
    for path in (each for each in project.rglob("*") if each.is_file()):
        text = path.read_text()
        if path.suffix == ".py":
            compile(ast.parse(text), str(path), "exec")
        elif path.suffix in {".yml", ".yaml"}:
            list(yaml.safe_load_all(text))
        elif path.suffix == ".json":
            json.loads(text)
        elif path.suffix == ".toml":
            tomllib.loads(text)


def shells(project: Path) -> list[Path]:
    """List the shell scripts of a project."""
    found = [
        path for path in project.rglob("*") if path.is_file() and path.read_text().startswith("#!/usr/bin/env bash")
    ]
    return [*found, project / "production/environment.sh"]


def build(project: Path) -> None:
    """Give it what start.sh looks for before it starts anything."""
    (project / ".web/build/client").mkdir(parents=True)
    (project / ".web/backend").mkdir()
    matchers = ["@hidden path /a", "@api path /b", "@api_hosts host c", "@rest path /d", "@parameter path /e"]
    (project / ".web/build/routes.caddy").write_text(
        "\n".join([*matchers, "map {path} {inline_scripts} {\n\tdefault x\n}\n"])
    )


def run_scripts(project: Path, path: str) -> None:
    """Read every script, and run those whose commands an answer could have got into."""
    build(project)
    environment = {"PATH": path, "HOME": str(project), "REFLEX_REDIS_URL": "redis://localhost:1"}
    commands = [
        ["bash", "-c", 'for script; do bash -n "$script" || exit; done', "bash", *map(str, shells(project))],
        ["bash", "-euc", 'say() { echo "$*"; }; . ./production/environment.sh'],
        ["bash", "deploy/setup", "--dry-run"],
        ["caddy", "adapt", "--config", "Caddyfile", "--adapter", "caddyfile"],
    ]
    for command in commands:
        done = subprocess.run(
            command, cwd=project, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0 or is_refused(done), f"{command}: {done.stdout}{done.stderr}"


def is_refused(done: subprocess.CompletedProcess[str]) -> bool:
    """Return whether a set-up ended with the one reason that an accepted set of answers may give it."""
    return done.returncode == 2 and "the database is a file (database=sqlite)" in done.stderr


@pytest.mark.long
@given(answers=ANSWERS)
def test_any_answers(answers, template, tools, tmp_path_factory):
    target = tmp_path_factory.mktemp("any") / "project"
    try:
        run_copy(str(template), target, data=answers, defaults=True, quiet=True)
    except (ValueError, CopierError) as error:
        said, cause = str(error), error.__context__
        # Copier reads a number as YAML, and names no question if it is none.
        assert any(name in said for name in answers) or isinstance(cause, yaml.YAMLError), said
        assert not target.exists() or not any(target.iterdir())
        note("answers", "sets rejected with the reason", 1)
        return
    check_files(target)
    run_scripts(target, tools)
    settings_file = target / yaml.safe_load((target / ".copier-answers.yml").read_text())["app_name"] / "settings.py"
    exec(settings_file.read_text(), {})  # noqa: S102 - it is two constants
    kept = yaml.safe_load((target / ".copier-answers.yml").read_text())
    assert {name: kept[name] for name in answers if name in kept} == {
        name: value for name, value in answers.items() if name in kept
    }
    assert not list(target.rglob(MARK))
    assert not Path(MARK).exists()
    note("answers", "sets that gave a whole project", 1)
    shutil.rmtree(target.parent)


VARIABLES = [
    *("WORKERS", "THREADS", "MAX_REQUESTS", "STARTUP_SECONDS", "PORT", "BACKEND_PORT", "CLOSED_TABS", "MAX_BODY_MB"),
    *("BLOCKED_SECONDS", "LOG_FORMAT", "GOOGLE_CLOUD_PROJECT"),
]
VALUES = st.one_of(
    st.sampled_from([*CODE, "0", "-1", "1", "08", "16", "1e3", "99999999999999999999", "json", "text", " 1", "1\n"]),
    st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=20),
)


@pytest.fixture(scope="module")
def rendered(template, tmp_path_factory):
    target = tmp_path_factory.mktemp("environment") / "project"
    run_copy(str(template), target, defaults=True, quiet=True)
    build(target)
    return target


@given(variables=st.dictionaries(st.sampled_from(VARIABLES), VALUES, min_size=1, max_size=4))
def test_any_environment(variables, rendered):
    """start.sh takes a variable, or ends with its name and the rule; none runs as code."""
    script = 'say() { printf "%s\\n" "$1"; }; . ./production/environment.sh; echo accepted'
    environment = {"PATH": os.environ["PATH"]} | variables
    done = subprocess.run(
        ["bash", "-euc", script], cwd=rendered, env=environment, capture_output=True, text=True, timeout=20, check=False
    )
    assert not (rendered / MARK).exists()
    assert done.stderr == ""
    if done.returncode == 0:
        assert done.stdout == "accepted\n"
    else:
        assert done.returncode == 2
        assert any(name in done.stdout for name in variables)
        assert "must be" in done.stdout or "more than one worker needs Redis" in done.stdout or "both" in done.stdout
    note("answers", "environments of start.sh", 1)
