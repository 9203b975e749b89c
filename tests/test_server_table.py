"""A server is its row in servers.yml, its start line and its sentence."""

import re

import yaml

from harness.caches import ROOT
from harness.history import commit, git
from harness.projects import copy
from harness.servers import SERVERS

ROW = """
    fifth:
      choice: one that was added
      runs: the fifth
      uses: []
      process: fifth
      packages:
        - fifth>=1,<2
      imports: [fifth.main]
      recycles_from: 1
"""
START_LINE = """
{%- elif server == 'fifth' %}
    fifth {{ package }}:app &
{%- else %}
    # GRANIAN_WORKERS"""


def test_each_server_has_its_sentence():
    rows = re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs/servers.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows if name != "server"][: len(SERVERS)] == SERVERS


def test_a_fifth_server_is_a_row_and_a_start_line(tmp_path):
    git(tmp_path, "clone", "--quiet", ROOT, "template")
    template = tmp_path / "template"
    table = template / "servers.yml"
    table.write_text(table.read_text().rstrip() + ROW)
    start = template / "template/{{ paths.start }}.jinja"
    text, places = re.subn(r"\n\{%- else %\}\n    # GRANIAN_WORKERS", lambda _: START_LINE, start.read_text(), count=1)
    assert places == 1
    start.write_text(text)
    commit(template, "Add a server")

    made = copy(tmp_path / "project", {"server": "fifth", "max_requests": 9}, template=template)
    assert yaml.safe_load((made / ".copier-answers.yml").read_text())["max_requests"] == 9
    for file, words in {
        "start.sh": "    fifth production:app &",
        "production/environment.sh": "SERVER=fifth",
        "pyproject.toml": '"fifth>=1,<2"',
        "Dockerfile": "import fifth.main",
        "production/README.md": "the fifth on 127.0.0.1:8001",
    }.items():
        assert words in (made / file).read_text(), file
