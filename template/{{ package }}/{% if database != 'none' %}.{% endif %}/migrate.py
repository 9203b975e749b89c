"""Brings the database to the newest migration, and checks that the migrations match the models.

Run it as `python -m production.migrate`. A deployment runs it once, in the new image, before the new revision gets
traffic; scripts/serve, scripts/dev and compose.yaml run it before they serve the app.
"""

import os
import re
import sys

os.environ["__REFLEX_SKIP_COMPILE"] = "1"

import sqlalchemy
from alembic.util import CommandError
from reflex import model
from reflex.config import get_config
from reflex.utils.prerequisites import get_app
from sqlalchemy.exc import SQLAlchemyError

MIGRATING = 7_205_759
"""The number of the PostgreSQL advisory lock that lets one migration run at a time."""


def main() -> str | None:
    """Migrate, and return an error message if that fails."""
    get_app()  # imports the models
    if not model.ModelRegistry.get_metadata().tables:
        print("migrate.py: the app has no models.")
        return None
    if not (url := get_config().db_url):
        return "the app has models and no database: set db_url in rxconfig.py, or REFLEX_DB_URL in the environment."
    where = re.sub(r"//.*@", "//***@", url)
    try:
        engine = model.get_engine()
        with engine.connect() as guard:
            if engine.dialect.name == "postgresql":
                guard.execute(sqlalchemy.text(f"SELECT pg_advisory_lock({MIGRATING})"))
            if not model.migrate():
                return "the app has models and no migrations. Run: .venv/bin/reflex db init, and commit alembic/"
            with engine.connect() as connection:
                differ = model.alembic_autogenerate(connection, write_migration_scripts=False)
    except CommandError as error:
        return (
            f"the database {where} is at a migration that this version of the app does not have ({error})."
            " To roll back, switch traffic to the earlier revision instead of deploying the older code."
        )
    except SQLAlchemyError as error:
        return f"the database {where} (REFLEX_DB_URL) cannot be migrated: {error}"
    if differ:
        return "the models differ from the migrations. Run: .venv/bin/reflex db makemigrations, and commit alembic/"
    print(f"migrate.py: {where} is at the newest migration.")
    return None


if __name__ == "__main__":
    if problem := main():
        sys.exit(f"migrate.py: {problem}")
