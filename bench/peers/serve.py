"""The process of one module of peers: ``serve.py MODULE OPTIONS``. It says versions first, then what each run took; see ``foreign.py``."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path


def main() -> None:
    """Answer each line ``[name, count]`` with ``[cpu, wall]``, in seconds for all."""
    # Whatever a peer prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.path.insert(0, str(Path(__file__).parent))
    module = import_module(sys.argv[1])
    contenders = module.contenders(**json.loads(sys.argv[2]))
    print(json.dumps({name: version(name) for name in module.PACKAGES}), file=answers, flush=True)
    for line in sys.stdin:
        name, count = json.loads(line)
        gc.collect()
        cpu, wall = time.process_time(), time.perf_counter()
        contenders[name](count)
        print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]), file=answers, flush=True)


if __name__ == "__main__":
    main()
