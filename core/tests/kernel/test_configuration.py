"""Layers, well-known names, providers, origins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.errors import ConfigurationError


def provider_of(kernel: Any, name: str) -> str | None:
    found = kernel.configuration.resources[name].provider
    return None if found is None else found.name


def test_nothing_configured_gives_an_implicit_main_on_the_embedded_provider(kernel: Any) -> None:
    made = kernel()
    assert provider_of(made, "clock.main") == "system"
    assert made.configuration.resources["clock.main"].implicit
    assert made.explicit_resources() == []


def test_production_refuses_the_silent_embedded_default(kernel: Any) -> None:
    made = kernel(environ={"INFRA_ENVIRONMENT": "production"})
    with pytest.raises(ConfigurationError) as caught:
        made.settings("clock.main")
    assert "it is not configured; add [clock.main] to infra.toml, or set CLOCK_URL or NTP_HOST" in str(caught.value)
    made = kernel(environ={"INFRA_ENVIRONMENT": "production"}, toml="[clock.main]\nprecision = 1\n")
    with pytest.raises(ConfigurationError, match="in production an embedded one must be asked for by name") as caught:
        made.settings("clock.main")
    assert "CLOCK_URL" in str(caught.value)
    assert 'provider = "system"' in str(caught.value)
    made = kernel(environ={"INFRA_ENVIRONMENT": "production", "INFRA_CLOCK__MAIN__PROVIDER": "system"})
    assert provider_of(made, "clock.main") == "system"


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ({"settings": {"clock": {"main": {"precision": 1}}}, "environ": {"INFRA_CLOCK__MAIN__PRECISION": "2"}}, 1),
        ({"environ": {"INFRA_CLOCK__MAIN__PRECISION": "2"}, "dotenv": "INFRA_CLOCK__MAIN__PRECISION=4"}, 2),
        ({"dotenv": "INFRA_CLOCK__MAIN__PRECISION=4", "toml": "[clock.main]\nprecision = 5"}, 4),
        ({"toml": "[clock.main]\nprecision = 5\n[clock.defaults]\nprecision = 6"}, 5),
        ({"toml": "[clock.main]\n[clock.defaults]\nprecision = 6"}, 6),
        ({"toml": "[clock.main]\nprecision = 5", "environ": {"INFRA_CLOCK__DEFAULTS__PRECISION": "7"}}, 5),
        ({"toml": "[clock.main]\nprecision = 5", "environ": {"CLOCK_PRECISION": "8"}}, 8),
        ({"environ": {"CLOCK_PRECISION": "8", "INFRA_CLOCK__MAIN__PRECISION": "2"}}, 2),
        ({"toml": "[clock.main]"}, 3),
    ],
)
def test_the_highest_layer_wins(kernel: Any, layers: dict[str, Any], expected: int) -> None:
    assert kernel(**layers).settings("clock.main").precision == expected


def test_settings_may_stand_in_pyproject(kernel: Any, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.infra.clock.main]\nprecision = 7\n")
    made = kernel()
    assert made.settings("clock.main").precision == 7
    assert "pyproject.toml" in str(made.validated("clock.main").values["precision",].origin)


def test_a_url_selects_its_provider_and_expands_within_its_layer(kernel: Any) -> None:
    made = kernel(
        environ={"CLOCK_URL": "ntp://u%40x:p%2Fw@time.example:99/Europe%2FParis?delay=250ms"},
        toml='[clock.main]\nhost = "elsewhere"\nmode = "peer"',
    )
    settings = made.settings("clock.main")
    assert (settings.username, settings.password.reveal(), settings.host, settings.port) == ("u@x", "p/w", "time.example", 99)
    assert (settings.zone, settings.delay, settings.mode) == ("Europe/Paris", 0.25, "peer")


def test_explicit_fields_beat_the_url_of_their_own_layer(kernel: Any) -> None:
    made = kernel(environ={"INFRA_CLOCK__MAIN__URL": "ntp://h:1/", "INFRA_CLOCK__MAIN__PORT": "2"})
    assert made.settings("clock.main").port == 2


def test_a_deployed_url_beats_the_developers_file_with_all_it_says(kernel: Any) -> None:
    made = kernel(environ={"CLOCK_URL": "ntp://prod"}, toml='[clock.main]\nprovider = "system"\nprecision = 9')
    settings = made.settings("clock.main")
    assert provider_of(made, "clock.main") == "ntp"
    assert settings.precision == 3
    assert any("skipped" in outcome.message for outcome in made.configuration.resources["clock.main"].outcomes)


def test_named_urls_configure_named_resources(kernel: Any) -> None:
    made = kernel(environ={"GARMIN_CLOCK_URL": "ntp://garmin", "UFC_CLOCK_URL": "ntp://ufc", "ODD_CLOCK_URL": "weird://x"})
    assert made.settings("clock.garmin").host == "garmin"
    assert made.settings("clock.ufc").host == "ufc"
    assert "clock.odd" not in made.configuration.resources
    assert any("ODD_CLOCK_URL" in str(warning) for warning in made.configuration.warnings)


def test_well_known_names_of_a_provider_select_it_and_fill_its_fields(kernel: Any) -> None:
    made = kernel(environ={"NTP_HOST": "time.example", "NTP_PASSWORD": "12345"})
    settings = made.settings("clock.main")
    assert provider_of(made, "clock.main") == "ntp"
    assert settings.password.reveal() == "12345"


def test_names_that_only_fill_create_nothing(kernel: Any) -> None:
    assert kernel(environ={"NTP_PASSWORD": "x"}).explicit_resources() == []


def test_two_selectors_that_differ_are_an_error_that_names_both(kernel: Any) -> None:
    made = kernel(environ={"INFRA_CLOCK__MAIN__PROVIDER": "system", "INFRA_CLOCK__MAIN__URL": "ntp://x"})
    with pytest.raises(ConfigurationError, match=r"INFRA_CLOCK__MAIN__PROVIDER selects system and INFRA_CLOCK__MAIN__URL selects ntp"):
        made.settings("clock.main")
    made = kernel(environ={"NTP_HOST": "a", "ATOMIC_HOST": "b"})
    with pytest.raises(ConfigurationError, match=r"NTP_HOST \(ntp\) and ATOMIC_HOST \(atomic\)"):
        made.settings("clock.main")
    made = kernel(environ={"CLOCK_URL": "ntp://a", "MAIN_CLOCK_URL": "ntp://b"})
    assert any("CLOCK_URL and MAIN_CLOCK_URL" in str(problem) for problem in made.problems())


def test_a_url_of_unknown_scheme_lists_the_known_ones(kernel: Any) -> None:
    with pytest.raises(ConfigurationError, match="scheme sundial.*atomic, ntp, ntps, system"):
        kernel(environ={"CLOCK_URL": "sundial://x"}).settings("clock.main")


def test_an_unknown_provider_gets_the_nearest_one(kernel: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"did you mean system\?"):
        kernel(environ={"INFRA_CLOCK__MAIN__PROVIDER": "sytem"}).settings("clock.main")


def test_values_from_the_environment_stay_text_until_the_model_reads_them(kernel: Any) -> None:
    prefix = "INFRA_CLOCK__MAIN__"
    made = kernel(
        environ={
            f"{prefix}URL": "ntp://h",
            f"{prefix}PASSWORD": "12345",
            f"{prefix}ZONE": "null",
            f"{prefix}SERVERS": "a, b",
            f"{prefix}REQUIRE": '["now"]',
            f"{prefix}LABELS__ROOM": "7",
        }
    )
    settings = made.settings("clock.main")
    assert (settings.password.reveal(), settings.zone) == ("12345", "null")
    assert (settings.servers, settings.require, settings.labels) == (["a", "b"], ["now"], {"room": "7"})


def test_a_misspelt_setting_names_itself_its_source_and_the_nearest_one(kernel: Any) -> None:
    made = kernel(toml='[clock.main]\nurl = "ntp://x"\nhst = "secret-looking-value"')
    with pytest.raises(ConfigurationError) as caught:
        made.settings("clock.main")
    text = str(caught.value)
    assert "clock.main: hst is not a setting (infra.toml [clock.main] hst); did you mean host?" in text
    assert "secret-looking-value" not in text


def test_all_problems_are_reported_together(kernel: Any) -> None:
    made = kernel(
        toml='[clock.main]\nurl = "ntp://x"\nhst = 1\nport = "no"\n[clock.b]\nprovider = "nix"\n[clok.c]\nx = 1\n[infra]\nenvironmnt = "x"',
        environ={"INFRA_CLCK__MAIN__URL": "ntp://x", "INFRA_STRCT": "1"},
    )
    status = made.validate_environment()
    assert not status.is_valid
    text = "\n".join(status.errors)
    for expected in ("hst is not a setting", "port: ", "clock.b: its provider is unknown", "clok is no capability", "did you mean clock?"):
        assert expected in text
    for expected in ("INFRA_CLCK__MAIN__URL", "environmnt is not a setting of the kernel", "did you mean strict?"):
        assert expected in text


def test_a_value_without_a_resource_name_is_explained(kernel: Any) -> None:
    assert "without the name of a resource" in kernel(toml="[clock]\nprecision = 2").validate_environment().errors[0]


def test_a_default_that_no_provider_in_use_has_is_an_error(kernel: Any) -> None:
    made = kernel(toml='[clock.main]\nprovider = "system"\n[clock.defaults]\nmode = "peer"')
    assert "no provider in use has mode" in made.validate_environment().errors[0]
    made = kernel(toml='[clock.main]\nprovider = "system"\n[clock.b]\nurl = "ntp://x"\n[clock.defaults]\nmode = "peer"')
    assert made.validate_environment().errors == []
    assert ("mode",) in made.validated("clock.main").skipped


def test_a_missing_required_setting_says_where_to_put_it(kernel: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"host is not set.*INFRA_CLOCK__MAIN__HOST.*\[clock.main\]"):
        kernel(environ={"INFRA_CLOCK__MAIN__PROVIDER": "ntp"}).settings("clock.main")


def test_broken_toml_names_the_place_and_not_the_line(kernel: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"infra.toml is not valid TOML \(at line 2") as caught:
        kernel(toml="[clock.main]\npassword = hunter2hunter2")
    assert "hunter2" not in str(caught.value)


def test_flags_and_kernel_settings(kernel: Any) -> None:
    made = kernel(environ={"FEATURE_FLAG_NEW_UI": "true", "DEBUG": "yes"}, toml="[features]\nnew_ui = false\nold_ui = true")
    assert made.feature("new_ui")
    assert made.feature("old_ui")
    assert not made.feature("none")
    assert made.debug
    assert made.is_development


def test_an_unconfigured_resource_says_how_to_configure_it(kernel: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"add \[clock.jobs\] to infra.toml, or set INFRA_CLOCK__JOBS__URL"):
        kernel().settings("clock.jobs")


def test_a_circular_look_alike_name_is_refused(kernel: Any) -> None:
    errors = kernel(toml="[clock.Main]\nprecision = 1").validate_environment().errors
    assert "is not a valid resource name" in errors[0]


def test_settings_sources_of_plugins_stand_above_the_file(kernel: Any, sample: Any) -> None:
    from infra.plugin import hookimpl

    class Vault:
        name = "vault"

        def read(self) -> dict[str, Any]:
            return {"clock": {"main": {"precision": 8}}}

    class Plugin:
        @hookimpl
        def infra_config_sources(self, context: Any) -> list[Any]:
            assert context["environment"] == "development"
            return [Vault()]

    made = kernel(toml="[clock.main]\nprecision = 5", modules=[sample, Plugin()])
    assert made.settings("clock.main").precision == 8
    assert made.validated("clock.main").values["precision",].origin.layer == "vault"
