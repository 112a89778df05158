"""Small, seeded scenarios, and the error that the estimators, the verdict and the localizers must keep on each.

`registry` lists what was tuned; ``python -m steadyspike_benchmarks sensitivity`` changes each of these numbers and says
what that does to the scenarios, `tests/accuracy` holds the errors to what was recorded.
"""

from . import estimators, finer, lfp, localizers, verdicts

SCENARIOS = (
    *estimators.SCENARIOS,
    *finer.SCENARIOS,
    *lfp.SCENARIOS,
    *verdicts.SCENARIOS,
    *localizers.SCENARIOS,
)
