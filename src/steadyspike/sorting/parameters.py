"""Arguments for a sorter that leave out what the chain of a recording has done."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from steadyspike.core.arguments import refuse
from steadyspike.sorting.advice import ADVISERS, Choice, general_warnings
from steadyspike.sorting.chain import Chain, chain_of

if TYPE_CHECKING:
    from spikeinterface import BaseRecording


class SorterParameters(dict[str, Any]):
    """Arguments for `spikeinterface.full.run_sorter`, with the reason for each.

    Attributes
    ----------
    sorter : str
        Its name.
    chain : Chain
        What the recording has behind it.
    choices : list of Choice
        `parameter`, `value`, `reason` and `warning`.
    warnings : list of str
        What is known to hurt, and what to do instead.
    """

    def __init__(self, sorter: str, chain: Chain, choices: list[Choice], told: list[str]) -> None:
        super().__init__({choice.parameter: choice.value for choice in choices})
        self.sorter, self.chain, self.choices, self.warnings = sorter, chain, choices, told

    def __repr__(self) -> str:
        lines = [f"SorterParameters for {self.sorter}, after {', '.join(self.chain.steps)}"]
        lines += [f"  {choice.parameter}={choice.value!r}: {choice.reason}" for choice in self.choices]
        return "\n".join([*lines, *(f"  warning: {text}" for text in self.warnings)])


def parameters(sorter: str, recording: BaseRecording) -> SorterParameters:
    """Choose the arguments for a sorter by what has been done to a recording.

    ``si.run_sorter(sorter, recording, folder=..., **parameters(sorter, recording))`` does nothing twice: filter, common
    reference, whitening and motion correction of the chain, also of one before a ``save()``, are switched off in the
    sorter. What is known to hurt is warned of.

    Parameters
    ----------
    sorter : {"kilosort4", "spykingcircus2", "tridesclous2", "lupin", "mountainsort5", "simple", "dartsort"}
        Its name in SpikeInterface; it need not be installed.
    recording : BaseRecording
        What will be sorted. No traces are read.

    Returns
    -------
    parameters : SorterParameters
        A dict, which prints with its reasons.
    """
    if sorter not in ADVISERS:
        refuse("sorter", sorter, ", ".join(map(repr, ADVISERS)), "parameters")
    chain = chain_of(recording)
    choices = list(ADVISERS[sorter](chain))
    told = [choice.warning for choice in choices if choice.warning] + list(general_warnings(chain))
    for text in told:
        warnings.warn(f"{sorter}: {text}", stacklevel=2)
    return SorterParameters(sorter, chain, choices, told)
