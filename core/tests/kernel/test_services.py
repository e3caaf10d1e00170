"""The two doors: opening, sharing, look-up, overrides, failures, closing, health."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import warnings
from typing import Any

import pytest

from infra import AsyncInfra, Infra
from infra.errors import ClosedError, ConfigurationError, ErrorCode, InfraError, StartupError, UnsupportedError


@pytest.fixture
def clock(sample: Any) -> Any:
    import sample_plugin.portable

    return sample_plugin.portable


def door(project: dict[str, Any], toml: str = "", kind: Any = Infra, **more: Any) -> Any:
    (project["root"] / "infra.toml").write_text(toml)
    return kind(**{**project, **more})


def test_the_blocking_door_opens_serves_and_closes_in_reverse(project: Any, clock: Any) -> None:
    with door(project, '[clock.a]\nprovider = "system"\nafter = ["clock.b"]\n[clock.b]\nprovider = "system"') as services:
        assert services.get(clock.Clock, "a").now() > 0
        assert services.get(clock.Clock, "a") is services.get(clock.Clock, "a")
        events = services.kernel.stores.get("events", list)
        kept = services.get(clock.Clock, "b")
    assert events == ["clock.a released", "driver of clock.a closed", "clock.b released", "driver of clock.b closed"]
    with pytest.raises(ClosedError):
        kept.now()
    with pytest.raises(ClosedError):
        services.get(clock.Clock, "a")


async def test_the_asyncio_door_serves_the_same(project: Any, clock: Any) -> None:
    async with door(project, '[clock.a]\nprovider = "system"', AsyncInfra) as services:
        assert await services.get(clock.AsyncClock, "a").now() > 0
        assert await services.get(clock.AsyncClock).now() > 0  # implicit, opened by the look-up


async def test_a_blocking_provider_serves_asyncio_hosts_over_its_own_threads(project: Any, clock: Any) -> None:
    async with door(project, '[clock.main]\nurl = "ntp://h"', AsyncInfra) as services:
        assert await services.get(clock.AsyncClock).now() > 0
        assert services.get(clock.AsyncClock).driver.__class__.__name__ == "ThreadedClockDriver"


def test_the_blocking_door_refuses_an_asyncio_only_provider(project: Any, clock: Any) -> None:
    with door(project) as services, services.override("clock.x", clock.Clock.__new__(clock.Clock)):
        pass
    with pytest.raises(StartupError, match=r"clock.main: provider tasks_only serves asyncio hosts only; use AsyncInfra"):
        door(project, '[clock.main]\nprovider = "tasks_only"').start()


async def test_the_blocking_door_of_an_asyncio_door_has_its_own_clients_and_shares_memory(project: Any, clock: Any) -> None:
    async with door(project, '[clock.main]\nprovider = "system"', AsyncInfra) as services:
        outer = services.get(clock.AsyncClock)
        inner = await asyncio.to_thread(lambda: services.blocking.get(clock.Clock))
        assert inner.driver is not outer.driver
        assert inner.driver.events is outer.driver.events
        assert services.blocking is services.blocking


def test_resources_with_equal_connections_share_one_driver(project: Any, clock: Any) -> None:
    toml = '[clock.a]\nurl = "ntp://h"\n[clock.b]\nurl = "ntp://h"\nprecision = 1\n[clock.c]\nurl = "ntp://other"'
    with door(project, toml) as services:
        a, b, c = (services.get(clock.Clock, name) for name in "abc")
        assert a.driver is b.driver
        assert a.driver is not c.driver
        a.close()
        assert not b.driver.closed
        driver = b.driver
    assert driver.closed


def test_eager_resources_open_at_start_lazy_ones_on_first_use(project: Any, clock: Any) -> None:
    toml = '[clock.a]\nurl = "ntp://a"\n[clock.b]\nurl = "ntp://b"\nstartup = "lazy"'
    with door(project, toml) as services:
        opened = services.kernel.stores.get("opened", list)
        assert opened == ["clock.a"]
        services.get(clock.Clock, "b")
        assert opened == ["clock.a", "clock.b"]


async def test_a_look_up_that_would_have_to_wait_says_how_to_open_it(project: Any, clock: Any) -> None:
    class Waits(clock.AsyncClock):
        async def start(self) -> None:
            await asyncio.sleep(0)

    toml = '[clock.main]\nprovider = "system"\nstartup = "lazy"'
    async with door(project, toml, AsyncInfra) as services:
        clock.AsyncClock.start, original = Waits.start, clock.AsyncClock.start
        try:
            with pytest.raises(ConfigurationError, match=r'await services.open\("clock.main"\)'):
                services.get(clock.AsyncClock)
            assert (await services.open("clock.main")) is services.get(clock.AsyncClock)
        finally:
            clock.AsyncClock.start = original


def test_find_gives_none_and_get_the_remedy_for_what_is_not_configured(project: Any, clock: Any) -> None:
    with door(project) as services:
        assert services.find(clock.Clock, "ufc") is None
        assert services.find(clock.Clock) is not None
        with pytest.raises(ConfigurationError, match=r"clock.ufc: it is not configured; add \[clock.ufc\]"):
            services.get(clock.Clock, "ufc")
        with pytest.raises(ConfigurationError, match="AsyncClock is no portable class of this door"):
            services.get(clock.AsyncClock)


def test_start_up_reports_every_failure_together_and_closes_what_was_opened(project: Any) -> None:
    toml = (
        '[clock.a]\nprovider = "system"\n'
        '[clock.b]\nurl = "ntp://b"\nfail = "open"\n'
        '[clock.c]\nurl = "ntp://c"\nfail = "ping"\npassword = "hunter2hunter2"\n'
        '[clock.d]\nurl = "ntp://d"\nfail = "exit"\n'
        '[clock.e]\nurl = "ntp://e"\nfail = "open"\nrequired = false'
    )
    services = door(project, toml)
    with pytest.raises(StartupError) as caught:
        services.start()
    text = str(caught.value)
    assert len(caught.value.failures) == 3
    assert "clock.b: ntp at b:123 did not open: connection refused" in text
    assert "; see that the server runs, or correct `host` (infra.toml [clock.b] url)" in text
    assert "clock.c: ping failed on ntp at c:123: refused, password was ********" in text
    assert "clock.d: ntp at d:123 did not open: SystemExit" in text
    assert "clock.e" not in text
    assert "hunter2" not in text
    assert services.kernel.states["clock.a"] == "closed"
    assert services.kernel.states["clock.b"] == "open_failed"


def test_an_optional_resource_that_fails_is_not_green(project: Any) -> None:
    with door(project, '[clock.a]\nurl = "ntp://a"\nfail = "open"\nrequired = false') as services:
        report = services.health()
        assert report.checks["clock.a"].status == "down"
        assert report.status == "degraded"
        assert report.ready


def test_strict_start_up_fails_on_an_optional_resource_and_on_a_broken_plugin(project: Any, sample: Any) -> None:
    from infra.plugin import hookimpl

    class Broken:
        @hookimpl
        def infra_cache(self) -> Any:
            raise RuntimeError("boom")

    toml = '[infra]\nstrict = true\n[clock.a]\nurl = "ntp://a"\nfail = "open"\nrequired = false'
    with pytest.raises(StartupError, match=r"clock\.a"):
        door(project, toml).start()
    with pytest.raises(ConfigurationError, match="infra_cache raised RuntimeError: boom"):
        door(project, "[infra]\nstrict = true", modules=[sample, Broken()]).start()


def test_invalid_settings_fail_start_up_a_line_each(project: Any) -> None:
    with pytest.raises(ConfigurationError, match="2 problems in the configuration") as caught:
        door(project, '[clock.a]\nurl = "ntp://a"\nhst = 1\nport = "x"').start()
    assert len(str(caught.value).splitlines()) == 3


def test_a_required_feature_that_is_missing_is_refused_at_open(project: Any) -> None:
    with pytest.raises(StartupError) as caught:
        door(project, '[clock.a]\nprovider = "system"\nrequire = ["time_travel"]').start()
    assert isinstance(caught.value.failures[0], UnsupportedError)
    assert "time_travel" in str(caught.value)


async def test_opening_has_a_deadline(project: Any) -> None:
    toml = '[clock.a]\nurl = "ntp://a"\ndelay = 5\nopen_timeout = 0.1'
    with pytest.raises(StartupError, match=r"clock.a: ntp at a:123 did not open: no answer within 0.1 s"):
        await door(project, toml, AsyncInfra).start()


def test_a_circle_of_dependencies_is_named(project: Any) -> None:
    toml = '[clock.a]\nprovider = "system"\nafter = ["clock.b"]\n[clock.b]\nprovider = "system"\nafter = ["clock.a"]'
    with pytest.raises(InfraError, match=r"depends on itself: clock\.\w -> clock\.\w -> clock\.\w"):
        door(project, toml).start()


async def test_a_circle_of_dependencies_is_named_by_the_asyncio_door_too(project: Any) -> None:
    toml = '[clock.a]\nprovider = "system"\nafter = ["clock.b"]\n[clock.b]\nprovider = "system"\nafter = ["clock.a"]'
    async with asyncio.timeout(5):
        with pytest.raises(InfraError, match=r"depends on itself: clock\.\w -> clock\.\w -> clock\.\w"):
            await door(project, toml, AsyncInfra).start()


def test_an_error_while_closing_is_logged_and_the_rest_is_closed(project: Any, caplog: Any) -> None:
    toml = '[clock.a]\nprovider = "system"\n[clock.b]\nurl = "ntp://b"\nfail = "close"'
    services = door(project, toml)
    services.start()
    services.close()
    assert services.kernel.states == {
        "clock.a": "closed",
        "clock.b": "closed",
        **{n: s for n, s in services.kernel.states.items() if n[-2] != "."},
    }
    assert "close went wrong" in caplog.text


def test_a_door_left_open_warns(project: Any) -> None:
    services = door(project, '[clock.a]\nprovider = "system"')
    services.start()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del services
        gc.collect()
    assert any(issubclass(warning.category, ResourceWarning) for warning in caught)


async def test_another_event_loop_is_refused(project: Any, clock: Any) -> None:
    async with door(project, '[clock.a]\nprovider = "system"', AsyncInfra) as services:
        errors: list[BaseException] = []

        def elsewhere() -> None:
            async def use() -> None:
                await services.get(clock.AsyncClock, "a").now()

            try:
                asyncio.run(use())
            except InfraError as error:
                errors.append(error)

        services.get(clock.AsyncClock, "a")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        await asyncio.to_thread(thread.join)
        assert isinstance(errors[0], ClosedError)
        assert "another event loop" in str(errors[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_cannot_use_the_parents_clients(project: Any, clock: Any) -> None:
    with door(project, '[clock.a]\nprovider = "system"') as services:
        resource = services.get(clock.Clock, "a")
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if not child:
            said = []
            for use in (resource.now, lambda: services.get(clock.Clock, "a")):
                try:
                    use()
                except ClosedError as error:
                    said.append("fork" in str(error))
            os.write(writer, str(said).encode())
            os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 100) == b"[True, True]"
        os.close(reader)
        os.close(writer)


def test_overrides_affect_look_ups_within_the_block(project: Any, clock: Any) -> None:
    with door(project, '[clock.main]\nprovider = "system"') as services:
        original = services.get(clock.Clock)
        with services.override("clock.main", {"url": "ntp://elsewhere"}):
            assert services.get(clock.Clock).settings.host == "elsewhere"
            with services.override("clock.main", original.driver):
                assert services.get(clock.Clock).driver is original.driver
            assert services.get(clock.Clock).settings.host == "elsewhere"
        assert services.get(clock.Clock) is original


async def test_overrides_of_the_asyncio_door(project: Any, clock: Any) -> None:
    async with door(project, '[clock.main]\nprovider = "system"', AsyncInfra) as services:
        original = services.get(clock.AsyncClock)
        with services.override("clock.main", {"provider": "system", "precision": 9}):
            assert services.get(clock.AsyncClock).settings.precision == 9
        assert services.get(clock.AsyncClock) is original


def test_health_reports_each_resource_and_what_is_required(project: Any) -> None:
    toml = '[clock.a]\nprovider = "system"\n[clock.b]\nurl = "ntp://b"\nstartup = "lazy"'
    with door(project, toml) as services:
        report = services.health()
        assert {name: str(health.status) for name, health in report.checks.items()} == {"clock.a": "up", "clock.b": "unknown"}
        assert report.ready
        assert services.health("clock.a").status == "up"


def test_plugins_add_health_checks_and_a_raising_one_is_down(project: Any, sample: Any) -> None:
    from infra import Health, HealthCheck, Status
    from infra.plugin import hookimpl

    class Checks:
        @hookimpl
        def infra_health_checks(self) -> Any:
            return [HealthCheck("disk", lambda: Health(Status.UP)), HealthCheck("bad", lambda: 1 / 0, required=True)]

    with door(project, modules=[sample, Checks()]) as services:
        report = services.health()
        assert (report.checks["disk"].status, report.checks["bad"].status) == ("up", "down")
        assert not report.ready


def test_plugins_explain_failures(project: Any, sample: Any) -> None:
    from infra.plugin import Diagnosis, hookimpl

    class Expert:
        @hookimpl
        def infra_analyze_failure(self, error: BaseException, resource: str) -> Any:
            return Diagnosis("the clock is off", "someone pulled the plug", "plug it in") if isinstance(error, OSError) else None

    with pytest.raises(StartupError, match="clock.a: the clock is off: someone pulled the plug; plug it in"):
        door(project, '[clock.a]\nurl = "ntp://a"\nfail = "open"', modules=[sample, Expert()]).start()


def test_a_hosts_own_section_comes_from_the_same_layers(project: Any) -> None:
    from infra import Section

    class ApiSettings(Section):
        port: int = 8000
        origins: list[str] = []

    toml = "[api]\nport = 9000"
    with door(project, toml, sections=[ApiSettings], environ={"INFRA_API__ORIGINS": "https://a,https://b"}) as services:
        api = services.section(ApiSettings)
        assert (api.port, api.origins) == (9000, ["https://a", "https://b"])
        assert services.section(ApiSettings) is api
    with pytest.raises(ConfigurationError, match=r"api: prt is not a setting.*did you mean port\?"):
        door(project, "[api]\nprt = 1", sections=[ApiSettings]).start()


def test_errors_have_a_public_form_without_anything_from_below(project: Any) -> None:
    with pytest.raises(StartupError) as caught:
        door(project, '[clock.a]\nurl = "ntp://secret-host"\nfail = "open"').start()
    public = caught.value.failures[0].to_dict()
    assert public["error_code"] == ErrorCode.UNAVAILABLE
    assert "secret-host" not in str(public)
    assert "refused" not in str(public)
