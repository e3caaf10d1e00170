"""``python -m infra.cli``: the program, where its script is not on the path."""

from __future__ import annotations

import sys

from infra.cli import main

sys.exit(main())
