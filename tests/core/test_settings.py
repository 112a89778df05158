"""Parameters that are declared once: what derives from a declaration."""

import inspect
import pickle
from typing import Literal

import numpy as np
import pytest
from pydantic import ValidationError, model_validator

from steadyspike.core.settings import Settings, document, parameter, parameter_of, settings_of, takes


class Binned(Settings):
    part = "steady_example"

    bin_s: float = parameter(1.0, "Duration of the time bins.", unit="s", gt=0)


class Example(Binned):
    radius_um: float = parameter(75.0, "Contacts this near take part", unit="um", gt=0, le=1000)
    order: int = parameter(5, "Order of one pass", ge=1)
    margin_ms: Literal["auto"] | float = parameter("auto", "Signal read before and after", unit="ms", ge=0)
    horizon_s: float | None = parameter(
        None, "Pairs farther apart are left out; None: none is", unit="s", gt=0
    )
    feature: Literal["ptp", "energy"] = parameter("ptp", "What is fitted")
    sigma_um: float | list[float] = parameter(20.0, "Length scales", unit="um", gt=0)
    enforce: bool = parameter(False, "Whether to cut")
    periods: object = parameter(None, "Times to leave out", type_doc="None, list of tuple or ndarray")
    ring_um: tuple[float, float] = parameter((0.0, 9.0), "Inner and outer radius. Of a ring", unit="um", ge=0)

    @model_validator(mode="after")
    def _order(self):
        if self.ring_um[0] >= self.ring_um[1]:
            self.refuse("ring_um", "inner < outer radius")
        return self


class Other(Settings):
    part = "steady_other"

    radius_um: float = parameter_of(Example, "radius_um", 50.0)
    margin_ms: Literal["auto"] | float = parameter_of(Example, "margin_ms")


@document
class Localizer:
    """Localize.

    Parameters
    ----------
    recording : BaseRecording
        The recording.
    {settings}
    """

    @takes(Example)
    def __init__(self, recording, parents=None, *, settings, **job_kwargs):
        self.recording, self.parents, self.settings, self.job_kwargs = (
            recording,
            parents,
            settings,
            job_kwargs,
        )


@takes(Binned)
def estimate(recording, settings, extra=None):
    """Estimate."""
    return recording, settings.bin_s, extra


@takes(Binned, argument="asked")
def bin_peaks(peaks, *, asked, **job_kwargs):
    """Bin."""
    return asked.bin_s, job_kwargs


WRONG = {
    "radius_um": (-1, 0, 1001, True, "75", None, float("nan"), float("inf"), [75.0], np.float32(-1)),
    "order": (0, 1.5, True, "5", None, np.int64(0)),
    "margin_ms": (-1, "none", None, float("nan"), True),
    "horizon_s": (0, -1.0, "auto", float("inf")),
    "feature": ("peak", None, 1),
    "sigma_um": ([20.0, -1.0], ["a"], 0, [True]),
    "enforce": (1, 0.0, "yes", None),
    "ring_um": ((-1.0, 2.0), (1.0,), 3.0, ["a", "b"], np.ones((2, 2)), None),
}


@pytest.mark.parametrize(("name", "value"), [(name, one) for name, values in WRONG.items() for one in values])
def test_wrong_values_are_refused_with_part_name_value_and_what_is_allowed(name, value):
    with pytest.raises(ValueError, match=f"^steady_example: {name}=.*; allowed: ") as caught:
        Localizer("recording", **{name: value})
    assert Example.allowed(name) in str(caught.value)
    assert Example.problem(name, value) == Example.allowed(name)


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("radius_um", 75, 75.0),
        ("radius_um", np.float32(0.5), 0.5),
        ("radius_um", np.int16(3), 3.0),
        ("order", 4.0, 4),
        ("order", np.int64(4), 4),
        ("margin_ms", 2, 2.0),
        ("margin_ms", "auto", "auto"),
        ("horizon_s", None, None),
        ("sigma_um", [1.0, 2.0], [1.0, 2.0]),
        ("enforce", np.bool_(True), True),
        ("sigma_um", np.array([1, 2]), [1.0, 2.0]),
        ("sigma_um", (1.0, 2.0), [1.0, 2.0]),
        ("radius_um", np.array(3), 3.0),
        ("ring_um", [1, 2], (1.0, 2.0)),
        ("ring_um", np.array([1.0, 2.0], "float32"), (1.0, 2.0)),
    ],
)
def test_right_values_are_held_as_plain_ones(name, value, held):
    settings = Localizer("recording", **{name: value}).settings
    assert getattr(settings, name) == held
    assert type(getattr(settings, name)) is type(held)
    assert Example.problem(name, value) is None


