"""The table of servers, servers.yml, as tests and benchmark read it."""

import yaml

from harness.caches import ROOT

TABLE: dict[str, dict] = yaml.safe_load((ROOT / "servers.yml").read_text())["servers"]["default"]
"""What the template knows of each server, by its name."""

SERVERS = list(TABLE)
