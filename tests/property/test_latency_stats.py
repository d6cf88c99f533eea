"""The gate's statistics on simulated machines: hardly a false alarm, hardly a false pass, and power where it matters.

Each machine is given hundreds of jobs of as many units as a job has; rates are compared with what was promised.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.latency.stats import Effects, effects_of, interval_of, student
from bench.latency.verdict import Verdict

JOBS = 150
UNITS = 24
TESTS = 5
MARGIN = 1.02
Random = np.random.Generator
Noise = Callable[[Random, int], Effects]


def calm(random: Random, units: int) -> Effects:
    """Half a percent, as unit effects scatter on a quiet host."""
    return random.normal(0, 0.005, units)


def heavy_tails(random: Random, units: int) -> Effects:
    """Student's t with 1.5 degrees of freedom: no variance; now and then a stall of tens of percent."""
    return np.asarray(random.standard_t(1.5, units) * 0.003)


def stalls(random: Random, units: int) -> Effects:
    """One unit in eight loses a side to a neighbour, either side."""
    hit = random.random(units) < 0.125
    lost = hit * random.choice((-1, 1), units) * random.exponential(0.5, units)
    return np.asarray(random.normal(0, 0.005, units) + lost)


def autocorrelated(random: Random, units: int) -> Effects:
    """Neighbours resemble each other: first order, 0.6."""
    noise = np.empty(units)
    level = random.normal(0, 0.005)
    for index in range(units):
        level = 0.6 * level + random.normal(0, 0.004)
        noise[index] = level
    return noise


def two_states(random: Random, units: int) -> Effects:
    """A process has a lucky layout of memory or an unlucky one, 2% apart."""
    return np.asarray(random.normal(0, 0.003, units) + random.choice((-0.02, 0, 0.02), units, p=(0.25, 0.5, 0.25)))


MACHINES = [calm, heavy_tails, stalls, autocorrelated, two_states]


def verdicts(noise: Noise, ratio: float, *, seed: int = 7, units: int = UNITS) -> list[Verdict]:
    """What as many jobs say of a true ratio."""
    random = np.random.default_rng(seed)
    jobs = (np.log(ratio) + noise(random, units) for _ in range(JOBS))
    return [interval_of(effects, tests=TESTS).verdict(MARGIN) for effects in jobs]


def rate(found: list[Verdict], wanted: Verdict) -> float:
    return found.count(wanted) / len(found)


@pytest.mark.parametrize("noise", MACHINES)
def test_nothing_planted_is_never_called_a_failure(noise: Noise) -> None:
    assert rate(verdicts(noise, 1.0), Verdict.FAIL) == 0


@pytest.mark.parametrize("noise", MACHINES)
def test_at_the_margin_itself_failures_and_passes_stay_at_their_levels(noise: Noise) -> None:
    """The worst case: exactly 2% slower. Promised: 0.5% failures and 2.5% passes a look; chance on top."""
    found = verdicts(noise, MARGIN)
    assert rate(found, Verdict.FAIL) <= 0.03
    assert rate(found, Verdict.PASS) <= 0.07


@pytest.mark.parametrize("noise", [calm, heavy_tails, stalls])
def test_five_percent_is_found_and_is_never_passed(noise: Noise) -> None:
    found = verdicts(noise, 1.05)
    assert rate(found, Verdict.PASS) == 0
    assert rate(found, Verdict.FAIL) >= 0.95


@pytest.mark.parametrize("noise", [calm, heavy_tails, stalls])
def test_nothing_planted_passes_most_of_the_time(noise: Noise) -> None:
    assert rate(verdicts(noise, 1.0), Verdict.PASS) >= 0.9


def test_a_machine_too_noisy_to_tell_is_inconclusive() -> None:
    def noisy(random: Random, units: int) -> Effects:
        return random.normal(0, 0.2, units)

    found = verdicts(noisy, 1.0)
    assert rate(found, Verdict.INCONCLUSIVE) >= 0.9 and rate(found, Verdict.FAIL) <= 0.01


def test_drift_cancels_within_a_unit() -> None:
    """Both sides ever slower, by 40% over the job: A B .. B A leaves no effect."""
    time = 1 + 0.4 * np.arange(UNITS * 4).reshape(UNITS, 4) / (UNITS * 4)
    before, after = 300 * time[:, [0, 3]], 300 * time[:, [1, 2]]
    assert abs(interval_of(effects_of(before, after), tests=TESTS).ratio - 1) < 1e-4


def test_a_job_of_two_looks_and_five_tests_keeps_its_promise_of_five_percent() -> None:
    """At the margin in every test: any failure in either look counts."""
    random = np.random.default_rng(11)
    jobs, failed = 50, 0
    for _ in range(jobs):
        for _ in range(TESTS):
            effects = np.log(MARGIN) + stalls(random, 2 * UNITS)
            looks = [interval_of(part, tests=TESTS).verdict(MARGIN) for part in (effects[:UNITS], effects)]
            if Verdict.FAIL in looks:
                failed += 1
                break
    assert failed / jobs <= 0.05 + 2 * (0.05 * 0.95 / jobs) ** 0.5


def test_the_detectable_effect_is_detected_about_four_times_in_five() -> None:
    random = np.random.default_rng(3)
    effect = float(np.median([interval_of(calm(random, UNITS), tests=TESTS).detectable(MARGIN) for _ in range(25)]))
    assert 0.6 <= rate(verdicts(calm, effect), Verdict.FAIL) <= 0.97


def test_few_units_prove_nothing() -> None:
    few: Effects = np.full(5, 0.5)
    assert interval_of(few, tests=1).verdict(MARGIN) == Verdict.INCONCLUSIVE
    assert not interval_of(np.zeros(5), tests=1).equivalent(MARGIN)


def test_equal_figures_pass_and_are_equivalent() -> None:
    interval = interval_of(np.zeros(UNITS), tests=TESTS)
    assert interval.verdict(MARGIN) == Verdict.PASS and interval.equivalent(MARGIN)


def test_a_control_that_is_faster_is_no_control() -> None:
    interval = interval_of(np.log(0.95) + calm(np.random.default_rng(1), UNITS), tests=TESTS)
    assert interval.verdict(MARGIN) == Verdict.PASS and not interval.equivalent(MARGIN)


@pytest.mark.parametrize(("freedom", "expected"), [(5, 4.0321), (9, 3.2498), (15, 2.9467), (40, 2.7045)])
def test_student_is_that_of_the_tables(freedom: int, expected: float) -> None:
    assert student(0.995, freedom) == pytest.approx(expected, rel=0.01)
