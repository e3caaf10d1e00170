# Generated from suite.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""All cases together."""

from __future__ import annotations

import subprocess
import sys

from infra_testing.conformance.llm._sync.answers import AnswerCases
from infra_testing.conformance.llm._sync.failing import FailureCases
from infra_testing.conformance.llm._sync.keeping import KeepingCases
from infra_testing.conformance.llm._sync.tooling import ToolCases


class LLMConformance(AnswerCases, ToolCases, KeepingCases, FailureCases):
    """What every provider must do. Its harness must answer as `infra_testing.conformance.llm.SCRIPT` says.

    What only providers over HTTP can show (cases 11 to 18, 39 to 41 and 44 on the wire) is in `LLMOverHTTPCases`.
    """

    def test_the_plugin_loads_without_its_sdk(self) -> None:
        provider = self.harness.descriptor("llm")
        plugins = [provider.settings.partition(":")[0].partition(".")[0]]
        code = f"import sys, {plugins[0]}; print([name for name in {tuple(provider.modules)!r} if name in sys.modules])"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603
        assert done.stdout.strip() == "[]"
