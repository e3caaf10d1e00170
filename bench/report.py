"""A suite's results as a Markdown table and a plot."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from html import escape
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from harness import Bench, Goal, Result

BAR, ROW, LABEL, WIDTH = 15, 21, 330, 900
GOALS = "## Goals"
HEAD = ("| what | figure | goal | |", "| --- | ---: | --- | --- |")
OURS, RAW, OVER = "#2f6f9f", "#9aa5ad", "#b5533c"


def machine() -> str:
    """The machine's size, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, load {os.getloadavg()[0]:.1f} at the end"


def time_of(seconds: float) -> str:
    """A duration in the unit that reads best."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.0f} ns"


def markdown(title: str, description: str, bench: Bench, plot: str) -> str:
    """The whole page."""
    packages = ", ".join(f"{name} {version(name)}" for name in bench.packages)
    foreign = ", ".join(f"{name} {number}" for name, number in bench.foreign_packages.items())
    servers = ", ".join(f"{name} {number}" for name, number in bench.servers.items())
    lines = [
        f"# {title}",
        "",
        description,
        "",
        f"{bench.rounds} interleaved rounds. A ratio is the median over the rounds of the ratio to the case's yardstick (bold) in the same",
        "round: below 1 is less work than the yardstick. CPU is the client process's own, user and system.",
        "",
        f"- {machine()}; Python {platform.python_version()}",
        *([f"- {packages}"] if packages else []),
        *([f"- in an environment and a process of their own: {foreign}"] if foreign else []),
        *([f"- servers: {servers}"] if servers else []),
        *[f"- {note}" for note in bench.notes],
        "",
        "| case | contender | CPU | min .. max | CPU ratio | budget | wall | min .. max | wall ratio |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for case, results in groupby(bench.results, lambda result: result.case):
        for number, result in enumerate(results):
            lines.append(_row(case if number == 0 else "", result))
    return "\n".join([*lines, "", f"![CPU ratios]({plot})", "", *_goals(bench.goals)])


def _goals(goals: Sequence[Goal]) -> list[str]:
    if not goals:
        return []
    return [GOALS, "", *HEAD, *(_goal(goal) for goal in goals), ""]


def _goal(goal: Goal) -> str:
    sign = "at least" if goal.least else "at most"
    verdict = "met" if goal.met else f"**missed**{': ' if goal.why else ''}{goal.why}"
    return f"| {goal.what} | {goal.figure:.3g} | {sign} {goal.limit:g} {goal.unit} | {verdict} |"


def summarise(folder: Path) -> Path:
    """Write ``README.md``: the goals of all pages that stand in the folder."""
    lines = [
        "# Goals",
        "",
        "Written by `make bench` from the pages beside it, each of which says on which machine and under which load it was measured.",
        "",
    ]
    met = every = 0
    for page in sorted(folder.glob("*.md")):
        text, _, goals = page.read_text().partition(f"\n{GOALS}\n")
        rows = [line for line in goals.splitlines() if line.startswith("| ") and line not in HEAD]
        if rows:
            every, met = every + len(rows), met + sum(row.endswith("| met |") for row in rows)
            title = text.splitlines()[0].removeprefix("# ")
            lines += [f"## [{title}]({page.name})", "", *HEAD, *rows, ""]
    lines[3:3] = ["", f"{met} of {every} goals are met."]
    summary = folder / "README.md"
    summary.write_text("\n".join(lines))
    return summary


def _row(case: str, result: Result) -> str:
    cells = [case, f"**{result.name}**" if result.is_yardstick else result.name]
    for clock in ("cpu", "wall"):
        middle, least, most = result.spread(clock)
        cells += [time_of(middle), f"{time_of(least)} .. {time_of(most)}", f"{result.ratio(clock):.2f}"]
        if clock == "cpu":
            cells.append("" if result.budget is None else f"{result.budget:g}{'' if result.ratio('cpu') <= result.budget else ' (over)'}")
    return "| " + " | ".join(cells) + " |"


def svg(title: str, results: Sequence[Result]) -> str:
    """Bars of the CPU ratios, case by case; a line marks the yardstick, a tick the budget."""
    cases = [(case, list(group)) for case, group in groupby(results, lambda result: result.case)]
    longest = max(2.0, min(6.0, max(result.ratio("cpu") for result in results)))
    unit = (WIDTH - LABEL - 70) / longest
    parts: list[str] = [f'<text x="12" y="24" font-size="16" font-weight="bold">{escape(title)}: client CPU, ratio to the yardstick</text>']
    y = 40
    for case, group in cases:
        y += ROW
        parts.append(f'<text x="12" y="{y}" font-weight="bold">{escape(case)}</text>')
        top = y + 6
        for result in group:
            y += ROW
            ratio = result.ratio("cpu")
            over = result.budget is not None and ratio > result.budget
            colour = RAW if result.is_yardstick else OVER if over else OURS
            length = min(ratio, longest) * unit
            parts.append(f'<text x="{LABEL - 8}" y="{y}" text-anchor="end">{escape(result.name)}</text>')
            parts.append(f'<rect x="{LABEL}" y="{y - BAR + 3}" width="{length:.1f}" height="{BAR}" fill="{colour}"/>')
            if result.budget is not None:
                x = LABEL + result.budget * unit
                parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - BAR + 1}" y2="{y + 5}" stroke="black" stroke-width="2"/>')
            more = " (cut)" if ratio > longest else ""
            parts.append(f'<text x="{LABEL + length + 6:.1f}" y="{y}">{ratio:.2f}{more}</text>')
        x = LABEL + unit
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{y + 6}" stroke="#555" stroke-dasharray="3 3"/>')
        y += 8
    height = y + 14
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    body = "\n".join(parts)
    return f'{head} font-family="sans-serif" font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'


def write(folder: Path, name: str, title: str, description: str, bench: Bench) -> Path:
    """Write ``name.md`` and ``name.svg``; gives the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.svg").write_text(svg(title, bench.results))
    page = folder / f"{name}.md"
    page.write_text(markdown(title, description, bench, f"{name}.svg"))
    return page
