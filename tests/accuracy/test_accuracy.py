"""The errors that the estimators, the verdict and the localizers keep, and the list of what was tuned for it."""

import re

import pytest

from steadyspike_benchmarks import sensitivity
from steadyspike_benchmarks.accuracy import SCENARIOS, registry
from steadyspike_benchmarks.accuracy.constants import Constant, changed

RECORDED = sensitivity.recorded_errors()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
@pytest.mark.filterwarnings("ignore")
def test_the_error_stays_within_its_bound(scenario):
    assert scenario.error() <= sensitivity.bound(RECORDED[scenario.name])


def test_each_scenario_is_recorded_and_each_constant_belongs_to_some():
    assert set(RECORDED) == {scenario.name for scenario in SCENARIOS}
    groups = {scenario.group for scenario in SCENARIOS}
    for constant in registry.TUNED:
        assert groups.issuperset(constant.groups), constant


def test_every_number_of_the_modules_is_tuned_or_said_not_to_be():
    listed = {(constant.module, constant.name) for constant in registry.TUNED}
    not_tuned = {(module, name) for module, names in registry.NOT_TUNED.items() for name in names}
    assert not listed & not_tuned
    found = {(module, name) for module in registry.modules() for name in registry.numbers_of(module)}
    assert found == listed | not_tuned


def test_every_tuned_number_has_a_comment_above_it():
    for constant in registry.TUNED:
        lines = registry.source_of(constant.module).splitlines()
        place = next(i for i, line in enumerate(lines) if re.match(rf"{constant.name}\b.* = ", line))
        while re.match(r"[A-Z]", lines[place]):
            place -= 1
        assert lines[place].startswith("#"), constant


def test_a_new_number_is_found():
    source = "import numpy as np\nA_UM = 3.0\nB = (1, 2.0)\nC = 'name'\nD: int = 4\nE = -1e-3\nf = 2\n_G, H = 1, 2\n"
    assert registry.numbers_in(source) == ["A_UM", "B", "D", "E", "_G", "H"]


@pytest.mark.parametrize("factor", [1 / 3, 3.0])
def test_a_change_reaches_compiled_functions_and_is_undone(factor):
    from steadyspike.kernels.motion import kernel_correlation

    constant = Constant("kernels.motion.kernel_correlation", "REACH_SD", "sd", ("cloud",))
    error = next(scenario.error for scenario in SCENARIOS if scenario.name == "cloud: few units")
    before, function = error(), kernel_correlation.correlate_clouds
    with changed(constant, factor) as value:
        assert value == kernel_correlation.REACH_SD == pytest.approx(factor * 3.0)
        assert error() != before
    assert kernel_correlation.REACH_SD == 3.0
    assert kernel_correlation.correlate_clouds is function
    assert error() == before


def test_whole_numbers_stay_whole_and_shares_stay_shares():
    prior = "kernels.motion.motion_prior"
    assert Constant(prior, "BEND_LAG", "time bins", ()).scaled(1 / 3) == 2
    assert Constant("kernels.motion.online_registration", "BACK_SHARE", "share", ()).scaled(3) == 1.0
    assert Constant("kernels.motion.online_filter", "STEPS_UM", "um", ()).scaled(2)[0] == 0.02


def test_unknown_constants_are_refused():
    with pytest.raises(ValueError, match="constant='NOTHING'; allowed: "):
        sensitivity.choose(["NOTHING"])
    assert [constant.name for constant in sensitivity.choose(["motion_prior.OUTLIER"])] == ["OUTLIER"]
