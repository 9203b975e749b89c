"""Refreshes every version that the template pins: `scripts/pins`.

`scripts/pins --excluded` lists the newer versions that the ranges exclude. Otherwise it writes, in this order:

- pins.yml: Caddy, bun, uv and the Python releases;
- the requirements files in template/: Python packages with their hashes;
- template/reflex.lock/: the frontend's packages;
- bench/*/Dockerfile: the images that the benchmark's references start from;
- includes/reserved_names.jinja: the names that an app cannot have, because these packages have them;
- .github/workflows/update.yml, here and in the template: the servers that its form offers;
- requirements.txt: what the template's own tests need.
"""

import argparse
import itertools
import json
import keyword
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import copier
import yaml

from harness.requirements import blocks, versions
from maintenance import releases
from maintenance.releases import uv

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = ROOT / "template"
SERVERS = list(yaml.safe_load((ROOT / "servers.yml").read_text())["servers"]["default"])
QUESTIONS = yaml.safe_load((ROOT / "copier.yml").read_text().rpartition("\n---\n")[2])
CHOICES = {
    "server": SERVERS,
    "state_store": list(QUESTIONS["state_store"]["choices"].values()),
    "database": list(QUESTIONS["database"]["choices"].values()),
}
Answers = tuple[str, ...]
#: Every server with every store and every database: what a project's packages depend on.
PROJECTS: list[Answers] = list(itertools.product(*CHOICES.values()))
PYTHONS: list[str] = QUESTIONS["python_version"]["choices"]
PINS = TEMPLATE / "{% if starter %}requirements.txt{% endif %}.jinja"
TOOLS = TEMPLATE / "{{ paths.tools }}.jinja"
HEADER = (
    "# Written by scripts/lock from {{ 'pyproject.toml' if starter else package ~ '/requirements-tools.in' }}:"
    " exact versions, with the hashes of their files."
)
# With the extras, as in scripts/lock: a pip before 23.3, such as Debian 12's, takes the newest version of what is asked
# for with an extra and pinned without. That version has no hash here, and pip ends.
LOCK = [
    *("pip", "compile", "--quiet", "--universal", "--python-version", "3.11", "--generate-hashes", "--no-annotate"),
    *("--no-strip-extras", "--no-emit-index-url", "--no-emit-find-links", "--no-header"),
]


def main() -> None:
    """Do what the command line asks for."""
    parser = argparse.ArgumentParser(prog="scripts/pins", description="Refresh every version that the template pins.")
    parser.add_argument(
        "--excluded", action="store_true", help="change nothing; list newer versions that the ranges exclude, and fail"
    )
    if parser.parse_args().excluded:
        print_excluded()
    else:
        refresh()


def print_excluded() -> None:
    """Print the newer versions that the ranges exclude; exit with 1 if there are any."""
    with tempfile.TemporaryDirectory() as folder:
        found = releases.excluded(render_for(Path(folder, *answers), answers) for answers in PROJECTS)
    if found:
        sys.exit("Newer versions that the ranges exclude:\n" + "\n".join(found))
    print("The ranges exclude no newer version.")


def refresh() -> None:
    """Refresh everything, and print each step."""
    with tempfile.TemporaryDirectory() as folder:
        step("the newest Caddy, bun, uv and Python")
        pythons = [render(Path(folder, python), python_version=python) for python in PYTHONS]
        releases.refresh(pythons)
        projects = {answers: render_for(Path(folder, *answers), answers) for answers in PROJECTS}
        step("the Python packages of each server, store and database")
        lock(PINS, "requirements.txt", projects, ["pyproject.toml"])
        for answers, project in projects.items():
            render_for(project, answers)
        lock(TOOLS, "requirements-dev.txt", projects, ["--group", "dev", "--constraints", "requirements.txt"])
        adopted = Path(folder, "adopted")
        adopted.mkdir()
        (adopted / "rxconfig.py").touch()
        leave_out_of_adopted(render(adopted, starter=False), projects[PROJECTS[0]])
        for answers, project in projects.items():
            render_for(project, answers)
        step("the names that these packages have")
        refresh_reserved_names(projects.values())
        step("the frontend's packages")
        refresh_frontend(projects[PROJECTS[0]])
        refresh_references(projects[PROJECTS[0]])
        step("whether the images exist")
        pythons = [render(Path(folder, python), python_version=python) for python in PYTHONS]
        releases.check(image for project in (*projects.values(), *pythons) for image in releases.images_of(project))
    step("the servers that the update form offers")
    refresh_forms()
    step("what the template's own tests need")
    uv(*LOCK, "--upgrade", "--group", "dev", "--output-file", "requirements.txt", cwd=ROOT)
    print("Done. Run scripts/test, then look at the changes with git diff.")


def step(what: str) -> None:
    """Print what comes next."""
    print(f"scripts/pins: {what}", flush=True)


def render(project: Path, **answers: str | bool) -> Path:
    """Render a project with some answers, the others being the defaults, from the files as they are now."""
    copier.run_copy(str(ROOT), project, data=answers, defaults=True, overwrite=True, quiet=True, vcs_ref="HEAD")
    return project


def render_for(project: Path, answers: Answers) -> Path:
    """Render a project with one of the servers, stores and databases."""
    return render(project, **dict(zip(CHOICES, answers, strict=True)))


