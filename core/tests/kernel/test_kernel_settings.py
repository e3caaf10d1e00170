"""``[infra]`` is checked like any other settings, and nothing that a source holds vanishes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.errors import ConfigurationError


def said_by(made: Any) -> str:
    return "\n".join(map(str, made.problems()))


@pytest.mark.parametrize(
    ("word", "environment"),
    [
        ("prod", "production"),
        (" PROD ", "production"),
        ("dev", "development"),
        ("stg", "staging"),
        ("Testing", "test"),
        ("", "development"),
    ],
)
def test_an_environment_may_be_short(kernel: Any, word: str, environment: str) -> None:
    made = kernel(environ={"INFRA_ENVIRONMENT": word})
    assert (made.environment, made.problems()) == (environment, [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('environment = "local"', "environment is not one of development (dev"),
        ("environment = 7", "environment is not one of"),
        ('strict = "yes please"', "strict is neither true nor false"),
        ("debug = 2", "debug is neither true nor false"),
        ('log_level = "chatty"', "log_level is no level"),
        ('close_timeout = "soon"', "close_timeout is no duration"),
        ("close_timeout = -1", "close_timeout is no duration"),
        ("plugins_deny = 5", "plugins_deny is no list"),
        ('plugins_deny = ["infra-loacl"]', "plugins_deny names infra-loacl, which is not installed (infra.toml [infra] plugins_deny); did"),
        ('sections = ["api"]', "sections is no list of sections"),
        ('sections = ["api=no_such_module_at_all:S"]', "importing no_such_module_at_all:S raised ModuleNotFoundError"),
        ("pin = 3", "pin is a table"),
        ('pin = {"clock.system" = "nobody"}', "pin: nobody offers no provider clock.system"),
        ('secrets_dir = "/no/such/folder"', "/no/such/folder cannot be read: No such file"),
        ("[infra.environment]\nx = 1", "environment is one value, not a table"),
        (
            "[infra.clock.main]\nprecision = 1",
            "clock is not a setting of the kernel (infra.toml [infra.clock.main] precision); write [clock.main]",
        ),
    ],
)
def test_a_wrong_setting_is_named_with_its_place_and_stops_a_resource(kernel: Any, line: str, said: str) -> None:
    made = kernel(toml=f"[infra]\n{line}\n")
    assert said in said_by(made)


def test_a_wrong_environment_opens_nothing(kernel: Any) -> None:
    made = kernel(toml='[clock.main]\nprovider = "system"\n', environ={"INFRA_ENVIRONMENT": "prodution"})
    assert made.environment == "production"
    with pytest.raises(ConfigurationError, match="environment is not one of"):
        made.settings("clock.main")


@pytest.mark.parametrize("word", ["true", "1", "YES", "On", " true ", "false", "0", "No", "OFF"])
def test_flags_have_their_usual_spellings(kernel: Any, word: str) -> None:
    made = kernel(environ={"INFRA_STRICT": word, "DEBUG": word})
    assert made.strict is made.debug is (word.strip().lower() in ("true", "1", "yes", "on"))
    assert made.problems() == []


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"toml": 'clock = "system://"'}, "clock is a table, not text"),
        (
            {"toml": '[clock.my-clock]\nprovider = "system"'},
            "clock.my-clock: is not a valid resource name (infra.toml [clock.my-clock])",
        ),
        ({"toml": "[tool.infra.clock.main]\nprecision = 1"}, "write [clock.main]"),
        ({"environ": {"INFRA_CLOCK_URL": "x"}}, "did you mean INFRA_CLOCK__MAIN__URL?"),
        ({"environ": {"INFRA__CLOCK__MAIN__URL": "x"}}, "did you mean INFRA_CLOCK__MAIN__URL?"),
        ({"environ": {"CLOCK_URL": "ntp://a", "clock_url": "ntp://b"}}, "CLOCK_URL and clock_url (environment) differ only in case"),
        ({"dotenv": "CLOCK_URL: ntp://u:secret@h\n"}, "line 1 of .env, CLOCK_URL, is not NAME=value"),
        ({"dotenv": "A=1\nCLOCK_URL='open\n"}, "line 2 of .env, CLOCK_URL, is not NAME=value"),
        ({"dotenv": "A=1\nA=2\n"}, "A stands in .env twice"),
    ],
)
def test_what_stands_in_the_wrong_place_is_told(kernel: Any, given: dict[str, Any], said: str) -> None:
    told = said_by(kernel(**given))
    assert said in told
    assert "secret" not in told


def test_unrelated_variables_may_differ_in_case(kernel: Any) -> None:
    assert kernel(environ={"http_proxy": "a", "HTTP_PROXY": "b"}).problems() == []


def test_a_dotenv_file_is_read_as_it_is_written(kernel: Any, project: dict[str, Any]) -> None:
    text = "\ufeffexport A='${HOME}'\r\nB=\"${A}x\" # comment\r\nINFRA_DATA_DIR=${A}\r\n"
    (project["root"] / ".env").write_bytes(text.encode())
    made = kernel(environ={"HOME": "/h"})
    found = next(layer for layer in made.configuration.layers if layer.name == ".env")
    assert {name: value.content for name, value in found.variables.items()} == {"A": "${HOME}", "B": "${HOME}x"}
    assert made.own.data_dir == "${HOME}"


@pytest.mark.parametrize("data", ["A=1".encode("utf-16"), "A=ä".encode("latin-1")])
def test_a_dotenv_file_in_another_encoding_is_told(kernel: Any, project: dict[str, Any], data: bytes) -> None:
    (project["root"] / ".env").write_bytes(data)
    assert "save it as UTF-8" in said_by(kernel())


def test_a_secret_that_cannot_be_read_is_told_where_it_means_something(kernel: Any, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    for name in ("CLOCK_URL", "keystore.p12"):
        (tmp_path / "s" / name).write_bytes(b"\xff\xfe\x00")
    told = said_by(kernel(environ={"INFRA_SECRETS_DIR": "s"}))
    assert "CLOCK_URL is not UTF-8" in told
    assert "keystore" not in told


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"[clock.main]\nprecision=1\nprecision=2\n", "at line 3, column 12): a key stands there twice"),
        (b"\xef\xbb\xbf[clock.main]\n", "byte order mark"),
        ("[clock.main]\n".encode("utf-16"), "UTF-16"),
        ("\n# ä".encode("latin-1"), "not UTF-8 (at line 2)"),
        (b"x = " + b"[" * 5000, "infra.toml is not valid TOML"),
    ],
)
def test_toml_tells_its_cause(kernel: Any, project: dict[str, Any], data: bytes, said: str) -> None:
    (project["root"] / "infra.toml").write_bytes(data)
    with pytest.raises(ConfigurationError) as caught:
        kernel()
    assert said in str(caught.value)
