"""What is particular to these providers: their settings, their schemas, another server of the protocol."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, ValidationError

from infra import Infra
from infra.errors import ConfigurationError
from infra.llm import Finish, Image, InvalidRequestError, Message, Options, Text, ToolCall, ToolResult
from infra.llm.driver import LLMRequest
from infra.llm.model import File, Reasoning
from infra.llm.output import OutputFormat
from infra_openai.schema import strict_schema
from infra_openai.wire import chat_body
from infra_testing.harness import Harness, Place
from infra_testing.llm_server import ScriptedLLMServer

OPTIONS = frozenset({"temperature"})


def open_one(tmp_path: Path, provider: str = "openai", **settings: Any) -> Any:
    return Harness(provider, plugin="infra_openai").open("llm", Place(tmp_path), **settings)


def test_openai_itself_wants_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no API key") as caught:
        open_one(tmp_path)
    assert "OPENAI_API_KEY" in caught.value.remedy


def test_azure_wants_an_endpoint(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="endpoint"):
        open_one(tmp_path, "azure", api_key="k")
    with pytest.raises(ConfigurationError, match="endpoint"):
        open_one(tmp_path, "azure", api_key="k", endpoint="example.openai.azure.com")


def test_azure_asks_a_deployment_for_its_version(tmp_path: Path, llm_server: ScriptedLLMServer) -> None:
    session, url = llm_server.session([], key="k")
    llm = open_one(tmp_path, "azure", api_key="k", endpoint=f"{url}/", model="my deployment", api_version="2024-10-21")
    llm.generate("x")
    llm.ping()
    llm.close()
    asked, pinged = session.seen
    assert asked.path == "/openai/deployments/my%20deployment/chat/completions?api-version=2024-10-21"
    assert pinged.path == "/openai/models?api-version=2024-10-21"
    assert asked.headers["api-key"] == "k"
    assert "authorization" not in asked.headers


def test_azure_takes_a_token_instead_of_a_key(tmp_path: Path, llm_server: ScriptedLLMServer) -> None:
    session, url = llm_server.session([], key="t")
    llm = open_one(tmp_path, "azure", ad_token="t", endpoint=url, model="d")
    llm.generate("x")
    llm.close()
    assert session.seen[0].headers["authorization"] == "Bearer t"
    assert "api-key" not in session.seen[0].headers


def test_a_server_of_ones_own_needs_no_key_and_gets_none(tmp_path: Path, llm_server: ScriptedLLMServer) -> None:
    for provider in ("openai", "vllm", "ollama", "lmstudio"):
        session, url = llm_server.session([])
        llm = open_one(tmp_path, provider, base_url=f"{url}/v1/")
        with pytest.raises(InvalidRequestError, match="no model") if provider != "openai" else pytest.MonkeyPatch.context():
            llm.generate("x")
        llm.generate("x", Options(model="m", max_output_tokens=5))
        llm.close()
        assert "authorization" not in session.seen[-1].headers
        assert session.seen[-1].path == "/v1/chat/completions"
        assert session.seen[-1].body["max_completion_tokens" if provider == "openai" else "max_tokens"] == 5


def test_what_a_server_lacks_is_asked_for_by_other_means(tmp_path: Path, llm_server: ScriptedLLMServer) -> None:
    class Answer(BaseModel):
        n: int

    session, url = llm_server.session([{"match": "x", "reply": '{"n": 3}'}])
    llm = open_one(tmp_path, base_url=f"{url}/v1", lacks=["json-schema"])
    assert llm.generate_as(Answer, "x") == Answer(n=3)
    llm.close()
    assert session.seen[0].body["response_format"] == {"type": "json_object"}


def test_the_environment_of_the_package_changes_nothing(
    tmp_path: Path, llm_server: ScriptedLLMServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY", "OPENAI_API_KEY"):
        monkeypatch.setenv(name, "from-the-environment")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "x-strange: from-the-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    session, url = llm_server.session([])
    llm = open_one(tmp_path, base_url=f"{url}/v1", api_key="k", organization="ours", headers={"x-own": "1"})
    llm.generate("x")
    llm.close()
    headers = session.seen[0].headers
    assert "from-the-environment" not in str(headers)
    assert (headers["openai-organization"], headers["x-own"]) == ("ours", "1")


def test_well_known_names_fill_and_create_nothing(tmp_path: Path, llm_server: ScriptedLLMServer) -> None:
    session, url = llm_server.session([], key="k")
    environ = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": f"{url}/v1", "OPENAI_MODEL": "named"}
    with Infra(root=tmp_path, environ=environ) as services:
        assert services.llm().provider == "offline"
    with Infra(root=tmp_path, environ={**environ, "LLM_PROVIDER": "openai"}) as services:
        assert services.llm().generate("x").content
    assert session.seen[-1].body["model"] == "named"


def test_construction_does_no_request_and_the_settings_import_no_package(tmp_path: Path, llm_server: ScriptedLLMServer) -> None:
    session, url = llm_server.session([])
    open_one(tmp_path, base_url=f"{url}/v1").close()
    assert not session.seen
    code = "import sys, infra_openai.settings; print('openai' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == "False"


class Item(BaseModel):
    name: str = Field(description="what it is")
    price: float | None = None


class Order(BaseModel):
    first: Item = Field(description="the first")
    others: list[Item] = []
    state: Literal["open", "paid"] = "open"


def test_schemas_are_made_strict() -> None:
    made = strict_schema(Order.model_json_schema())
    assert made is not None
    assert made["required"] == ["first", "others", "state"]
    assert made["additionalProperties"] is False
    assert made["properties"]["first"]["required"] == ["name", "price"]  # a reference with a description is put in
    assert made["properties"]["first"]["description"] == "the first"
    assert made["$defs"]["Item"]["additionalProperties"] is False
    assert "default" not in json.dumps(made)


def test_schemas_with_free_keys_are_sent_as_they_are() -> None:
    class Free(BaseModel):
        counts: dict[str, int]

    assert strict_schema(Free.model_json_schema()) is None
    request = LLMRequest(model="m", messages=(Message.user("x"),), options=Options(), output=OutputFormat.of(Free))
    form = chat_body(request, OPTIONS, "max_tokens")["response_format"]["json_schema"]
    assert (form["strict"], form["schema"], form["name"]) == (False, Free.model_json_schema(), "Free")


class Branch(BaseModel):
    name: str
    below: list[Annotated[Branch, Field(description="a child")]] = []


class Pair(BaseModel):
    pair: tuple[int, str]


class Tags(BaseModel):
    tags: set[str]


class Anything(BaseModel):
    value: Any


class Long(BaseModel):
    text: str = Field(min_length=3)


class Exact(BaseModel):
    price: str = Field(json_schema_extra={"pattern": "^(?!0)"})  # it looks ahead


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = Field(9, ge=1)


class Dog(BaseModel):
    kind: Literal["dog"]


class Pet(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    day: date
    id: UUID


@pytest.mark.parametrize("model", [Branch, Pet, Cat])
def test_what_strict_mode_takes_is_strict(model: type[BaseModel]) -> None:
    made = strict_schema(model.model_json_schema())
    assert made is not None
    assert not {"default", "discriminator", "oneOf"} & set(re.findall(r'"(\w+)":', json.dumps(made)))


@pytest.mark.parametrize("model", [Pair, Tags, Anything, Long, Exact])
def test_what_strict_mode_does_not_take_is_sent_as_it_is(model: type[BaseModel]) -> None:
    request = LLMRequest(model="m", messages=(Message.user("x"),), options=Options(), output=OutputFormat.of(model))
    form = chat_body(request, OPTIONS, "max_tokens")["response_format"]["json_schema"]
    assert (form["strict"], form["schema"]) == (False, model.model_json_schema())


@pytest.mark.parametrize("schema", [{"type": "object", "properties": 3}, {"$ref": "#/nowhere"}, {"$ref": "#"}, {"allOf": [1, 2]}, {}])
def test_a_schema_that_is_none_is_not_strict(schema: dict[str, Any]) -> None:
    assert strict_schema(schema) is None


def test_every_kind_of_part_has_its_place() -> None:
    messages = (
        Message.user([Text("look"), Image(data=b"\x01"), Image(url="https://x/y.png"), File(data=b"%", name="a.pdf")]),
        Message.assistant([Reasoning("hm"), Text("so"), ToolCall("1", "t")]),
        Message.tool(ToolResult("1", "a"), ToolResult("2", "b")),
    )
    sent = chat_body(LLMRequest(model="m", messages=messages, options=Options()), OPTIONS, "max_tokens")["messages"]
    assert [part["type"] for part in sent[0]["content"]] == ["text", "image_url", "image_url", "file"]
    assert sent[0]["content"][1]["image_url"]["url"] == "data:image/png;base64,AQ=="
    call = {"id": "1", "type": "function", "function": {"name": "t", "arguments": "{}"}}
    assert sent[1] == {"role": "assistant", "content": "so", "tool_calls": [call]}
    assert [message["tool_call_id"] for message in sent[2:]] == ["1", "2"]
    with pytest.raises(InvalidRequestError, match="URL"):
        wanted = (Message.user(File(url="https://x/y.pdf")),)
        chat_body(LLMRequest(model="m", messages=wanted, options=Options()), OPTIONS, "max_tokens")


def test_an_independent_server_is_understood(tmp_path: Path, start_server: Any) -> None:
    from infra_testing.services import AimockServer

    fixtures = [
        {"match": {"inputText": "vector"}, "response": {"embedding": [0.25, 0.5, 1.0]}},
        {"match": {"userMessage": "weather"}, "response": {"toolCalls": [{"name": "weather", "arguments": '{"city": "Rome"}'}]}},
        {"match": {"userMessage": "long"}, "response": {"content": "many words in several chunks " * 10}},
    ]
    server = start_server(AimockServer, fixtures=fixtures)
    llm = open_one(tmp_path, base_url=server.url, api_key="any-key", model="gpt-4.1-mini")
    assert llm.ping() >= 0
    assert llm.generate("hi").content == "Hello from the test server."
    *_, last = llm.stream("long")
    assert isinstance(last, Finish)
    assert last.response.content == llm.generate("long").content
    (call,) = llm.generate("weather").tool_calls
    assert call.decoded() == {"city": "Rome"}
    *_, last = llm.stream("weather")
    assert [each.decoded() for each in last.response.tool_calls] == [{"city": "Rome"}]
    assert list(llm.embed(["a vector", "another vector"])) == [(0.25, 0.5, 1.0)] * 2
    llm.close()