def test_what_joins_parameters_or_needs_data_is_told_in_the_same_words():
    expected = r"^steady_example: ring_um=\(2.0, 1.0\); allowed: inner < outer radius$"
    with pytest.raises(ValueError, match=expected):
        Example.of(ring_um=(2, 1))
    with pytest.raises(ValueError, match=r"^steady_example: order=5; allowed: fewer than samples$"):
        Example.of().refuse("order", "fewer than samples")


def test_a_parameter_declared_once_more_differs_in_its_default_only():
    assert Other.defaults() == dict(radius_um=50.0, margin_ms="auto")
    assert Other.allowed("radius_um") == Example.allowed("radius_um")
    assert Example.params_doc().count("Contacts this near take part, in um; > 0 and <= 1000.") == 1
    assert Other.params_doc().startswith(
        "    radius_um : float, default: 50.0\n        Contacts this near take part, in um; > 0 and <= 1000.\n"
    )
    with pytest.raises(ValueError, match=r"^steady_other: radius_um=1001; allowed: "):
        Other.of(radius_um=1001)
    assert Example.of().radius_um == 75.0


def test_saved_values_are_all_there_with_those_that_were_resolved():
    settings = Example.of(order=3)
    assert settings.saved(margin_ms=2.5) == {**settings.values(), "margin_ms": 2.5}
    with pytest.raises(TypeError, match="steady_example has no parameter margin"):
        settings.saved(margin=2.5)


def test_all_that_is_wrong_is_told_at_once():
    with pytest.raises(ValueError, match=r"radius_um=0.*\n.*order=0"):
        Example.of(radius_um=0, order=0)


def test_signature_is_that_of_the_function_with_the_parameters_in_place():
    signature = inspect.signature(Localizer)
    assert list(signature.parameters) == ["recording", "parents", *Example.model_fields, "job_kwargs"]
    assert signature.parameters["radius_um"].default == 75.0
    assert Example.defaults()["bin_s"] == 1.0


def test_arguments_reach_the_function():
    made = Localizer("recording", "parents", radius_um=50.0, n_jobs=2)
    assert (made.recording, made.parents, made.job_kwargs) == ("recording", "parents", {"n_jobs": 2})
    assert made.settings.radius_um == 50.0
    # by position too, as signatures say
    assert estimate("recording", 2.0, {}) == ("recording", 2.0, {})
    assert bin_peaks("peaks", bin_s=2, n_jobs=3) == (2.0, {"n_jobs": 3})
    assert inspect.signature(bin_peaks).parameters["bin_s"].kind is inspect.Parameter.KEYWORD_ONLY
    with pytest.raises(TypeError, match="bin_peaks: too many positional"):
        bin_peaks("peaks", 2.0)
    with pytest.raises(TypeError, match=r"estimate: .*radius"):
        estimate("recording", radius=1.0)


def test_docs_hold_type_default_unit_and_bounds():
    table = Example.params_doc()
    assert (
        "    radius_um : float, default: 75.0\n        Contacts this near take part, in um; > 0 and <= 1000."
        in table
    )
    assert '    margin_ms : "auto" or float, default: "auto"\n' in table
    assert "    horizon_s : float or None, default: None\n" in table
    assert "Inner and outer radius, in um; >= 0. Of a ring.\n" in table + "\n"
    assert '    feature : "ptp" | "energy", default: "ptp"\n        What is fitted.\n' in table
    assert "    periods : None, list of tuple or ndarray, default: None\n" in table
    for name in Example.model_fields:
        assert f"\n    {name} : " in Localizer.__doc__
    assert "{settings}" not in Localizer.__doc__


def test_misspelt_names_are_told():
    with pytest.raises(ValueError, match="steady_example: radus_um is no parameter; did you mean radius_um"):
        Example.of(radus_um=1.0)


def test_settings_do_not_change_and_travel():
    settings = Example.of(order=3)
    with pytest.raises(ValidationError):
        settings.order = 4
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert Example.of(**settings.values()) == settings


class Finer(Settings):
    part = "steady_finer"

    order: int = parameter(2, "Order of one pass", ge=0)
    bin_s: float = parameter(3.0, "Duration of the time bins", unit="s", gt=0)
    share: float = parameter(0.5, "Share", ge=0, le=1)


def test_values_are_passed_on_to_another_part_and_checked_there():
    settings = Example.of(order=3)
    assert settings.to(Finer, share=1.0) == Finer.of(order=3, bin_s=1.0, share=1.0)
    with pytest.raises(ValueError, match=r"steady_finer: share=2\.0; allowed: a number >= 0 and <= 1"):
        settings.to(Finer, share=2.0)


def test_declarations_are_found():
    assert settings_of(Localizer) is Example
    assert settings_of(estimate) is Binned
    assert settings_of(len) is None
