"""What a project says it costs: the same as by hand, from Google's list prices."""

import math
import re

import pytest

from harness.caches import ROOT
from tests.variants import name

WORDS = r"about (\d+) US dollars a month idle, (\d+) with 100 visitors a day and (\d+) with 10,000"
MONTH, DAY, VISIT = 30.4, 86400, 300

#: Answers, the number of visitors, and the month's price as a sum of what Google's lists have.
CASES = [
    ({}, 0, 0),
    # At least one tab is open a part of the day; 180,000 vCPU-seconds and 360,000 GiB-seconds are free.
    ({}, 100, ((open_100 := MONTH * DAY * (1 - math.exp(-100 * VISIT / DAY))) - 180e3) * 24e-6),
    ({}, 10_000, (2.62656e6 - 180e3) * 24e-6 + (1.31328e6 - 360e3) * 2.5e-6 + (7.6 - 2) * 0.40 + 151 * 0.12),
    ({"region": "europe-west3"}, 100, ((open_100 - 180e3) * 24e-6) * 1.4),
    ({"billing": "instance", "min_instances": 1}, 0, (2.62656e6 - 240e3) * 18e-6 + (1.31328e6 - 450e3) * 2e-6),
    ({"min_instances": 1}, 0, 2.62656e6 * 1.5 * 2.5e-6),
    ({"state_store": "redis"}, 0, 730 * 0.049),
    ({"state_store": "redis", "redis_tier": "standard"}, 0, 730 * 0.064),
    ({"database": "postgres"}, 0, 730 * 0.0105 + 1.70),
    ({"database": "postgres", "database_availability": "regional"}, 0, 2 * (730 * 0.0105 + 1.70)),
    (
        {"database": "postgres", "state_store": "redis", "max_instances": 20},
        0,
        730 * (0.0413 + 3.75 * 0.007 + 0.049) + 1.70,
    ),
]


@pytest.mark.parametrize(
    ("answers", "visitors", "dollars"),
    CASES,
    ids=lambda value: name(value) if value and isinstance(value, dict) else str(value)[:6],
)
def test_the_readme_and_the_page_have_the_price_of_the_answers(answers, visitors, dollars, render):
    made = render(answers)
    readme = (made / "README.md").read_text()
    stated = re.search(WORDS, readme)
    assert float(stated[{0: 1, 100: 2, 10_000: 3}[visitors]]) == pytest.approx(dollars, abs=1)
    row = {0: "none", 100: "100", 10_000: "10,000"}[visitors]
    assert f"| {row} | {stated[{0: 1, 100: 2, 10_000: 3}[visitors]]} |" in (made / "docs/production.md").read_text()


ROWS = {
    "the defaults": {},
    "`min_instances: 1`": {"min_instances": 1},
    "`billing: instance`": {"billing": "instance"},
    "`state_store: redis`": {"state_store": "redis"},
    "`database: postgres`": {"database": "postgres"},
    "both": {"state_store": "redis", "database": "postgres"},
}


@pytest.mark.parametrize("row", ROWS)
def test_the_table_of_prices_has_what_projects_say(row, render):
    stated = re.search(WORDS, (render(ROWS[row]) / "README.md").read_text())
    assert f"| {row} | {' | '.join(stated.groups())} |" in (ROOT / "docs/deploying.md").read_text()
