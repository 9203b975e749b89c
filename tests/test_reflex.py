"""What this template takes from inside Reflex is still there, so that an upgrade that drops it is noticed here."""

import pytest
from house import must_run, run

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
        "REFLEX_ENV_MODE",
    ],
)
def test_a_setting_still_has_its_name(name, project):
    program = f"from reflex.environment import environment as e; print(e.{name}.name)"
    done = run(".venv/bin/python", "-c", program, cwd=project())
    assert done.stdout.strip().endswith(name), done.stdout


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
