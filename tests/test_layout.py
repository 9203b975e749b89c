"""The repository that an owner opens: a short root, short pages, and a map that is complete."""

import re

import pytest

from harness.apps import adopt, copy_of
from tests.variants import COMBINATIONS, EDGES, name

MOST_FILES = 16
"""In the root, dotfiles included; a database adds alembic.ini."""
MOST_LINES = {"README.md": 110, "start.sh": 60, "Caddyfile": 60}
PAGES = ["README.md", "docs/production.md", "production/README.md", "deploy/README.md"]


@pytest.mark.parametrize("answers", [{}, *COMBINATIONS, *EDGES], ids=name)
def test_the_root_is_short_and_has_one_python_file(answers, render):
    made = render(answers)
    root = [path.name for path in made.iterdir() if path.is_file()]
    assert len(root) <= MOST_FILES + ("alembic.ini" in root), sorted(root)
    assert [file for file in root if file.endswith(".py")] == ["rxconfig.py"]


@pytest.mark.parametrize("answers", [{}, *COMBINATIONS, *EDGES], ids=name)
def test_what_an_owner_reads_first_is_short(answers, render):
    made = render(answers)
    lines = {file: len((made / file).read_text().splitlines()) for file in MOST_LINES}
    assert {file: count for file, count in lines.items() if count > MOST_LINES[file]} == {}


@pytest.mark.parametrize("answers", [{}, *COMBINATIONS, *EDGES], ids=name)
def test_the_map_names_everything_that_is_there_and_nothing_else(answers, render):
    package = render(answers) / "production"
    there = {path.name for path in package.iterdir()} - {"README.md", "__pycache__"}
    rows = re.findall(r"^\| (`.*?`) \|", (package / "README.md").read_text(), re.MULTILINE)
    named = {part.strip("`/") for row in rows for part in row.split(", ")}
    assert named == there


@pytest.mark.parametrize("answers", [{}, *COMBINATIONS, *EDGES], ids=name)
def test_the_links_of_the_pages_lead_somewhere(answers, render):
    made = render(answers)
    for page in PAGES:
        path = made / page
        for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
            file, _, heading = target.partition("#")
            linked = path.parent / file if file else path
            assert linked.exists(), f"{page}: {target}"
            headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE)
            assert not heading or heading in {title.lower().replace(" ", "-") for title in headings}, (
                f"{page}: {target}"
            )


def test_an_adopted_app_gets_a_short_root_too(tmp_path):
    shop = copy_of("bookshop", tmp_path / "shop")
    before = {path.name for path in shop.iterdir()}
    adopt(shop)
    added = {path.name for path in shop.iterdir() if path.is_file()} - before
    assert added == {
        *(".copier-answers.yml", ".dockerignore", ".env.example", ".gcloudignore", ".gitattributes"),
        *("Caddyfile", "Dockerfile", "DEPLOY.md", "cloudbuild.yaml", "compose.yaml", "start.sh"),
    }
