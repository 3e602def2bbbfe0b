"""The door for options: names, types, ranges, missing ones, from one signature or dataclass."""

import dataclasses
import inspect
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import numpy as np
import pytest
from typing_extensions import NotRequired, Unpack

from RobustART.core.options import build, checked, convert, describe, option_defaults, options_of
from RobustART.core.ranges import Count, Default, Positive, Range, Share, Sizes
from RobustART.errors import ConfigError


class Common(TypedDict, total=False):
    seeds: Annotated[Sequence[int] | None, Default(None)]
    """Keys of the images."""
    targeted: Annotated[bool, Default(False)]
    log: NotRequired[Any]


def attack(
    model: Any, images: Any, *, eps: float, steps: Count = 20, norm: Literal["Linf", "L2"] = "Linf", free=1.5,
    **common: Unpack[Common],
) -> None:  # fmt: skip
    pass


@dataclasses.dataclass(frozen=True)
class Part:
    decay: Annotated[float, Range(0, 1, below=True)] = 0.9
    odd: bool = False


@dataclasses.dataclass(frozen=True)
class Whole:
    part: Part
    more: list[Part] = dataclasses.field(default_factory=list)
    either: Part | None = None
    table: dict[str, Annotated[float, Range(0)]] | None = None


def test_options_of_a_function_and_of_what_it_unpacks():
    empty = inspect.Parameter.empty
    known = option_defaults(attack)
    assert {name: known[name] for name in ("eps", "steps", "norm", "free", "seeds", "targeted")} == {
        "eps": empty, "steps": 20, "norm": "Linf", "free": 1.5, "seeds": None, "targeted": False,
    }  # fmt: skip
    assert list(known) == ["eps", "steps", "norm", "free", "seeds", "targeted", "log"]
    assert known["log"] is not empty
    assert "seeds" not in options_of(attack, hidden=("seeds",))
    assert checked(attack, {"eps": "8/255", "seeds": 3, "log": 5, "free": 2}, "the attack x") == {
        "eps": 8 / 255, "seeds": [3], "log": 5, "free": 2.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"eps": 1, "stps": 3},
            "unknown option 'stps' of the attack x; did you mean 'steps'? Allowed: eps, steps, norm",
        ),
        ({"eps": 1, "model": 3}, "unknown option 'model' of the attack x"),
        ({}, "the attack x needs the option 'eps'"),
        ({"eps": 1, "steps": 0}, "the attack x: steps must be an integer from 1 up, got 0"),
        ({"eps": 1, "steps": True}, "the attack x: steps must be an integer from 1 up, got True"),
        ({"eps": None}, "the attack x: eps must be a number, got None"),
        ({"eps": "x"}, "the attack x: eps must be a number (such as 0.1, 1e-4 or 8/255), got 'x'"),
        ({"eps": "8/0"}, "the attack x: eps must be a number, got '8/0', a division by zero"),
        ({"eps": 1, "norm": "Lnf"}, "norm must be one of 'Linf', 'L2', got 'Lnf'; did you mean 'Linf'?"),
        ({"eps": 1, "targeted": 1}, "the attack x: targeted must be true or false, got 1"),
        ({"eps": 1, "seeds": [1, "a"]}, "the attack x: seeds[1] must be an integer, got 'a'"),
        ([], "the options of the attack x must be a mapping of keys to values, got []"),
    ],
)
def test_what_an_option_cannot_be(given, message):
    with pytest.raises(ConfigError) as error:
        checked(attack, given, "the attack x")
    assert message in str(error.value)


