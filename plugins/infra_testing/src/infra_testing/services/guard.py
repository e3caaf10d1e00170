"""Ends a run's servers when the process that owns the run is gone, however it went.

python -m infra_testing.services.guard RUN OWNER
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from infra_testing.run import Run
from infra_testing.services.processes import is_running


def main(folder: Path, owner: int) -> None:
    """Leave the caller, wait until the owner or its run has ended, then end what is left."""
    if os.fork():
        os._exit(0)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    while folder.is_dir() and is_running(owner):
        time.sleep(0.5)
    Run(folder, owner).close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
