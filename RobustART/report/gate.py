"""Requirements on the numbers of a run, for continuous integration: ``robustart gate``."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from RobustART.errors import ConfigError
from RobustART.metrics.comparison import Comparison
from RobustART.metrics.comparison import Number as Pair
from RobustART.metrics.spec import face
from RobustART.metrics.trust import settled
from RobustART.report.numbers import Number, all_numbers, numbers_by_name, unknown_number
from RobustART.report.text import Data, Estimate, both

SIGNS = {"<=": operator.le, ">=": operator.ge, "<": operator.lt, ">": operator.gt}
_REQUIREMENT = re.compile(
    r"\s*(?P<name>[^<>=]*[^<>=\s])\s*(?P<sign>[<>]=?)\s*(?P<bound>[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?)\s*"
)
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class Requirement(NamedTuple):
    """A number and its bound."""

    name: str
    """Name of the number, as in :func:`~RobustART.report.numbers.numbers_by_name`."""
    sign: str
    """One of :data:`SIGNS`; empty for one that must be no worse than the baseline's."""
    bound: float
    """The bound, in the number's unit; 0 without a sign."""

    def __str__(self) -> str:
        return f"{self.name} {self.sign} {self.bound:g}" if self.sign else f"{self.name}, no worse than the baseline"


class Outcome(NamedTuple):
    """Whether a requirement is met."""

    requirement: Requirement
    shown: str
    """The number, or its difference from the baseline."""
    fault: str
    """Why the requirement is not met; empty if it is."""


def read_requirement(text: str) -> Requirement:
    """Returns a requirement, such as ``imagenet_c.mCE <= 70``, or a name alone.

    Raises:
        ConfigError: the string is neither.
    """
    match = _REQUIREMENT.fullmatch(text)
    if match is not None:
        return Requirement(match["name"], match["sign"], float(match["bound"]))
    if not text.strip() or set(text) & set("<>="):
        raise ConfigError(
            f"a requirement is NAME SIGN NUMBER, with a sign of {' '.join(SIGNS)}, such as 'imagenet_c.mCE <= 70', got "
            f"{text!r}"
        )
    return Requirement(text.strip(), "", 0.0)


def check_requirements(
    report: Data,
    requirements: Sequence[Requirement],
    comparison: Comparison | None = None,
    *,
    sure: bool = False,
    margin: float = 0.0,
) -> list[Outcome]:
    """Returns the outcomes of requirements; a number without a value, or that is not trustworthy, does not meet them.

    Args:
        report: report of the run.
        requirements: the requirements; without any, all metrics and cells of a leaderboard that have a value in the
            baseline must be no worse.
        comparison: the run compared with the baseline, the first run; None without a baseline.
        sure: whether the worse end of the 95 % interval must meet the requirement, instead of the value; that of the paired
            difference for a comparison with the baseline.
        margin: how much worse than the baseline a number may be, in its unit.

    Raises:
        ConfigError: there is nothing to check, a name is unknown, or a requirement without a bound has no baseline, or is
            of a number that the baseline lacks or whose better direction is unknown.
    """
    known = numbers_by_name(report)
    if not requirements and comparison is not None:
        guarded = (number for number in all_numbers(report) if _guarded(number, comparison))
        requirements = [Requirement(f"{number.benchmark}.{number.name}", "", 0.0) for number in guarded]
    if not requirements:
        raise ConfigError(
            "there is nothing to check: name a requirement, or a baseline with numbers of a better direction"
        )
    found = []
    for requirement in requirements:
        number = known.get(requirement.name)
        if number is None:
            raise unknown_number(requirement.name, known)
        if requirement.sign:
            fault = _bound_fault(number.estimate, requirement, sure)
            found.append(Outcome(requirement, both(number.estimate), fault))
        elif comparison is None:
            raise ConfigError(f"{requirement.name!r} needs a bound, such as '{requirement.name} >= 40', or a baseline")
        else:
            found.append(_no_worse(requirement, number, comparison, sure, margin))
    return found


def _guarded(number: Number, comparison: Comparison) -> bool:
    shown, pair = not number.row or face(number.benchmark).table(number.metric).board, _paired(number, comparison)
    return shown and number.spec.better is not None and pair is not None and pair.first.value is not None


def _paired(number: Number, comparison: Comparison) -> Pair | None:
    return comparison.numbers.get(number.benchmark, ({},))[0].get(number.flat)


def _bound_fault(estimate: Estimate, requirement: Requirement, sure: bool) -> str:
    own = settled(estimate)
    if own["value"] is None:
        return str(own.get("reason") or "the number is undefined")
    end = "value" if not sure else "high" if requirement.sign[0] == "<" else "low"
    if own[end] is None:
        return "the number has no interval"
    if SIGNS[requirement.sign](own[end], requirement.bound):
        return ""
    what = "it" if end == "value" else f"the {end} end of its interval"
    return f"{what} is {own[end]:.4g}"


def _no_worse(requirement: Requirement, number: Number, comparison: Comparison, sure: bool, margin: float) -> Outcome:
    pair = _paired(number, comparison)
    if pair is None or number.spec.better is None:
        why = "the baseline does not have it" if pair is None else "which direction is better is unknown"
        raise ConfigError(f"{requirement.name!r} cannot be compared with the baseline: {why}")
    for whose, estimate in (("", pair.second), ("the baseline's number: ", pair.first)):
        own = settled(estimate.to_plain())
        if own["value"] is None:
            return Outcome(requirement, both(estimate.to_plain()), f"{whose}{own.get('reason') or 'undefined'}")
    change, high = pair.difference.to_plain(), number.spec.better == "high"
    worst = change["value"] if not sure else change["low" if high else "high"]
    shown = f"{both(pair.second.to_plain())}, difference {both(change)}"
    if worst is None:
        return Outcome(requirement, shown, "the difference has no interval")
    loss = -worst if high else worst
    what = "it may be worse" if sure else "it is worse"
    return Outcome(requirement, shown, f"{what} by {loss:.4g}" if loss > margin else "")


def junit(outcomes: Sequence[Outcome]) -> str:
    """Returns outcomes as a JUnit file, one test case for each requirement."""
    failures = str(sum(bool(outcome.fault) for outcome in outcomes))
    suite = ElementTree.Element("testsuite", name="robustart gate", tests=str(len(outcomes)), failures=failures)
    for outcome in outcomes:
        benchmark, name = outcome.requirement.name.partition(".")[0], str(outcome.requirement)
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(benchmark), name=_xml(name))
        if outcome.fault:
            ElementTree.SubElement(case, "failure", message=_xml(outcome.fault)).text = _xml(outcome.shown)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ElementTree.tostring(suite, encoding="unicode")}\n'


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)
