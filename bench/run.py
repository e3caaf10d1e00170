"""Measure this project beside the raw SDKs and the peers.

  make bench                                      every suite, about 8 minutes
  make bench ARGS="startup cache"                 some
  make bench ARGS="--rounds 9 servers_cache"      more rounds, for figures to quote: run it on a machine that does nothing else
  make bench ARGS="--rounds 2 --scale 0.1 --into FOLDER"   a quick look, elsewhere

Each suite writes its page and plot into the folder, and the goals of all pages there are gathered in README.md. Servers are private
ones, started for their suite; peers that do not agree with our pins (s3fs, litellm) get an environment of their own in .venv/peers.
"""

from __future__ import annotations

import argparse
import logging
import time
from importlib import import_module
from pathlib import Path

from harness import ROOT, Bench
from report import summarise, write

SUITES = [path.stem for path in sorted((Path(__file__).parent / "suites").glob("[!_]*.py"))]


def main() -> None:
    """Run the suites and write their pages. A suite is a module with a docstring (title, then text) and ``measure(bench)``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
        began = time.monotonic()
        bench = Bench(rounds=arguments.rounds, scale=arguments.scale)
        with bench.stack:
            suite.measure(bench)
        page = write(arguments.into, name, title.rstrip("."), description.strip(), bench)
        print(f"{page}, {time.monotonic() - began:.0f} s", flush=True)
    print(summarise(arguments.into))


if __name__ == "__main__":
    main()
