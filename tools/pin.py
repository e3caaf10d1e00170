"""Write constraints.txt: the name and version of everything installed in this environment, our own distributions left out.

python tools/pin.py
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "constraints.txt"
HEADER = "# The pinned versions that every set-up uses. Written by `make pin` from an environment whose tests pass.\n"


def main() -> None:
    """Names and versions only: what came from a folder or an address cannot be pinned."""
    listing = subprocess.run([sys.executable, "-m", "pip", "freeze", "--exclude-editable"], capture_output=True, text=True, check=True)
    lines = [line.strip() for line in listing.stdout.splitlines() if line.strip() and not line.startswith("#")]
    odd = [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.!+_-]+", line)]
    if odd:
        raise SystemExit("not pinned by name and version: " + ", ".join(odd))
    TARGET.write_text(HEADER + "\n".join(sorted(lines, key=str.lower)) + "\n")
    print(f"{len(lines)} pins")


if __name__ == "__main__":
    main()
