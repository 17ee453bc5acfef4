"""Files of figures and pictures replace nothing of anybody else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.errors import InvalidOutput
from headroom.profiler.output_files import OUTPUT, PLOT, place
from headroom.profiler.plot import MADE_BY
from headroom.profiler.record import FORMAT

OURS = json.dumps({"format": FORMAT, "mode": "profile"})
PICTURE = b"\x89PNG\r\n\x1a\n....tEXtSoftware\0" + MADE_BY.encode()


def write(path: Path, field: str, force: bool = False, text: str = "new") -> Path:
    with place(path, field, force) as (part, name):
        part.write_text(text)
    return name


@pytest.mark.parametrize("field", [OUTPUT, PLOT])
def test_a_file_of_another_program_is_refused_and_kept(tmp_path: Path, field: str) -> None:
    path = tmp_path / "results"
    for theirs in ('{"format": 1}', "", "[" * 90_000, "\x89PNG"):
        path.write_text(theirs)
        with pytest.raises(InvalidOutput, match=r"this program did not make it.*--force"):
            write(path, field)
        assert path.read_text() == theirs and list(tmp_path.iterdir()) == [path]
    assert write(path, field, force=True) == path and path.read_text() == "new"


def test_an_earlier_file_of_ours_is_kept_and_the_next_number_taken(tmp_path: Path) -> None:
    figures, picture = tmp_path / "results.json", tmp_path / "run.png"
    figures.write_text(OURS)
    picture.write_bytes(PICTURE)
    assert write(figures, OUTPUT) == tmp_path / "results-2.json"
    assert write(picture, PLOT) == tmp_path / "run-2.png"
    assert figures.read_text() == OURS and picture.read_bytes() == PICTURE
    assert write(figures, OUTPUT, force=True) == figures and figures.read_text() == "new"


def test_nothing_is_left_of_a_run_that_failed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), place(tmp_path / "a.json", OUTPUT, False) as (part, _):
        part.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
