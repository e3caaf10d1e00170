"""Secrets: references, rotation, and that no output shows one."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from infra.errors import ConfigurationError
from infra.kernel.explain import explain, shown
from infra.kernel.secrets import Redactor, Secret, SecretUnavailableError
from infra.plugin import hookimpl

CANARY = "cAnArY-4711-s3cr3t"


def test_a_secret_shows_itself_nowhere() -> None:
    secret = Secret(CANARY)
    assert CANARY not in f"{secret} {secret!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_references_are_read_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "key"
    file.write_text("one\n")
    from_file = Secret(f"file:{file}")
    assert from_file.reveal() == "one"
    file.write_text("second\n")
    assert from_file.reveal() == "second"
    monkeypatch.setenv("KEY", "a")
    from_env = Secret("env:KEY")
    assert from_env.reveal() == "a"
    monkeypatch.setenv("KEY", "b")
    assert from_env.reveal() == "b"
    assert Secret("literal:env:x").reveal() == "env:x"
    assert Secret("looks:like:one").reveal() == "looks:like:one"


def test_a_reference_to_nothing_says_so() -> None:
    with pytest.raises(SecretUnavailableError, match="NO_SUCH_NAME_HERE"):
        Secret("env:NO_SUCH_NAME_HERE").reveal()


def test_the_redactor_masks_values_as_they_stand_in_urls_too() -> None:
    redactor = Redactor()
    redactor.learn("p@ss/word")
    assert redactor("a p@ss/word b p%40ss%2Fword") == "a ******** b ********"


def test_a_rotated_secret_is_masked_in_both_versions(kernel: Any, tmp_path: Path) -> None:
    file = tmp_path / "pw"
    file.write_text("first-version")
    made = kernel(environ={"CLOCK_URL": "ntp://h", "INFRA_CLOCK__MAIN__PASSWORD": f"file:{file}"})
    secret = made.settings("clock.main").password
    file.write_text("second-version")
    assert secret.reveal() == "second-version"
    assert made.redactor("first-version second-version") == "******** ********"


def test_a_secrets_folder_keeps_references_so_that_keys_rotate(kernel: Any, tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "infra_clock__main__password").write_text("from-folder\n")
    made = kernel(environ={"CLOCK_URL": "ntp://h", "INFRA_SECRETS_DIR": str(folder)})
    secret = made.settings("clock.main").password
    assert secret.reveal() == "from-folder"
    (folder / "infra_clock__main__password").write_text("rotated")
    assert secret.reveal() == "rotated"


def test_plugins_resolve_their_own_references(kernel: Any, sample: Any) -> None:
    class Vault:
        @hookimpl
        def infra_resolve_secret(self, reference: str) -> str | None:
            return CANARY if reference == "vault:kv/app" else None

    made = kernel(environ={"CLOCK_URL": "ntp://h", "INFRA_CLOCK__MAIN__PASSWORD": "vault:kv/app"}, modules=[sample, Vault()])
    secret = made.settings("clock.main").password
    assert secret.reveal() == CANARY
    assert secret.reference == "vault:kv/app"


def test_an_unreadable_reference_is_a_configuration_error(kernel: Any) -> None:
    made = kernel(environ={"CLOCK_URL": "ntp://h", "INFRA_CLOCK__MAIN__PASSWORD": "env:NOT_THERE_AT_ALL"})
    with pytest.raises(ConfigurationError, match="password: the environment has no NOT_THERE_AT_ALL"):
        made.settings("clock.main")


FIELDS = [
    "host",
    "port",
    "username",
    "password",
    "zone",
    "mode",
    "delay",
    "servers",
    "labels",
    "precision",
    "require",
    "startup",
    "pasword",
]


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("value", [CANARY, f"[{CANARY}", f"ntp://u:{CANARY}@h", f'["{CANARY}"]', f'{{"a": "{CANARY}"}}'])
def test_no_error_shows_a_canary_in_any_field(kernel: Any, field: str, value: str) -> None:
    made = kernel(environ={"CLOCK_URL": "ntp://h", f"INFRA_CLOCK__MAIN__{field.upper()}": value})
    said = [str(made.validate_environment())]
    try:
        made.settings("clock.main")
    except ConfigurationError as error:
        said += [
            str(error),
            repr(error),
            json.dumps(error.to_dict(public=False), default=str),
            repr(error.__cause__),
            repr(error.__context__),
        ]
    assert CANARY not in "\n".join(said)


@pytest.mark.parametrize("value", [CANARY, f"ntp://u:{CANARY}@h:1", f"ntp://u:{CANARY}@h:bad", f"ntp://{CANARY}", f"://{CANARY}"])
def test_no_error_and_no_listing_shows_a_canary_in_a_url(kernel: Any, value: str) -> None:
    made = kernel(environ={"CLOCK_URL": value})
    said = [str(made.validate_environment()), str(made.configuration.problems)]
    if CANARY in value and "@" in value:
        said += [str(shown(made, "clock.main", with_defaults=True)), str(explain(made, "clock.main"))]
    assert CANARY not in "\n".join(said)


def test_listings_mask_secrets_and_show_the_rest_with_origins(kernel: Any) -> None:
    made = kernel(
        environ={"INFRA_CLOCK__MAIN__PASSWORD": CANARY},
        toml=f'[clock.main]\nurl = "ntp://h"\nzone = "CET"\npasword = "{CANARY}"',
    )
    values = {value.name: value for value in shown(made, "clock.main")}
    assert values["zone"].value == "CET"
    assert values["zone"].origin == "infra.toml [clock.main] zone"
    assert values["password"].origin == "INFRA_CLOCK__MAIN__PASSWORD"
    assert CANARY not in str(values)
    assert CANARY not in str(explain(made, "clock.main"))


@pytest.mark.parametrize("word", ["postgres", "main", "localhost", "infra", "1", "Password"])
def test_a_secret_that_is_a_common_word_leaves_messages_readable(word: str) -> None:
    redact = Redactor()
    redact.learn(word)
    text = f'cache.main: postgres at localhost:1 refused password authentication of user "postgres" ({word})'
    assert redact(text) == text
    for leak in (f"postgresql://u:{word}@h/db", f"password={word} host=h", f"'api_key': '{word}'"):
        assert redact(leak) == leak.replace(f":{word}@", ":********@").replace(f"={word}", "=********").replace(f"'{word}'", "'********'")
