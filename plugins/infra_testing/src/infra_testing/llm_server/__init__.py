"""A server of the OpenAI protocol that follows a script, in threads of the test's own process; also one that answers badly, on purpose."""

from infra_testing.llm_server.server import ScriptedLLMServer as ScriptedLLMServer
from infra_testing.llm_server.server import Seen as Seen
from infra_testing.llm_server.server import Session as Session
