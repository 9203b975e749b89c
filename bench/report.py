"""Makes the tables and the charts of bench/results.json: in bench/README.md, and the short ones in the README."""

import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.contenders import ARTICLE, BENCH, DEFAULT, EXAMPLE, REDIS, TWO_WORKERS
from bench.ideas import IDEAS
from harness.servers import SERVERS

ROOT = BENCH.parent
RESULTS = BENCH / "results.json"

Values = dict[str, list[float | None]]

#: What the report shows of each contender, in groups: a title and the names of the measurements.
GROUPS = {
    "Cold start": ["first page, s", "first event, s", "button, s", "5xx while starting"],
    "Load": [
        *("events per s", "events per CPU-s", "bytes per event", "p50 at saturation, ms", "p99 at saturation, ms"),
        *("p50 at 200/s, ms", "p99 at 200/s, ms", "static files per s"),
    ],
    "Memory": ["idle, MiB", "1 tab, MiB", "100 tabs, MiB", "1000 tabs, MiB", "KiB per tab"],
    "Pages and images": [
        *("first page load, kB", "image over its base, MB", "clean build, s", "rebuild, s", "steps of a rebuild"),
    ],
    "An open tab when the worker is killed or replaced": [
        *("crash: without answers, s", "crash: clicks forgotten"),
        *("recycle: without answers, s", "recycle: clicks forgotten"),
    ],
    "Two cores for everybody": ["events per s on two cores", "the client's share of them"],
}

#: What is compared of each idea, as ratios to what it is a change of.
COMPARED = ["first event, s", "events per CPU-s", "idle, MiB"]

#: What is promised, as ratios: the measurement, what it is compared with, and the most that it may be.
TARGETS = [
    ("first page, s", ARTICLE.name, 0.12),
    ("first page, s", EXAMPLE.name, 1.0),
    ("first event, s", ARTICLE.name, 0.5),
    ("first event, s", EXAMPLE.name, 0.6),
    ("idle, MiB", EXAMPLE.name, 0.8),
    ("image over its base, MB", EXAMPLE.name, 0.6),
    ("first page load, kB", EXAMPLE.name, 0.7),
]

LIGHT = {"text.color": "#1f2328", "axes.labelcolor": "#1f2328", "xtick.color": "#59636e", "ytick.color": "#1f2328"}
DARK = {"text.color": "#f0f6fc", "axes.labelcolor": "#f0f6fc", "xtick.color": "#9198a1", "ytick.color": "#f0f6fc"}


def main() -> None:
    """Write everything again."""
    loaded = json.loads(RESULTS.read_text())
    results: dict[str, Values] = loaded["results"]
    for theme, colours in {"light": LIGHT, "dark": DARK}.items():
        chart(results, BENCH / f"cold-start-{theme}.svg", colours)
    replace(BENCH / "README.md", "RESULTS", details(loaded))
    replace(ROOT / "README.md", "BENCHMARK", summary(results))
    replace(ROOT / "docs/servers.md", "BENCHMARK", comparison(loaded["about"], results))


def replace(file: Path, mark: str, text: str) -> None:
    """Put a text between two marks of a Markdown file."""
    before, _, rest = file.read_text().partition(f"<!-- {mark} -->\n")
    _, _, after = rest.partition(f"<!-- END {mark} -->")
    file.write_text(f"{before}<!-- {mark} -->\n{text}<!-- END {mark} -->{after}")


def measured(values: list[float | None]) -> list[float]:
    """Leave out what never happened."""
    return [value for value in values if value is not None]


def middle(values: list[float | None]) -> float:
    """Give the median of what was measured."""
    return statistics.median(measured(values))


def shown(values: list[float | None]) -> str:
    """Write a median, with the smallest and the largest where there were several."""
    if not measured(values):
        return "never"
    low, high = number(min(measured(values))), number(max(measured(values)))
    return low if low == high else f"{number(middle(values))} ({low} to {high})"


