"""Measure this project beside the raw SDKs and the peers.

python bench/run.py                       every suite
python bench/run.py startup cache         some
python bench/run.py --rounds 5 --scale 0.1 --into FOLDER cache
"""

from __future__ import annotations

import argparse
import logging
from importlib import import_module
from pathlib import Path

from harness import ROOT, Bench
from report import write

SUITES = [path.stem for path in sorted((Path(__file__).parent / "suites").glob("[!_]*.py"))]


def main() -> None:
    """Run the suites and write their pages. A suite is a module with a docstring (title, then text) and ``measure(bench)``."""
    parser = argparse.ArgumentParser(description="Measure this project beside the raw SDKs and the peers.")
    parser.add_argument("suites", nargs="*", default=SUITES, help=f"of {', '.join(SUITES)}; all when none is named")
    parser.add_argument("--rounds", type=int, default=7, help="interleaved rounds, at least 5 for a result to quote")
    parser.add_argument("--scale", type=float, default=1.0, help="times the number of operations a sample")
    parser.add_argument("--into", type=Path, default=ROOT / "bench" / "results", help="the folder of the pages")
    arguments = parser.parse_args()
    unknown = set(arguments.suites) - set(SUITES)
    if unknown:
        parser.error(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    logging.disable(logging.WARNING)
    for name in arguments.suites:
        print(name, flush=True)
        suite = import_module(f"suites.{name}")
        title, _, description = (suite.__doc__ or name).partition("\n")
        bench = Bench(rounds=arguments.rounds, scale=arguments.scale)
        with bench.stack:
            suite.measure(bench)
        print(write(arguments.into, name, title.rstrip("."), description.strip(), bench), flush=True)


if __name__ == "__main__":
    main()
