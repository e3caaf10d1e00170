# Generated from _async.py by tools/generate_sync.py: edit that file, then run `make sync`.
"""The cases that hold for every provider, and the fixtures that the rooms' suites build on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

import pytest

from infra import Infra
from infra.errors import ClosedError, ConfigurationError, UnsupportedError
from infra.kernel.explain import explain
from infra_testing.harness import Harness, Place
from infra_testing.loading import check_program, check_references, host_modules


class Conformance:
    """Subclass a room's suite, not this; give it a `harness`."""

    harness: ClassVar[Harness]
    capability: ClassVar[str]
    feature_type: ClassVar[type[StrEnum]]

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        """A fresh place for each test."""
        return Place(tmp_path / "data")

    @pytest.fixture
    def opened(self, place: Place) -> Iterator[Callable[..., Any]]:
        """``opened(name="main", **settings)`` opens a resource in this test's place; all are closed afterwards."""
        resources: list[Any] = []

        def open_one(name: str = "main", **settings: object) -> Any:
            resource = self.harness.open(self.capability, place, name, **settings)
            resources.append(resource)
            return resource

        yield open_one
        for resource in reversed(resources):
            resource.close()

    def test_the_plugin_loads_in_a_host(self, tmp_path: Path) -> None:
        """Found by its entry point, opened by a host, explained, and known to the program."""
        harness, name = self.harness, f"{self.capability}.main"
        check_references(harness.descriptor(self.capability))
        check_program(self.capability, harness.provider, harness.plugin)
        settings = {self.capability: {"main": {**harness.values(), "provider": harness.provider}}}
        modules = [*host_modules(harness.plugin)]
        with Infra(settings, root=tmp_path, environ={}, modules=modules) as services:
            resource = getattr(services, self.capability)()
            assert resource.ping() >= 0
            explained = explain(services.kernel, name)
            assert (explained.provider, explained.problems) == (harness.provider, [])

    def test_ping_and_health_of_a_live_resource(self, opened: Any) -> None:
        resource = opened()
        assert resource.ping() >= 0
        assert (resource.health()).status in ("up", "degraded")

    def test_closing_twice_is_harmless_and_later_use_raises(self, opened: Any) -> None:
        resource = opened()
        resource.close()
        resource.close()
        with pytest.raises(ClosedError):
            resource.ping()

    def test_unwrap_of_a_wrong_type_names_what_is_on_offer(self, opened: Any) -> None:
        class Unknown:
            pass

        resource = opened()
        with pytest.raises(ConfigurationError, match="Unknown") as caught:
            resource.unwrap(Unknown)
        assert caught.value.remedy
        for offer in resource.driver.unwrap():
            assert resource.unwrap(type(offer)) is offer
            assert type(offer).__qualname__ in caught.value.remedy

    def test_declared_features_are_known_and_a_missing_required_one_is_refused(self, opened: Any) -> None:
        resource = opened()
        known = {str(feature) for feature in self.feature_type}
        assert set(resource.features) <= known
        for missing in sorted(known - set(resource.features)):
            with pytest.raises(UnsupportedError, match=missing):
                opened(require=[missing])