def test_dataclasses_are_built_from_mappings():
    made = build(Whole, {"part": {"decay": "1/2", "odd": True}, "more": [{}, None], "table": {"a": 1}}, "")
    assert made == Whole(Part(0.5, True), [Part(), Part()], None, {"a": 1.0})
    assert build(Whole, {"part": Part()}, "") == Whole(Part())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "part is missing"),
        ({"part": {"ood": True}}, "unknown key part.ood; did you mean 'odd'? Allowed: decay, odd"),
        ({"part": 3}, "part must be a mapping of keys to values, got 3"),
        ({"part": {"decay": 1}}, "part.decay must be a number from 0 to below 1, got 1"),
        ({"part": {}, "more": [{}, {"decay": math.nan}]}, "more[1].decay must be a number from 0 to below 1, got nan"),
        ({"part": {}, "more": {}}, "more must be a list (a mapping of keys to values each), got {}"),
        ({"part": {}, "either": {"dcay": 1}}, "unknown key either.dcay; did you mean 'decay'?"),
        ({"part": {}, "either": 3}, "either must be a mapping of keys to values or null, got 3"),
        ({"part": {}, "table": {"a": "b"}}, "table.a must be a number from 0 up (such as 0.1, 1e-4 or 8/255), got 'b'"),
        ({"part": {}, 3: 4}, "unknown key 3"),
    ],
)
def test_what_a_section_cannot_be(given, message):
    with pytest.raises(ConfigError) as error:
        build(Whole, given, "")
    assert message in str(error.value)


Areas = Annotated[list[Share], Sizes((2,), rising=True)]


@pytest.mark.parametrize(
    ("hint", "value", "result"),
    [
        (int, np.int64(3), 3), (float, np.float32(0.5), 0.5), (float, " 1e-4 ", 1e-4), (str, Path("a"), "a"),
        (Sequence[int], 3, [3]), (Sequence[int], range(2), [0, 1]), (Sequence[str], "ab", ["ab"]),
        (tuple[float, ...], np.array([1, 2]), (1.0, 2.0)), (tuple[int, str], [1, "a"], (1, "a")),
        (Areas | float, [0, 1], [0.0, 1.0]), (Areas | float, 0.5, 0.5), (Path, Path("a"), Path("a")), (Any, 3, 3),
        (Sequence[float] | Mapping[str, float], {"a": 1}, {"a": 1.0}), (Mapping[str, int], None, {}),
        (Literal[1, "a"], 1, 1), (bool | dict[str, bool] | None, None, None), (object, None, None),
    ],
)  # fmt: skip
def test_values_are_converted(hint, value, result):
    made = convert(value, hint, "x")
    assert made == result
    assert type(made) is type(result)


@pytest.mark.parametrize(
    ("hint", "value", "message"),
    [
        (int, 1.0, "an integer"), (int, "3", "an integer"), (int, math.inf, "an integer"), (str, 3, "a string"),
        (Sequence[int], "a", "one entry or a list of them (an integer each)"), (Sequence[Any], 3, "one entry or a list"),
        (Positive, math.inf, "a number above 0"), (list[int], 3, "a list (an integer each)"), (Literal[1], True, "one of 1"),
        (Areas | float, [1, 0], "a list (a number from 0 to 1 each) with 2 entries in rising order or a number"),
        (tuple[int, str], [1], "a list of 2 (an integer, a string each)"), (Path, 3, "Path"), (Mapping[str, int], 3, "a mapping"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit(hint, value, message):
    with pytest.raises(ConfigError) as error:
        convert(value, hint, "x")
    assert str(error.value).startswith(f"x must be {message}")


def test_ranges_in_words():
    words = {
        "from 0 to 1": Range(0, 1), "from 0 up": Range(0), "above 0": Range(0, above=True),
        "above 0 and at most 1": Range(0, 1, above=True), "from 0 to below 1": Range(0, 1, below=True), "big": Range(0, text="big"),
        "above 0 and below 1": Range(0, 1, above=True, below=True),
    }  # fmt: skip
    assert {str(rule): rule for rule in words.values()} == words
    assert describe(Annotated[int, Range(1, 5)]) == "an integer from 1 to 5"


def test_annotations_that_do_not_resolve_fall_back_to_the_default():
    def own(*, alpha: "Missing" = 1, beta=None, gamma: "Missing"):  # noqa: F821
        pass

    assert {name: option.hint for name, option in options_of(own).items()} == {"alpha": int, "beta": Any, "gamma": Any}
