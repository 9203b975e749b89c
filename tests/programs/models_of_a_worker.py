"""Asks the database as a worker does, prints how many modules of Alembic that took, then uses Reflex's migrations."""

import sys

import production  # noqa: F401 - as a server does first
import reflex as rx
from my_reflex_app.models import add_note, newest_notes
from reflex import model

add_note("kept")
assert newest_notes() == ["kept"]
engine, session = model.get_engine(), rx.session
print(len([name for name in sys.modules if name.partition(".")[0] == "alembic"]))
revision, revisions = model.get_migration_history()
assert revision == revisions[-1].revision
assert model.migrate()
assert (model.get_engine(), model.session, rx.session) == (engine, session, session), "two engines would have two pools"
assert newest_notes() == ["kept"]