def number(value: float) -> str:
    """Write a number with three digits that mean something."""
    if value == 0 or value >= 100:  # noqa: PLR2004
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(results: dict[str, Values], names: list[str]) -> str:
    """Write a table: a row for each contender that has any of the measurements, a column for each measurement."""
    names = [name for name in names if any(name in values for values in results.values())]
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for contender, values in results.items():
        if not values.keys() & set(names):
            continue
        cells = [shown(values[name]) if name in values else "" for name in names]
        lines.append(f"| {contender} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ratios(results: dict[str, Values]) -> str:
    """Write the promises and what became of them, with the server that does best where one does better."""
    lines = [
        "| of the default project | compared with | at most | measured | | the best server |",
        "| --- | --- | ---: | ---: | --- | --- |",
    ]

    def row(what: str, other: str, most: float, ratio_of: Callable[[str], float], names: Iterable[str]) -> None:
        ratio = ratio_of(DEFAULT.name)
        best = min(names, key=ratio_of)
        better = f"{best}, {ratio_of(best):.2f}" if ratio_of(best) < ratio - 0.005 else ""  # as it is shown
        verdict = "kept" if ratio <= most else "**not kept**"
        lines.append(f"| {what} | {other} | {most:.2f} | {ratio:.2f} | {verdict} | {better} |")

    def of(name: str, measurement: str) -> float:
        return middle(results[name][measurement])

    for measurement, other, most in TARGETS:
        if measurement in results[other]:
            against = of(other, measurement)
            row(measurement, other, most, lambda name, m=measurement, a=against: of(name, m) / a, SERVERS)
    alone = of(DEFAULT.name, "import alone, s")
    row("first event, s", "the import of the app alone", 1.2, lambda name: of(name, "first event, s") / alone, SERVERS)
    clean = "clean build, s"
    if clean in results[DEFAULT.name]:
        row("rebuild, s", "its own clean build", 0.5, lambda name: of(name, "rebuild, s") / of(name, clean), SERVERS)
    most_events = max(of(name, "events per CPU-s") for name in SERVERS)
    row(
        *("CPU per event", "the best of the four", 1.05),
        lambda name: most_events / of(name, "events per CPU-s"),
        SERVERS,
    )
    redis = of(REDIS.name, "events per CPU-s") / of(TWO_WORKERS.name, "events per CPU-s")
    row("CPU per event, 2 workers with Redis", "1 worker with Redis", 1.15, lambda _: redis, [DEFAULT.name])
    return "\n".join(lines) + "\n"


def tried(results: dict[str, Values]) -> str:
    """Write the ideas, what each did to what it is a change of, and what became of it."""
    lines = [
        f"| the idea | a change of | {' | '.join(COMPARED)} | taken |",
        f"| --- | --- |{' ---: |' * len(COMPARED)} --- |",
    ]
    for idea in IDEAS:
        if idea.change.name not in results:  # one that changes an image, and there were none
            continue
        change, base = results[idea.change.name], results[idea.base.name]
        cells = [f"{middle(change[name]) / middle(base[name]):.2f}" for name in COMPARED]
        lines.append(f"| {idea.change.name} | {idea.base.name} | {' | '.join(cells)} | {idea.decision} |")
    return "\n".join(lines) + "\n"


def shares(measurement: str, values: dict[str, float]) -> str:
    """Write how something adds up, the largest share first."""
    total = sum(values.values())
    lines = [f"| {measurement} | {number(total)} | |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {number(value)} | {value / total:.0%} |" for name, value in values.items()]
    return "\n".join(lines) + "\n"


def details(loaded: dict[str, dict]) -> str:
    """Write everything that was measured."""
    about, results = loaded["about"], loaded["results"]
    texts = {name: number(value) if isinstance(value, float) else value for name, value in about.items()}
    facts = "".join(f"- {name}: {text}\n" for name, text in texts.items())
    tables = "".join(f"\n### {title}\n\n{table(results, names)}" for title, names in GROUPS.items())
    breakdowns = "\n".join(shares(*breakdown) for breakdown in loaded["breakdowns"].items())
    alone = shown(results[DEFAULT.name]["import alone, s"])
    one, two = (middle(results[name]["events per s on two cores"]) for name in (REDIS.name, TWO_WORKERS.name))
    return f"""
{facts}
Medians, with the smallest and the largest where there were several rounds.
{tables}
On two cores two workers answer {two / one:.2f} times as many events per second as one. The import of the app alone,
`python -c` with the default project's packages, takes {alone} s: no server can answer an event before.

### Ideas that were tried

Each idea beside what it is a change of, in the same rounds; below 1 is less.

{tried(loaded["ideas"])}
### Where it goes

What nobody's setting saves: the packages that the import of the app imports, each without what it imports itself; the
packages in the first page's scripts, before they are compressed; and what of the memory each process has for itself
while no tab is open.

{breakdowns}
### What is promised

{ratios(results)}
"""


def duration(values: list[float | None]) -> str:
    """Write a median as people read it: milliseconds below a second."""
    seconds = middle(values)
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def summary(results: dict[str, Values]) -> str:
    """Write what the README shows."""
    page, event = (duration(results[DEFAULT.name][name]) for name in ("first page, s", "first event, s"))
    before = duration(results[ARTICLE.name]["first page, s"])
    return f"""
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="bench/cold-start-dark.svg">
  <img src="bench/cold-start-light.svg" alt="Seconds from a cold container to the first page and to the first event">
</picture>

With the defaults a cold container shows its first page after {page} and answers its first event after {event}. With the
script that an article published, both take {before}.
"""


def comparison(about: dict[str, str | float], results: dict[str, Values]) -> str:
    """Write what the page about the servers shows: medians only, in the units that people read."""
    lines = ["| | first page | first event | idle memory | events per CPU-second |", f"| --- |{' ---: |' * 4}"]
    for name, values in results.items():
        cells = [duration(values["first page, s"]), duration(values["first event, s"])]
        # Of some only the cold start is measured.
        cells.append(f"{middle(values['idle, MiB']):.0f} MiB" if "idle, MiB" in values else "")
        cells.append(f"{middle(values['events per CPU-s']):,.0f}" if "events per CPU-s" in values else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    table = "\n".join(lines)
    return f"""
{table}

Medians, {about["run"]}, on {about["machine"]}, {about["date"]}; {about["versions"]}. The
[benchmark](../bench/README.md) has everything that was measured, and how; `scripts/bench` measures it again.
"""


def chart(results: dict[str, Values], file: Path, colours: dict[str, str]) -> None:
    """Draw how long a cold container takes to the first page and to the first event."""
    names = list(results)[::-1]
    style = {"svg.hashsalt": "bench", "font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False}
    with mpl.rc_context(colours | style | {"axes.edgecolor": "#8b949e"}):
        figure, axes = plt.subplots(figsize=(8, 3.8))
        for offset, (measurement, label, colour) in enumerate(
            [("first event, s", "first event", "#6e56cf"), ("first page, s", "first page", "#30a46c")]
        ):
            values = [middle(results[name][measurement]) for name in names]
            low = [value - min(results[name][measurement]) for name, value in zip(names, values, strict=True)]
            high = [max(results[name][measurement]) - value for name, value in zip(names, values, strict=True)]
            places = [place + 0.38 * offset - 0.19 for place in range(len(names))]
            axes.barh(places, values, 0.36, xerr=[low, high], label=label, color=colour, ecolor="#8b949e")
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("seconds from the container's first process")
        axes.legend(frameon=False, loc="upper right")
        figure.tight_layout()
        figure.savefig(file, transparent=True, metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
