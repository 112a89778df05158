"""What derives from the declarations of the estimators, and what SpikeInterface makes of it."""

import importlib
import inspect

import pytest
from simulated_peaks import drifting_peaks, empty_recording, estimate_motion, rigid
from spikeinterface.sortingcomponents.motion import motion_estimation

from steadyspike.core.settings import settings_of
from steadyspike.integration.protocols import RUN_ARGUMENTS
from steadyspike.motion.estimators import ESTIMATORS, estimate_motion_of_segments
from steadyspike.motion.settings import WindowSettings


def class_of(name):
    module, _, attribute = ESTIMATORS[name].rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_form_of_an_estimator_derives_from_its_declaration(name):
    estimator = class_of(name)
    declared = settings_of(estimator)
    parameters = inspect.signature(estimator.run).parameters
    assert estimator.name == declared.part == name
    assert list(parameters) == [*RUN_ARGUMENTS, *declared.model_fields]
    # SpikeInterface fills presets up with all that has a default
    assert {key: one.default for key, one in parameters.items() if one.default is not one.empty} == (
        declared.defaults()
    )
    for text in (estimator.params_doc, estimator.run.__doc__):
        for parameter in declared.model_fields:
            assert f"\n    {parameter} : " in text


def test_windows_have_the_defaults_of_spikeinterface():
    theirs = inspect.signature(inspect.unwrap(motion_estimation.estimate_motion)).parameters
    assert WindowSettings.defaults() == {name: theirs[name].default for name in WindowSettings.model_fields}
    ours = list(inspect.signature(estimate_motion_of_segments).parameters)
    assert ours == list(theirs)


@pytest.mark.parametrize("name", [name for name in ESTIMATORS if name != "steady_decentralized_lfp"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(direction="w"), "estimate_motion: direction='w'; allowed: 'x', 'y' or 'z'"),
        (dict(win_shape="round"), "estimate_motion: win_shape='round'; allowed: 'gaussian', 'rect' or"),
        (dict(win_step_um=0.0), r"estimate_motion: win_step_um=0\.0; allowed: a number > 0 um"),
        (dict(win_scale_um=-1), "estimate_motion: win_scale_um=-1; allowed: a number > 0 um"),
        (dict(bin_s="1s"), "bin_s='1s'; allowed: a number >= 1e-05 and <= 1e[+]07 s"),
        (dict(max_displacement_um=float("nan")), "max_displacement_um=nan; allowed: a number > 0 um"),
    ],
)
def test_arguments_of_every_estimator_are_refused(name, arguments, message):
    peaks, locations = drifting_peaks(rigid, duration_s=2.0)
    with pytest.raises(ValueError, match=message):
        estimate_motion(empty_recording(2.0), peaks, locations, method=name, **arguments)
