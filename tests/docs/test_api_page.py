"""The page about ACE-Step's REST interface: its lines work as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docs.contents import anchor_of

from headroom.jobs.pieces import Piece
from support.old_rest import Singer, typed
from support.web import Engine, Service
from support.web_fixtures import config, made_database, service, start

__all__ = ["config", "made_database", "service", "start"]
PAGE = Path(__file__).parents[2] / "docs" / "en" / "API.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
LINES = [line for block in BLOCKS for line in re.split(r"\n(?=curl)", block.strip())]
WAITS = ("/format_input", "/v1/create_sample")  # for a language model, which nobody is here


EARLY = [line for line in LINES if "/preview" in line]  # of a task at work


@pytest.mark.parametrize("line", [line for line in LINES if line not in EARLY])
def test_a_line_works(service: Service, line: str) -> None:
    made = typed(service.client, LINES[0]).json()["data"]["task_id"]
    Singer(Engine(service.doors)).sing(1, 2)
    file = service.doors.library.of_job(made)[0].file
    answer = typed(service.client, line.replace("TASK_ID", made).replace("FILE_ID", file))
    expected = 504 if any(path in line for path in WAITS) else 200
    assert answer.status_code == expected, answer.text


@pytest.mark.parametrize("line", EARLY)
def test_a_line_of_a_task_at_work_works(service: Service, line: str) -> None:
    made = typed(service.client, LINES[0]).json()["data"]["task_id"]
    claim = Engine(service.doors).claim()
    service.doors.files.pieces.add(claim, Piece(0, 0, 2, 48_000, bytes(400)))
    answer = typed(service.client, line.replace("TASK_ID", made))
    assert answer.status_code == 200 and answer.content[:4] == b"RIFF"


def test_every_heading_is_linked() -> None:
    page = PAGE.read_text("utf-8")
    headings = re.findall(r"^## (.+)$", page, re.MULTILINE)
    links = re.findall(r"^- \[(.+)\]\(#(.+)\)$", page, re.MULTILINE)
    assert links == [(heading, anchor_of(heading)) for heading in headings]
