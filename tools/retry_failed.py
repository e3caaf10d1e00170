"""Run the suite by `make test`; what failed, run once more alone, and say which tests are flaky.

    python tools/retry_failed.py

A test that fails and then passes alone is named under the heading FLAKY with its first failure: a fault to find, of the product, the
test or a double. The run fails when a test fails twice, when more than `MOST` failed, or when pytest did not come to its end.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

#: More failures than these are no flakes.
MOST = 3


def failures(report: Path) -> dict[str, str]:
    """What pytest's report says of each test that failed, its setup and its end included."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        for outcome in (*case.iterfind("failure"), *case.iterfind("error")):
            found[f"{case.get('classname')}.{case.get('name')}"] = outcome.text or outcome.get("message") or ""
    return found


def main(root: Path) -> int:
    """Run the suite of the project in `root`; gives the exit code."""
    cache = root / ".pytest_cache" / "retry"
    report = cache / "report.xml"
    shutil.rmtree(cache, ignore_errors=True)  # it holds the failures of an earlier run
    code = subprocess.run(["make", "test", f"ARGS=-o cache_dir={cache} --junitxml={report}"], cwd=root).returncode
    failed = cache / "v" / "cache" / "lastfailed"
    if code == 0 or not report.exists() or not failed.exists():  # a run that was stopped leaves no report
        return code
    names = sorted(json.loads(failed.read_text()))
    if len(names) > MOST:
        print(f"\n{len(names)} failed, more than {MOST}: not run again", flush=True)
        return code
    print(f"\nwhat failed, once more, alone ({len(names)})", flush=True)
    code = subprocess.run([sys.executable, "-m", "pytest", "-o", f"cache_dir={cache}", *names], cwd=root).returncode
    if code == 0:
        print("\nFLAKY: failed once, passed alone. Find the root of each: product, test or double.\n" + "\n".join(names))
        for name, text in failures(report).items():
            print(f"\n--- {name}\n{text}")
    return code


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
