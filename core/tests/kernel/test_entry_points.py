"""Entry points are found as importlib_metadata finds them, whatever stands on the path."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from importlib_metadata import PathDistribution, entry_points

from infra.kernel.entry_points import find_points

GROUP = "infra.plugins"


def install(folder: Path, name: str, version: str, points: str, suffix: str = "dist-info") -> Path:
    info = folder / f"{name.replace('-', '_')}-{version}.{suffix}"
    info.mkdir(parents=True)
    header = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: x\n\nName: not-this\n"
    (info / ("METADATA" if suffix == "dist-info" else "PKG-INFO")).write_text(header)
    if points:
        (info / "entry_points.txt").write_text(points)
    return info


def both() -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    ours = sorted((point.name, point.value, point.distribution, point.version) for point in find_points(GROUP))
    theirs = sorted((point.name, point.value, point.dist.name, point.dist.version) for point in entry_points(group=GROUP))
    return ours, theirs


def test_what_is_installed_here() -> None:
    ours, theirs = both()
    assert ours == theirs
    assert any(distribution == "infra-local" for _, _, distribution, _ in ours)


def test_sections_comments_and_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = (
        f"[console_scripts]\nx = y:z\n\n# ours\n[{GROUP}]\n# none\none = pack.one\ntwo=pack:two.three [extra]\n\n[other]\nfour = five\n"
    )
    install(tmp_path, "Sample-Dist.x", "1.0+local", points)
    install(tmp_path, "old-style", "2", f"[{GROUP}]\nthree = old\n", "egg-info")
    monkeypatch.syspath_prepend(str(tmp_path))
    ours = [point for point in find_points(GROUP) if point.distribution in ("Sample-Dist.x", "old-style")]
    assert sorted(ours) == [
        ("one", "pack.one", "Sample-Dist.x", "1.0+local"),
        ("three", "old", "old-style", "2"),
        ("two", "pack:two.three", "Sample-Dist.x", "1.0+local"),
    ]
    assert len(entry_points(group=GROUP)) == len(find_points(GROUP))


def test_an_earlier_distribution_hides_a_later_one_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "late", "sample", "1", f"[{GROUP}]\nsample = old\n")
    install(tmp_path / "early", "sample", "2", "")
    for folder in ("late", "early"):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    ours, theirs = both()
    assert ours == theirs
    assert not any(distribution == "sample" for _, _, distribution, _ in ours)


def test_the_remains_of_an_uninstalled_distribution_hide_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sample-0.dist-info").mkdir()
    install(tmp_path, "sample", "1", f"[{GROUP}]\nsample = here\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    ours, theirs = both()
    assert ours == theirs
    assert ("sample", "here", "sample", "1") in ours


def test_archives_are_searched_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "packed", "zipped", "3", f"[{GROUP}]\nzipped = inside\n")
    archive = tmp_path / "packed.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in (tmp_path / "packed").rglob("*"):
            file.write(path, path.relative_to(tmp_path / "packed"))
    monkeypatch.syspath_prepend(str(archive))
    ours, theirs = both()
    assert ours == theirs
    assert ("zipped", "inside", "zipped", "3") in ours


def test_finders_of_other_programs_are_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, "remote", "4", f"[{GROUP}]\nremote = elsewhere\n")

    class Finder:
        @staticmethod
        def find_spec(name: str, path: object = None, target: object = None) -> None:
            return None

        @staticmethod
        def find_distributions(context: object = None) -> Iterator[PathDistribution]:
            return map(PathDistribution, tmp_path.glob("*.dist-info"))

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    ours, theirs = both()
    assert ours == theirs
    assert ("remote", "elsewhere", "remote", "4") in ours


def test_folders_alone_need_no_library() -> None:
    code = (
        f"import sys; from infra.kernel.entry_points import find_points; find_points({GROUP!r}); print('importlib_metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
