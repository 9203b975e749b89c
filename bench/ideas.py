"""Ideas to make the template faster: each is a change of a contender, measured beside it, with what became of it."""

from dataclasses import dataclass

from bench.contenders import DEFAULT, GRANIAN, REDIS, TWO_WORKERS, UVICORN, Contender, Edit

PACKAGES = "--require-hashes -r requirements.txt"
"""The end of the line in the Dockerfile that installs the packages."""


def also(command: str) -> Edit:
    """Have the Dockerfile do something with the packages that it has just installed."""
    return Edit("Dockerfile", PACKAGES, f"{PACKAGES} \\\n    && {command}")


@dataclass(frozen=True)
class Idea:
    """A change, what it is a change of, and the decision with its reason."""

    change: Contender
    base: Contender
    decision: str


NOTHING_SHARED = Edit("production/gunicorn_conf.py", "in SHARED:", "in []:")

IDEAS = [
    Idea(
        Contender("each worker imports Reflex", TWO_WORKERS.answers, edits=(NOTHING_SHARED,)),
        TWO_WORKERS,
        "no: the workers would share neither the time nor the memory",
    ),
    Idea(
        Contender("the one worker imports Reflex", edits=(NOTHING_SHARED,)),
        DEFAULT,
        "no: less memory, but after a crash an open tab would wait for the import",
    ),
    Idea(
        Contender(
            "garbage collected while importing",
            edits=(
                Edit("production/gunicorn_conf.py", "\ngc.disable()", "\ngc.isenabled()"),
                Edit("production/__init__.py", "    gc.disable()", "    gc.isenabled()"),
            ),
        ),
        DEFAULT,
        "no: it finds nothing then",
    ),
    Idea(
        Contender(
            "gunicorn's own ASGI worker",
            edits=(
                Edit("production/gunicorn_conf.py", '"uvicorn_worker.UvicornWorker"', '"asgi"\nasgi_loop = "uvloop"'),
                Edit("production/gunicorn_conf.py", '    "uvicorn.lifespan.on",\n', ""),
                Edit("production/gunicorn_conf.py", '    "uvicorn.protocols.http.auto",\n', ""),
                Edit("production/gunicorn_conf.py", '    "uvicorn.protocols.websockets.auto",\n', ""),
            ),
        ),
        DEFAULT,
        "not yet: young, and it does not compress what it sends to a tab",
    ),
    Idea(
        Contender(
            "WebSocket by wsproto",
            edits=(
                also("uv pip uninstall --python /opt/venv/bin/python websockets"),
                Edit("production/gunicorn_conf.py", '    "uvicorn.protocols.websockets.auto",\n', ""),
            ),
        ),
        DEFAULT,
        "no: it is what uvicorn takes where the package websockets is missing, as in the published commands",
    ),
    Idea(
        Contender(
            "messages not compressed",
            {"server": "uvicorn"},
            edits=(Edit("start.sh", "--no-access-log", "--no-access-log --ws-per-message-deflate false"),),
        ),
        UVICORN,
        "no: what is sent costs more than the CPU; granian never compresses",
    ),
    Idea(
        Contender(
            "bytecode without docstrings and assertions",
            edits=(
                Edit(
                    "Dockerfile",
                    "FROM packages\nENV ",
                    "FROM packages\nRUN python -OO -m compileall -q -j 0 /opt/venv/lib "
                    "\"$(python -c 'import os; print(os.path.dirname(os.__file__))')\" || true\n"
                    "ENV PYTHONOPTIMIZE=2 ",
                ),
                Edit("Dockerfile", "python -m compileall", "python -OO -m compileall"),
            ),
        ),
        DEFAULT,
        "no: an app's own assertions would be gone, for nothing",
    ),
    Idea(
        Contender(
            "rloop for uvloop",
            {"server": "granian"},
            edits=(
                also("uv pip install --python /opt/venv/bin/python --no-cache --compile-bytecode rloop==0.5.0"),
                Edit("start.sh", "--loop uvloop", "--loop rloop"),
            ),
        ),
        GRANIAN,
        "no: no difference that is worth a change",
    ),
    Idea(Contender("half of Go's garbage in Caddy", environment={"GOGC": "50"}), DEFAULT, "no: no difference"),
    Idea(Contender("Python 3.11", {"python_version": "3.11"}), DEFAULT, "an answer; the default is 3.13"),
    Idea(Contender("Python 3.14", {"python_version": "3.14"}), DEFAULT, "an answer; the default is 3.13"),
    Idea(
        Contender("Python 3.15, whose imports wait", {"python_version": "3.15"}),
        DEFAULT,
        "an answer; the default is 3.13",
    ),
    Idea(
        Contender(
            "without hiredis", REDIS.answers, edits=(also("uv pip uninstall --python /opt/venv/bin/python hiredis"),)
        ),
        REDIS,
        "no: fixes/event_round_trips.py needs it",
    ),
    Idea(
        Contender("opportunistic locks", {"state_store": "redis"}, environment={"REFLEX_OPLOCK_ENABLED": "true"}),
        REDIS,
        "an option: what an instance did in the last 5 seconds is forgotten when it is killed",
    ),
]
