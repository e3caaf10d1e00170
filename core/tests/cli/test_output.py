"""Tables fit the terminal, whatever stands in them."""

from __future__ import annotations

import pytest

from infra.cli.output import table


@pytest.mark.parametrize("columns", [80, 60])
def test_a_table_fits_its_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int) -> None:
    monkeypatch.setattr("infra.cli.output.width", lambda: columns)
    row = ["database.reporting", "a" * 90, "several words that go on and on " * 4, "ok"]
    table(["RESOURCE", "VALUE", "ORIGIN", "STATE"], [row, ["x", "", None, 5]], indent="  ")
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= columns
    assert sum(line.count("a") for line in lines) >= 90
    assert sum(line.count("several") for line in lines) == 4


def test_only_the_widest_cells_are_broken(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("infra.cli.output.width", lambda: 40)
    table(["A", "VALUE"], [["short", "one two three four five six seven eight nine"]])
    assert capsys.readouterr().out.splitlines() == ["A      VALUE", "short  one two three four five six seven", "       eight nine"]


def test_lines_stay_whole_for_other_programs(capsys: pytest.CaptureFixture[str]) -> None:
    table(["A", "B"], [["a" * 200, "b"]])
    assert capsys.readouterr().out == f"A{' ' * 199}  B\n{'a' * 200}  b\n"