def lock(template: Path, file: str, projects: dict[Answers, Path], options: list[str]) -> None:
    """Lock one requirements file for each server, store and database, and join the results into one template.

    A package that only some projects need, or need with another extra, is in a condition.
    """
    needed = {}
    for answers, project in projects.items():
        (project / file).unlink(missing_ok=True)
        uv(*LOCK, "--upgrade", *options, "--output-file", file, cwd=project)
        needed[answers] = blocks((project / file).read_text())
    lines = [HEADER]
    for package in sorted({package for packages in needed.values() for package in packages}):
        pinned = {answers: packages[package] for answers, packages in needed.items() if package in packages}
        found = {versions(block)[package] for block in pinned.values()}
        if len(found) > 1:
            sys.exit(f"{package} has another version in another project: {sorted(found)}")
        for block in sorted(set(pinned.values())):
            users = {answers for answers in pinned if pinned[answers] == block}
            whole = users == needed.keys()
            lines.append(block if whole else f"{{% if {condition(package, users)} -%}}\n{block}\n{{% endif -%}}")
    template.write_text("\n".join(lines) + "\n")


def leave_out_of_adopted(adopted: Path, starter: Path) -> None:
    """Put a condition around the tools that a project without the starter app does not get.

    Args:
        adopted: A project without it.
        starter: A project with it; its requirements-dev.txt is locked already.
    """
    options = (
        "production/requirements-tools.in",
        "--constraints",
        starter / "requirements-dev.txt",
        "--output-file",
        "tools.txt",
    )
    uv(*LOCK, *options, cwd=adopted)
    kept = blocks((adopted / "tools.txt").read_text())
    lines = [HEADER]
    for package, block in blocks((starter / "requirements-dev.txt").read_text()).items():
        lines.append(block if package in kept else f"{{% if starter -%}}\n{block}\n{{% endif -%}}")
    TOOLS.write_text("\n".join(lines) + "\n")


def condition(package: str, users: set[Answers]) -> str:
    """Write the condition of the projects that need a package: it may depend on one of the answers."""
    for place, name in enumerate(CHOICES):
        values = list(dict.fromkeys(answers[place] for answers in PROJECTS if answers in users))
        if users == {answers for answers in PROJECTS if answers[place] in values}:
            return f"{name} in {values}"
    return sys.exit(f"{package} is needed by {sorted(users)}: no answer alone tells by which")


def refresh_references(project: Path) -> None:
    """Have the benchmark's references start from the same images as the project."""
    lines = [line for line in (project / "Dockerfile").read_text().splitlines() if line.startswith("FROM ")]
    newest = {image.partition(":")[0]: image for image in (line.split()[1] for line in lines)}
    for dockerfile in (ROOT / "bench").glob("*/Dockerfile"):
        text = dockerfile.read_text()
        for name, image in newest.items():
            text = re.sub(rf"^FROM {re.escape(name)}:\S+", f"FROM {image}", text, flags=re.MULTILINE)
        dockerfile.write_text(text)


def refresh_reserved_names(projects: list[Path]) -> None:
    """Write the names that an app cannot have: Python's words and modules, the packages', the project's folders."""
    names = set(keyword.kwlist) | set(keyword.softkwlist) | {"test", "tests", "assets", "deploy", "docs", "scripts"}
    names |= {"production", "cloud_run", "rxconfig", "reflex"}
    names |= {"web", "states", "uploaded_files", "venv", "settings", "state"}
    # Modules that a later Python has or an earlier one had.
    names |= set(sys.stdlib_module_names) | {
        "annotationlib",
        "compression",
        "concurrent",
        "distutils",
        "imp",
        "pathlib",
    }
    with tempfile.TemporaryDirectory() as folder:
        for project in projects:
            uv("pip", "install", "--quiet", "--target", folder, "-r", "requirements.txt", cwd=project)
        for entry in Path(folder).iterdir():
            if entry.is_dir() or entry.suffix in {".py", ".so"}:
                names.add(entry.name.partition(".")[0])
    usable = sorted(name for name in {name.lower() for name in names} if re.fullmatch(r"[a-z]\w*", name))
    rows = ",\n  ".join(json.dumps(name) for name in usable)
    comment = "{#- Written by scripts/pins: names that an app cannot have. -#}"
    text = f"{comment}\n{{%- set reserved_names = [\n  {rows},\n] -%}}\n"
    (ROOT / "includes" / "reserved_names.jinja").write_text(text)


def refresh_forms() -> None:
    """Write the servers into the form of the workflow that proposes updates, which cannot read a table."""
    for form in (*ROOT.glob(".github/workflows/update.yml"), *TEMPLATE.glob("*/workflows/update.yml")):
        offered = re.compile(r"(\n      server:\n.*\n.*\n        options: ).*")
        form.write_text(offered.sub(rf'\1["", {", ".join(SERVERS)}]', form.read_text()))


def refresh_frontend(project: Path) -> None:
    """Build the default project's pages without a lock and keep the lock that Reflex writes."""
    shutil.rmtree(project / "reflex.lock", ignore_errors=True)
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    subprocess.run(["scripts/build"], cwd=project, env=environment, check=True)
    shutil.copytree(project / "reflex.lock", TEMPLATE / "reflex.lock", dirs_exist_ok=True)
    package = TEMPLATE / "reflex.lock" / "package.json"
    package.write_text(json.dumps(json.loads(package.read_text()), indent=2) + "\n")
    addresses = re.findall(r'"https?://[^"]*"', (TEMPLATE / "reflex.lock" / "bun.lock").read_text())
    if addresses:
        sys.exit(f"reflex.lock/bun.lock names the address of a package index: {addresses[0]}")


if __name__ == "__main__":
    main()
