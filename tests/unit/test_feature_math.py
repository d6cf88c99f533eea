"""The logarithm against forty digits of the real one, within the bound that its header states."""

from __future__ import annotations

import math
import random
from decimal import Decimal, localcontext

import pytest

from ffi import lib

ULPS_MAX = 3
SMALLEST = 5e-324
LARGEST = 1.7976931348623157e308


def error_ulps(value: float) -> float:
    """Distance from the true logarithm, in units in the last place of the result."""
    with localcontext() as context:
        context.prec = 40
        computed = lib.feature_math_log(value)
        return float(abs(Decimal(computed) - Decimal(value).ln()) / Decimal(math.ulp(computed)))


def sample_values() -> list[float]:
    """Ratios near 1, the seams of the reduction, and the whole range down to the subnormals."""
    draw = random.Random(20200130)
    near = [
        1 + sign * 2.0**-exponent * draw.random() for exponent in range(1, 53) for sign in (1, -1) for _ in range(8)
    ]
    seams = [
        math.nextafter(seam * scale, direction)
        for seam in (math.sqrt(2), math.sqrt(0.5), 1.0, 2.0, 0.5)
        for scale in (1.0, 2.0**300, 2.0**-1000)
        for direction in (0.0, math.inf)
    ]
    whole = [math.ldexp(0.5 + draw.random() / 2, draw.randint(-1073, 1024)) for _ in range(1500)]
    return [value for value in near + seams + whole + [SMALLEST, LARGEST] if value > 0 and value != 1]


def test_log_is_within_its_bound() -> None:
    worst = max(sample_values(), key=error_ulps)
    assert error_ulps(worst) <= ULPS_MAX, worst.hex()


def test_log_at_the_ends_of_its_domain() -> None:
    assert lib.feature_math_log(1.0) == 0.0
    assert lib.feature_math_log(0.0) == -math.inf
    assert lib.feature_math_log(-0.0) == -math.inf
    assert lib.feature_math_log(math.inf) == math.inf


@pytest.mark.parametrize("value", [-1.0, -math.inf, math.nan, -SMALLEST])
def test_log_of_what_has_none_is_nan(value: float) -> None:
    assert math.isnan(lib.feature_math_log(value))
