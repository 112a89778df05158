"""Parameters in groups: given as objects, as dicts or one by one, and what derives from their declaration."""

import inspect
import pickle
from typing import ClassVar, Literal

import pytest

from steadyspike.core.setting_groups import Group, GroupedSettings, group
from steadyspike.core.settings import parameter, parameter_of, settings_of, takes


class NetworkSettings(Group):
    part = "NetworkSettings"
    plain: ClassVar = {"network": "name"}

    name: Literal["large", "small"] = parameter("small", "Which network")
    width: int | None = parameter(None, "Width of its layers", ge=1)


class OptimizerSettings(Group):
    part = "OptimizerSettings"

    max_steps: int = parameter(5000, "Steps in all", ge=1)
    learning_rate: float = parameter(1e-3, "The highest", gt=0)


class FewSteps(OptimizerSettings):
    max_steps: int = parameter_of(OptimizerSettings, "max_steps", 10)


class Training(GroupedSettings):
    part = "train"

    network: NetworkSettings = group(NetworkSettings, "What is trained")
    optimizer: OptimizerSettings = group(OptimizerSettings, "How weights are fitted")
    devices: int = parameter(1, "How many", ge=1)


@takes(Training)
def train(recording, folder=None, *, settings, resume=False):
    """Train.

    Parameters
    ----------
    recording : BaseRecording
    {settings}
    resume : bool, default: False
    **parameters
        Those of the groups.
    """
    return settings, recording, folder, resume


EXPECTED = Training.of(network="large", width=3, max_steps=7, devices=2)


@pytest.mark.parametrize(
    "given",
    [
        dict(network="large", width=3, max_steps=7),
        dict(network=NetworkSettings(name="large", width=3), optimizer=OptimizerSettings(max_steps=7)),
        dict(network=dict(name="large", width=3), optimizer=dict(max_steps=7)),
        dict(network=NetworkSettings(name="large"), width=3, optimizer=FewSteps(max_steps=7)),
        dict(network=dict(width=3, name="large"), max_steps=7.0, optimizer=None),
    ],
)
def test_groups_are_given_as_a_whole_or_one_by_one(given):
    settings, *rest = train("recording", "folder", devices=2, resume=True, **given)
    assert settings == EXPECTED
    assert settings.network == NetworkSettings(name="large", width=3)
    assert settings.optimizer == OptimizerSettings(max_steps=7)
    assert rest == ["recording", "folder", True]


def test_nothing_given_means_defaults():
    settings, *_ = train("recording", network=None)
    assert settings == Training() == Training.of()
    assert Training.defaults() | dict(network=0) == dict(
        network=0, optimizer=OptimizerSettings(), devices=1, width=None, max_steps=5000, learning_rate=1e-3
    )
    assert FewSteps().max_steps == 10
    # what a subclass has as its default was not asked for
    assert Training.of(optimizer=FewSteps(learning_rate=2.0)).optimizer.max_steps == 5000


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (dict(max_steps=0), "^train: max_steps=0; allowed: a whole number >= 1$"),
        (dict(optimizer=dict(max_steps=0)), "^train: max_steps=0; allowed: a whole number >= 1$"),
        (dict(network="huge"), "^train: network='huge'; allowed: 'large' or 'small'$"),
        (dict(network=dict(name="huge")), "^train: network='huge'; allowed"),
        (
            dict(optimizer=3),
            "^train: optimizer=3; allowed: OptimizerSettings or dict of max_steps, learning_rate$",
        ),
        (dict(devices=0), "^train: devices=0; allowed: a whole number >= 1$"),
        (dict(max_steps=0, width=0), r"^train: width=0.*\ntrain: max_steps=0"),
        (dict(optimizer=dict(max_step=3)), "^train: max_step is no parameter; did you mean max_steps"),
        (dict(optimizer=NetworkSettings(width=3)), "^train: width is no parameter"),
        (
            dict(optimizer=dict(max_steps=3), max_steps=3),
            "^train: max_steps=3; allowed: only one of both, and optimizer says max_steps=3$",
        ),
        (dict(network=NetworkSettings(width=3), width=4), "^train: width=4; allowed: only one of both"),
    ],
)
def test_what_cannot_be_is_refused_in_the_words_of_the_caller(given, message):
    with pytest.raises(ValueError, match=message):
        train("recording", **given)


def test_a_group_says_what_is_wrong_where_it_is_made():
    with pytest.raises(ValueError, match=r"^OptimizerSettings: max_steps=0; allowed: a whole number >= 1$"):
        OptimizerSettings(max_steps=0)
    with pytest.raises(ValueError, match=r"^OptimizerSettings: step is no parameter"):
        OptimizerSettings(step=1)


def test_unknown_and_missing_arguments_are_errors_of_the_call():
    with pytest.raises(TypeError, match=r"train\(\) takes no argument 'max_step'; did you mean max_steps"):
        train("recording", max_step=3)
    with pytest.raises(TypeError, match="recording"):
        train(max_steps=3)
    with pytest.raises(TypeError):
        train("recording", "folder", NetworkSettings())


def test_signature_and_docs_show_the_groups():
    assert str(inspect.signature(train)) == (
        "(recording, folder=None, *, network: 'NetworkSettings | dict' = NetworkSettings(), "
        "optimizer: 'OptimizerSettings | dict' = OptimizerSettings(), devices: int = 1, resume=False, **parameters)"
    )
    assert (
        """
    network : NetworkSettings or dict
        What is trained.

        name : "large" | "small", default: "small"
            Which network.
            As a plain keyword: `network`.
        width : int or None, default: None
            Width of its layers; >= 1.

    optimizer : OptimizerSettings or dict
        How weights are fitted.

        max_steps : int, default: 5000
"""
        in train.__doc__
    )
    assert "\n    devices : int, default: 1\n" in train.__doc__
    assert settings_of(train) is Training


def test_groups_do_not_change_and_travel():
    one = OptimizerSettings(max_steps=3)
    assert repr(one) == "OptimizerSettings(max_steps=3)"
    again = pickle.loads(pickle.dumps(one))
    assert again == one
    assert again.given() == {"max_steps": 3}
