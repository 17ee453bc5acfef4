"""Fields, limits and notes on a small request of its own: params knows no model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from headroom.errors import InvalidRequest
from headroom.params.clamp import Note, clamp
from headroom.params.describe import describe, groups, stand_in, union
from headroom.params.flags import caption, parse
from headroom.params.knob import Choices, Knob, Limit, Many
from headroom.params.narrow import narrow, schema, without
from headroom.params.read import faults, read, validate
from headroom.params.request import Request, Unread
from headroom.params.words import seconds_of


class Tea(Request):
    groups: ClassVar[tuple[str, ...]] = ("Leaf", "Water")

    task: Literal["tea"] = "tea"
    heat: Annotated[
        float | None,
        Limit(60, 100, "water boils at 100", above=0),
        Knob(
            "Water",
            "Heat of the water.",
            unit="C",
            left_open="the leaf decides",
            stand_in=80,
            old=("water_heat", "temperature"),
            open_values=(-1,),
            units=("c", "degrees"),
        ),
    ] = None
    kind: Annotated[
        Literal["green", "black"],
        Knob(
            "Leaf",
            "Kind.",
            old_words=(("dark", "black"),),
            old_switches=(("is_black", "black"),),
        ),
    ] = "green"
    herbs: Annotated[
        tuple[str, ...],
        Many(",|"),
        Choices(("mint", "rose")),
        Limit(0, 2, "the pot is small", follows="cups"),
        Knob("Leaf", "Herbs."),
    ] = ()
    cups: Annotated[int, Limit(1, 4, "the pot is small", least=1), Knob("Water", "Cups.")] = 1
    sugar: Annotated[float, Limit(0, 5, "sweet enough", least=0), Knob("Leaf", "Sugar.")] = 0.0
    number: Annotated[
        int | None, Limit(0, 9, "one digit", least=0, most=9), Knob("Leaf", "Its number.")
    ] = None


class Milk(Request):
    task: Literal["milk"] = "milk"
    cow: Annotated[Path, Knob("Source", "Which.", flag="from")]


class Words(Request):
    note: Annotated[str, Limit(0, 99, "a line"), Knob("Words", "What to say.")] = ""


FAMILY: dict[str, type[Request]] = {"tea": Tea, "milk": Milk}


def refused(given: dict[str, object]) -> str:
    with pytest.raises(InvalidRequest) as error:
        validate(Tea, given)
    return str(error.value)


def test_every_spelling_of_a_name_arrives_as_one() -> None:
    names = ("heat", "water_heat", "waterHeat", "water-heat", "temperature", "Temperature")
    assert {validate(Tea, {name: 90}).heat for name in names} == {90.0}


@pytest.mark.parametrize("name", ["heat", "water_heat", "temperature"])
@pytest.mark.parametrize("value", [-1, -1.0, "-1", " -1.0 ", "", "auto", "None", "null", None])
def test_decide_for_me_is_understood_under_any_name(name: str, value: object) -> None:
    request = validate(Tea, {name: value})
    assert request.heat is None and request.model_fields_set == {"heat"}


def test_what_is_not_said_of_a_field_that_cannot_be_open_is_its_default() -> None:
    nothing: dict[str, object] = {"cups": None, "sugar": "", "kind": "auto", "herbs": [None, ""]}
    assert validate(Tea, nothing).model_fields_set == set()
    assert validate(Tea, {"herbs": ""}).herbs == ()
    assert validate(Tea, {"is_black": ""}).kind == "green"


def test_a_value_goes_before_decide_for_me_under_another_name() -> None:
    assert validate(Tea, {"heat": 90, "temperature": -1}).heat == 90
    assert validate(Tea, {"heat": "", "temperature": 90}).heat == 90


@pytest.mark.parametrize("written", ["90 C", "90c", " 90 degrees", "90.0", "9e1 c"])
def test_a_number_may_carry_its_unit(written: str) -> None:
    assert validate(Tea, {"heat": written}).heat == 90
    assert "heat: '90 F' is not allowed" in refused({"heat": "90 F"})


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("1:30", 90), ("0:07.5", 7.5), ("1:02:03", 3723), ("-0:05", -5), ("90s", 90), ("90 sec", 90),
     ("1m30s", 90), ("2 min", 120), ("1h 1m", 3660), ("12", None), ("1:75", None), 
     ("1:70:00", None), ("", None), ("s", None), ("1:2:3:4", None), ("9" * 5000 + ":00", None)],
)  # fmt: skip
def test_times_may_be_written_as_a_clock(written: str, seconds: float | None) -> None:
    assert seconds_of(written) == seconds


class Clocked(Request):
    task: Literal["clocked"] = "clocked"
    length: Annotated[float, Limit(-600, 600, "so"), Knob("Time", "How long.", unit="s")] = 1.0


def test_a_field_in_seconds_takes_a_clock_and_no_other_field_does() -> None:
    assert validate(Clocked, {"length": "1:30"}).length == 90
    assert parse(Clocked, ["--length=-0:05"]).length == -5
    assert "heat: '1:30' is not allowed" in refused({"heat": "1:30"})


class Old(Request):
    task: Literal["old"] = "old"
    unread: ClassVar[Mapping[str, Unread]] = {
        "result": Unread("it is a result", (0,)),
        "loud": Unread("it is a result", texts=True),
    }
    shout: Annotated[bool, Knob("Old", "Loud.", old=("loud",))] = False


def test_a_name_that_no_field_answers_to_is_passed_over_or_answered(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headroom.log.log.propagate", True)
    for quiet in (0, "0", None, ""):
        assert validate(Old, {"result": quiet}) == Old()
    assert not caplog.messages
    assert validate(Old, {"result": 7, "loud": "very"}) == Old()
    assert caplog.messages == [
        "result: asked 7, not used: it is a result.",
        "loud: asked very, not used: it is a result.",
    ]
    assert validate(Old, {"loud": "yes"}).shout


def test_old_words_and_old_switches() -> None:
    assert validate(Tea, {"kind": "Dark"}).kind == "black"
    assert validate(Tea, {"is_black": "yes"}).kind == "black"
    assert validate(Tea, {"is_black": False}).kind == "green"
    assert "is_black: 'perhaps' is not allowed; allowed: true or false" in refused(
        {"is_black": "perhaps"}
    )
    assert "two spellings that differ" in refused({"is_black": True, "kind": "green"})


def test_two_spellings_of_one_value_are_fine_and_of_two_values_are_not() -> None:
    assert validate(Tea, {"heat": 90, "temperature": 90}).heat == 90
    assert "two spellings that differ" in refused({"heat": 90, "temperature": 70})


@pytest.mark.parametrize(
    "written", ["mint,rose", "mint | rose", ["MINT", "rose"], ("mint", "rose")]
)
def test_a_tuple_may_be_one_string(written: object) -> None:
    assert validate(Tea, {"herbs": written}).herbs == ("mint", "rose")


def test_an_unknown_name_gets_the_nearest_known_one() -> None:
    assert refused({"haet": 1}) == (
        "haet: 1 is not allowed; allowed: a known field (did you mean 'heat'?)."
    )
    assert "did you mean 'heat'?" in refused({"watter_heat": 1})
    assert "the fields of this request: task, heat, kind" in refused({"xyzzy": 1})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"heat": 0}, "heat: 0 is not allowed; allowed: a number from 60 to 100 C, or nothing"),
        ({"heat": float("nan")}, "heat: nan is not allowed"),
        ({"heat": float("inf")}, "heat: inf is not allowed"),
        ({"heat": "hot"}, "heat: 'hot' is not allowed"),
        ({"heat": True}, "heat: True is not allowed"),
        ({"cups": 0}, "cups: 0 is not allowed; allowed: a whole number from 1 to 4."),
        ({"cups": 1.5}, "cups: 1.5 is not allowed"),
        ({"sugar": -0.1}, "sugar: -0.1 is not allowed"),
        ({"number": 10}, "number: 10 is not allowed; allowed: a whole number from 0 to 9"),
        ({"kind": "red"}, "kind: 'red' is not allowed; allowed: one of green, black."),
        ({"herbs": "mint,salt"}, "allowed: any of mint, rose."),
    ],
)
def test_nonsense_is_refused_with_field_value_and_what_is_allowed(
    given: dict[str, object], sentence: str
) -> None:
    assert sentence in refused(given)


def test_a_number_beyond_a_limit_stays_and_is_clamped_once_with_a_note() -> None:
    request = validate(Tea, {"heat": 250, "cups": 9, "sugar": 2})
    assert (request.heat, request.cups) == (250, 9)
    clamped, notes = clamp(request)
    assert (clamped.heat, clamped.cups, clamped.sugar) == (100, 4, 2)
    assert set(notes) == {
        Note("heat", 250.0, 100, "water boils at 100"),
        Note("cups", 9, 4, "the pot is small"),
    }
    assert notes[0].sentence() == "heat: asked 250, used 100: water boils at 100."
    assert clamped.model_fields_set == request.model_fields_set
    assert clamp(clamped) == (clamped, ())


def test_the_tighter_limit_clamps_and_gives_its_reason() -> None:
    here = {"heat": Limit(1, 95, "we are on a mountain"), "cups": Limit(1, 10, "plenty")}
    _, notes = clamp(validate(Tea, {"heat": 99, "cups": 5}), here)
    assert notes == (
        Note("heat", 99.0, 95, "we are on a mountain"),
        Note("cups", 5, 4, "the pot is small"),
    )


def test_a_limit_between_whole_numbers_leaves_a_whole_number() -> None:
    clamped, _ = clamp(validate(Tea, {"cups": 4}), {"cups": Limit(1, 2.5, "half a cup is none")})
    assert clamped.cups == 2


def test_a_tuple_is_cut_to_the_limit_of_the_field_it_follows() -> None:
    request = validate(Tea, {"herbs": "mint,rose"})
    clamped, notes = clamp(request, {"cups": Limit(1, 1, "one cup")})
    assert clamped.herbs == ("mint",)
    assert notes == (Note("herbs", ("mint", "rose"), ("mint",), "one cup"),)


class Letter(Request):
    task: Literal["letter"] = "letter"
    words: Annotated[str, Limit(0, 20, "the page ends"), Knob("Letter", "What it says.")] = ""


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("twenty letters, just", "twenty letters, just"),
        ("one word and another and more", "one word and"),
        ("a first line\nand a second one", "a first line"),
        ("x" * 30, "x" * 20),
        ("a " + "x" * 30, "a " + "x" * 18),  # a word that takes up more than half
        ("春" * 25, "春" * 20),
    ],
)
def test_a_text_is_cut_to_its_limit_where_a_line_or_a_word_ends(written: str, kept: str) -> None:
    request = validate(Letter, {"words": written})
    clamped, notes = clamp(request)
    assert request.words == written and clamped.words == kept
    assert notes == (() if written == kept else (Note("words", written, kept, "the page ends"),))
    assert clamp(clamped) == (clamped, ())


def test_the_limit_of_a_text_is_shown() -> None:
    (param,) = describe(Letter)
    assert param.allowed() == "text of up to 20 characters"
    assert caption(param) == "What it says. [up to 20 characters]"
    assert Letter.model_json_schema()["properties"]["words"]["maxLength"] == 20
    (short,) = narrow((param,), {"words": Limit(0, 5, "a card")})
    assert schema(Letter, (short,))["properties"]["words"]["maxLength"] == 5
    with pytest.raises(InvalidRequest, match="up to 20 characters"):
        validate(Letter, {"words": 7})


def test_an_open_field_stays_open() -> None:
    assert clamp(Tea(), {"heat": Limit(60, 70, "here")}) == (Tea(), ())


def test_describe_tells_all_that_a_face_needs() -> None:
    by_name = {p.name: p for p in describe(Tea)}
    heat = by_name["heat"]
    assert (heat.kind, heat.optional, heat.minimum, heat.maximum) == (float, True, 60, 100)
    assert heat.left_open == "the leaf decides, else 80 C"
    assert stand_in(Tea, "heat") == 80
    assert (by_name["herbs"].many, by_name["herbs"].kind, by_name["herbs"].split) == (
        True,
        str,
        ",|",
    )
    assert by_name["kind"].choices == ("green", "black")
    assert list(groups(describe(Tea))) == ["Leaf", "Water"]  # as the request orders them
    assert "task" not in by_name
    assert {p.name for p in union((Tea, Milk))} == {*by_name, "cow"}


def test_a_field_no_face_can_show_is_a_mistake_of_the_programmer() -> None:
    class Bad(Request):
        where: Annotated[dict[str, int], Knob("X", "No.")]

    class Silent(Request):
        where: int = 0

    with pytest.raises(TypeError, match="no face can show"):
        describe(Bad)
    with pytest.raises(TypeError, match="has no Knob"):
        describe(Silent)


def test_narrowing_moves_what_is_shown_and_validates_nothing() -> None:
    shown = narrow(without(describe(Tea), ("kind",)), {"heat": Limit(60, 90, "old kettle")})
    heat = next(p for p in shown if p.name == "heat")
    assert (heat.minimum, heat.maximum) == (60, 90)
    properties = schema(Tea, shown)["properties"]
    assert properties["heat"]["anyOf"][0] == {"type": "number", "minimum": 60, "maximum": 90}
    assert "kind" not in properties and "task" in properties
    assert validate(Tea, {"heat": 95}).heat == 95
    assert next(p for p in describe(Tea) if p.name == "heat").maximum == 100


def test_narrowing_never_widens() -> None:
    shown = narrow(describe(Tea), {"heat": Limit(0, 1000, "a wish")})
    assert next(p for p in shown if p.name == "heat").limit == Limit(
        60, 100, "water boils at 100", above=0
    )


def test_schema_bounds_are_the_described_ones() -> None:
    properties = Tea.model_json_schema()["properties"]
    assert properties["cups"]["minimum"] == 1 and properties["cups"]["maximum"] == 4
    assert properties["herbs"]["maxItems"] == 2
    assert properties["herbs"]["items"]["enum"] == ["mint", "rose"]
    assert properties["heat"]["description"] == "Heat of the water. Unit: C."


def test_a_limit_that_ends_before_it_starts_is_a_mistake_of_the_programmer() -> None:
    with pytest.raises(ValueError, match="limit from 3 to 2"):
        Limit(3, 2, "never")


def test_a_family_is_read_by_task() -> None:
    assert read(FAMILY, {"cups": 2}, "tea") == Tea(cups=2)
    assert read(FAMILY, {"task": "milk", "cow": "a"}, "tea") == Milk(cow=Path("a"))
    with pytest.raises(InvalidRequest, match="task: 'soup' is not allowed; allowed: one of tea"):
        read(FAMILY, {"task": "soup"}, "tea")
    with pytest.raises(InvalidRequest, match="only with task tea, not milk"):
        read(FAMILY, {"task": "milk", "cow": "a", "waterHeat": 3}, "tea")
    with pytest.raises(InvalidRequest, match=r"a file, which this task needs \(--from\)"):
        read(FAMILY, {"task": "milk"}, "tea")


def test_every_fault_can_be_told() -> None:
    with pytest.raises(InvalidRequest, match="cups") as error:
        Tea.model_validate({"cups": 0, "sugar": -1})
    assert isinstance(error.value.__cause__, ValidationError)
    assert [fault.field for fault in faults(Tea, error.value.__cause__)] == ["cups", "sugar"]


MAKERS: dict[str, Callable[[dict[str, object]], object]] = {
    "constructor": lambda said: Tea(**said),  # type: ignore[arg-type]
    "model_validate": Tea.model_validate,
    "model_validate_json": lambda said: Tea.model_validate_json(json.dumps(said)),
    "model_copy": lambda said: Tea(cups=2).model_copy(update=said),
    "union": lambda said: TypeAdapter(
        Annotated[Tea | Milk, Field(discriminator="task")]
    ).validate_python({"task": "tea", **said}),
    "validate": lambda said: validate(Tea, said),
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"cupps": 3}, "cupps: 3 is not allowed; allowed: a known field (did you mean 'cups'?)."),
        ({"cups": "many"}, "cups: 'many' is not allowed; allowed: a whole number"),
        ({"cups": 10**400}, "cups: 1000"),
        ({"sugar": -1}, "sugar: -1"),
    ],
)
def test_however_a_request_is_made_errors_are_ours(
    maker: str, said: dict[str, object], sentence: str
) -> None:
    with pytest.raises(InvalidRequest) as error:
        MAKERS[maker](said)
    assert sentence in str(error.value)


def test_what_is_no_mapping_or_no_json_is_a_sentence() -> None:
    with pytest.raises(InvalidRequest, match="request: 3 is not allowed; allowed: values by the"):
        Tea.model_validate(3)
    for text in ("{", "[" * 100_000, b"\xff"):
        with pytest.raises(InvalidRequest, match=r"request: .* a JSON object"):
            Tea.model_validate_json(text)
    with pytest.raises(InvalidRequest, match="3: 1 is not allowed"):
        read(FAMILY, {3: 1}, "tea")  # type: ignore[dict-item]


def test_a_copy_with_other_values_is_a_request_of_its_own() -> None:
    tea = Tea(cups=2)
    copied = tea.model_copy(update={"sugar": 1})
    assert copied == Tea(cups=2, sugar=1) and copied.model_fields_set == {"cups", "sugar"}
    assert tea.model_copy() == tea and tea.model_copy(deep=True) == tea
    assert tea.model_copy(update={"Sugar": 1}, deep=True) == copied


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb", "\udfb5\ud83c"])
def test_half_a_letter_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match=r"note: .* without lone surrogates") as error:
        Words(note=text)
    str(error.value).encode()  # can be written anywhere
    with pytest.raises(InvalidRequest, match=r"a known field|the fields of this request"):
        Words.model_validate({text: 1})


def test_half_a_letter_in_a_path_or_a_list_is_refused_too() -> None:
    for cow in ("\udcff.wav", Path("\udcff.wav")):
        with pytest.raises(InvalidRequest, match=r"cow: .* without lone surrogates"):
            Milk(cow=cow)
    with pytest.raises(InvalidRequest, match=r"herbs: .* without lone surrogates"):
        Tea(herbs=("mint", "\ud800"))


def test_a_value_nested_without_end_is_a_sentence() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    endless: list[object] = []
    endless.append(endless)
    for value in (deep, endless):
        for said in ({"herbs": value}, {"cups": value}, {"kind": value}, {"is_black": value}):
            with pytest.raises(InvalidRequest, match=f"^{next(iter(said))}: "):
                Tea.model_validate(said)


HUGE = 10**5000  # more digits than Python writes out


@pytest.mark.parametrize("field", ["cups", "kind", "is_black", "herbs", "heat", "sugar"])
def test_a_number_of_too_many_digits_is_a_sentence(field: str) -> None:
    with pytest.raises(InvalidRequest, match="too long to be shown"):
        Tea.model_validate({field: HUGE})


def test_what_is_no_name_is_refused_by_name() -> None:
    for name in (HUGE, "a\nb", "x" * 9000, "\x1b[2J"):
        with pytest.raises(InvalidRequest) as caught:
            Tea.model_validate({name: 1})
        assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_a_note_can_always_be_said_in_a_line() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (HUGE, deep):
        assert "too long to be shown" in Note("cups", value, None, "no").sentence()
    assert Note("a\nb" * 99, 1, 2, "no").sentence().isprintable()


def test_two_halves_of_a_letter_are_a_letter() -> None:
    assert Words(note="\ud83c\udfb5").note == "\U0001f3b5"


def test_a_request_is_frozen() -> None:
    for change in ("cups", "anything"):
        with pytest.raises(InvalidRequest, match=rf"{change}: 2 .* model_copy"):
            setattr(Tea(), change, 2)
        with pytest.raises(InvalidRequest, match=rf"{change}: .* model_copy"):
            delattr(Tea(), change)
