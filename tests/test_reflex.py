"""What this template takes from inside Reflex is still there, so that an upgrade that drops it is noticed here."""

import re

import pytest

from harness.commands import must_run, run

SKIPS = "from reflex.environment import environment as e; print(e.REFLEX_SKIP_COMPILE.get())"


def test_compiling_can_be_skipped(project):
    made = project()
    assert must_run(".venv/bin/python", "-c", SKIPS, cwd=made, __REFLEX_SKIP_COMPILE="1").strip().endswith("True")
    assert must_run(".venv/bin/python", "-c", SKIPS, cwd=made).strip().endswith("False")


@pytest.mark.parametrize(
    "name",
    [
        "REFLEX_STATES_WORKDIR",
        "REFLEX_UPLOADED_FILES_DIR",
        "REFLEX_WEB_WORKDIR",
        "REFLEX_DIR",
        "REFLEX_USE_SYSTEM_BUN",
        "REFLEX_CHECK_LATEST_VERSION",
        "REFLEX_IGNORE_REDIS_CONFIG_ERROR",
        "REFLEX_OPLOCK_ENABLED",
        "REFLEX_ENV_MODE",
    ],
)
def test_a_setting_still_has_its_name(name, project):
    program = f"from reflex.environment import environment as e; print(e.{name}.name)"
    done = run(".venv/bin/python", "-c", program, cwd=project())
    assert done.stdout.strip().endswith(name), done.stdout


def test_redis_tells_what_reflex_waits_for(project):
    """deploy/setup turns these notices on."""
    program = "from reflex.istate.manager.redis import NOTIFY_KEYSPACE_EVENTS as notices; print(notices)"
    made = project({"state_store": "redis"})
    set_up = re.search(r"notify-keyspace-events=(\S+)'", (made / "deploy/setup").read_text())[1]
    assert set(must_run(".venv/bin/python", "-c", program, cwd=made).split()[-1]) == set(set_up)


def test_a_busy_tabs_state_is_kept_for_five_seconds(project):
    """As the README says."""
    program = "from reflex.istate.manager.redis import _default_oplock_hold_time_ms as time; print(time())"
    assert must_run(".venv/bin/python", "-c", program, cwd=project({"state_store": "redis"})).split()[-1] == "5000"


@pytest.mark.slow
@pytest.mark.parametrize("skip", ["1", "0"])
def test_only_skipping_keeps_the_backend_from_compiling(skip, project):
    made = project(built=True)
    marker = made / ".web" / "routes.json"
    marker.write_text("[]")
    call = "from my_reflex_app.my_reflex_app import app; app()"
    path = f"{made / '.venv/bin'}:/usr/bin:/bin"
    settings = {"REFLEX_ENV_MODE": "prod", "REFLEX_USE_SYSTEM_BUN": "1", "__REFLEX_SKIP_COMPILE": skip}
    must_run(".venv/bin/python", "-c", call, cwd=made, PATH=path, **settings)
    assert (marker.read_text() == "[]") == (skip == "1")
