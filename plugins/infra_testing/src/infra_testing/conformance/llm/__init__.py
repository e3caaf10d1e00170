"""What every provider of language models must do."""

from infra_testing.conformance.llm._async.over_http import AsyncLLMOverHTTPCases as AsyncLLMOverHTTPCases
from infra_testing.conformance.llm._async.suite import AsyncLLMConformance as AsyncLLMConformance
from infra_testing.conformance.llm._sync.over_http import LLMOverHTTPCases as LLMOverHTTPCases
from infra_testing.conformance.llm._sync.suite import LLMConformance as LLMConformance
from infra_testing.conformance.llm.script import SCRIPT as SCRIPT
