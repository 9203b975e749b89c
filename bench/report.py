"""Makes the tables and the charts of bench/results.json: in bench/README.md, and the short ones in the README."""

import json
import statistics
from pathlib import Path

import matplotlib as mpl
from contenders import ARTICLE, BENCH, DEFAULT, EXAMPLE
from matplotlib import pyplot as plt

ROOT = BENCH.parent
RESULTS = BENCH / "results.json"

Values = dict[str, list[float | None]]

#: What the report shows of each contender, in groups: a title and the names of the measurements.
GROUPS = {
    "Cold start": ["first page, s", "first event, s", "button, s", "5xx while starting"],
    "Load": ["events per s", "events per CPU-s", "p50 at 200/s, ms", "p99 at 200/s, ms", "static files per s"],
    "Memory": ["idle, MiB", "100 tabs, MiB", "1000 tabs, MiB"],
    "Pages and images": [
        *("first page load, kB", "image over its base, MB", "clean build, s", "rebuild, s", "steps of a rebuild"),
    ],
    "A worker that is killed": ["answers after a crash, s"],
}

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
    """Write everything anew."""
    loaded = json.loads(RESULTS.read_text())
    results: dict[str, Values] = loaded["results"]
    for theme, colours in {"light": LIGHT, "dark": DARK}.items():
        chart(results, BENCH / f"cold-start-{theme}.svg", colours)
    replace(BENCH / "README.md", "RESULTS", details(loaded["about"], results))
    replace(ROOT / "README.md", "BENCHMARK", summary(loaded["about"], results))


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
    """Write a table: a row for each contender, a column for each measurement."""
    lines = [f"| | {' | '.join(names)} |", f"| --- |{' ---: |' * len(names)}"]
    for contender, values in results.items():
        cells = [shown(values[name]) if name in values else "" for name in names]
        lines.append(f"| {contender} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def ratios(results: dict[str, Values]) -> str:
    """Write the promises and what became of them."""
    lines = ["| of the default project | compared with | at most | measured | |", "| --- | --- | ---: | ---: | --- |"]
    default = results[DEFAULT.name]
    rows = [(name, other, most, middle(default[name]) / middle(results[other][name])) for name, other, most in TARGETS]
    alone = middle(default["import alone, s"])
    rows.append(("first event, s", "the import of the app alone", 1.2, middle(default["first event, s"]) / alone))
    rows.append(
        ("rebuild, s", "its own clean build", 0.5, middle(default["rebuild, s"]) / middle(default["clean build, s"]))
    )
    best = max(middle(results[name]["events per CPU-s"]) for name in ("gunicorn", "uvicorn", "granian", "reflex"))
    rows.append(("CPU per event", "the best of the four", 1.05, best / middle(default["events per CPU-s"])))
    one, two = results["gunicorn, redis"], results["gunicorn, redis, 2 workers"]
    shared = middle(one["events per CPU-s"]) / middle(two["events per CPU-s"])
    rows.append(("CPU per event, 2 workers with Redis", "1 worker with Redis", 1.15, shared))
    for name, other, most, ratio in rows:
        verdict = "kept" if ratio <= most else "**not kept**"
        lines.append(f"| {name} | {other} | {most:.2f} | {ratio:.2f} | {verdict} |")
    return "\n".join(lines) + "\n"


def details(about: dict[str, str | float], results: dict[str, Values]) -> str:
    """Write everything that was measured."""
    texts = {name: number(value) if isinstance(value, float) else value for name, value in about.items()}
    facts = "".join(f"- {name}: {text}\n" for name, text in texts.items())
    tables = "".join(f"\n### {title}\n\n{table(results, names)}" for title, names in GROUPS.items())
    alone = shown(results[DEFAULT.name]["import alone, s"])
    return f"""
{facts}
Medians, with the smallest and the largest where there were several rounds.
{tables}
The import of the app alone, `python -c` in the default project's image, takes {alone} s: no server can answer an event
before.

### What is promised

{ratios(results)}
"""


def summary(about: dict[str, str | float], results: dict[str, Values]) -> str:
    """Write what the README shows."""
    names = ["first page, s", "first event, s", "5xx while starting", "events per CPU-s", "idle, MiB"]
    return f"""
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="bench/cold-start-dark.svg">
  <img src="bench/cold-start-light.svg" alt="Seconds from a cold container to the first page and to the first event">
</picture>

{table(results, names)}
In {about["limits"]}, on {about["machine"]}, {about["date"]}; {about["versions"]}.
Medians, with the smallest and the largest. Base images: {about["bases"]}.
[bench/](bench/README.md) has everything that was measured and how; `scripts/bench` measures it again.
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
