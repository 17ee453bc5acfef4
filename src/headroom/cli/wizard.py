"""`acestep wizard`: asks a few questions and builds a command line from the answers.

Questions go to standard error and the command to standard output; answers may come from a pipe.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from headroom.cli.parser import Parser
from headroom.errors import Cancelled, InvalidRequest
from headroom.models.registry import USUAL, family_named
from headroom.params.describe import TASK, stand_in
from headroom.params.flags import argv_of, text_of
from headroom.params.read import validate

_REQUEST = family_named().usual_request
_USUAL = f"{stand_in(_REQUEST, 'duration'):g}"
Said = Mapping[str, object]


def parser() -> Parser:
    """The flags of `acestep wizard`."""
    about = "Asks what the song should be, and prints the command that makes it."
    parser = Parser("acestep wizard", description=about, allow_abbrev=False)
    parser.add_argument("--family", default=USUAL, metavar="NAME", help="family of models")
    return parser


def run(words: Sequence[str]) -> int:
    """Run `acestep wizard`; returns the exit code. Raises Cancelled if there is no answer, and
    InvalidRequest for a family that the questions do not suit.
    """
    family = family_named(parser().parse_args(words).family)
    if not issubclass(family.usual_request, _REQUEST):
        allowed = f"{USUAL}: the questions are for a song with a caption and lyrics"
        raise InvalidRequest("family", family.name, allowed)
    answers: dict[str, object] = {}
    ended = not all(_ask(answers, question, read) for question, read in QUESTIONS)
    if not answers.get("caption") and not answers.get("lyrics"):
        raise Cancelled("there were no answers")
    command = words_of(answers)
    sys.stdout.write(f"{line_of(['acestep', 'generate', *command])}\n")
    sys.stdout.flush()
    if ended or not _yes(_answer("Make it now? [y/N] ") or ""):
        return 0
    from headroom.cli.generate import run as generate

    return generate(command)


def words_of(answers: Said) -> list[str]:
    """The arguments of `acestep generate` that make the request; the caption comes first."""
    request = validate(_REQUEST, answers)
    flags = [word for word in argv_of(request) if not word.startswith((f"--{TASK}=", "--caption="))]
    caption = str(request.model_dump()["caption"])
    if not caption:
        return flags
    return [f"--caption={caption}" if caption.startswith("-") else caption, *flags]


def line_of(words: Sequence[str]) -> str:
    """The arguments as a command line for this system's shell."""
    return subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)


def _caption(answer: str) -> Said:
    if not answer:
        raise InvalidRequest("caption", answer, "words, as in slow bossa nova, nylon guitar")
    return {"caption": answer}


def _lyrics(answer: str) -> Said:
    return {"lyrics": text_of("lyrics", answer)} if answer else {"instrumental": True}


def _duration(answer: str) -> Said:
    return {"duration": answer} if answer else {}


def _thinking(answer: str) -> Said:
    return {"thinking": True} if _yes(answer) else {}


QUESTIONS: tuple[tuple[str, Callable[[str], Said]], ...] = (
    ("What should it sound like? ", _caption),
    ("Lyrics, or @FILE (nothing: instrumental): ", _lyrics),
    (f"Length in seconds, or as 1:30 (nothing: {_USUAL}): ", _duration),
    ("Let a language model plan it first? [y/N] ", _thinking),
)


def _ask(answers: dict[str, object], question: str, read: Callable[[str], Said]) -> bool:
    """Ask until the answer is valid for a request; False if there are no more answers."""
    while True:
        answer = _answer(question)
        if answer is None:
            return False
        try:
            values = read(answer.strip())
            validate(_REQUEST, {**answers, **values})
        except InvalidRequest as error:
            sys.stderr.write(f"{error}\n")
            continue
        answers.update(values)
        return True


def _answer(question: str) -> str | None:
    """One line of an answer; None if there are no more."""
    sys.stderr.write(question)
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        sys.stderr.write("\n")
    return line if line else None


def _yes(answer: str) -> bool:
    return answer.strip().lower() in ("y", "yes")
