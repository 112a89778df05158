"""What each sorter should leave out of its own preprocessing, by what the chain has done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from steadyspike.sorting.chain import Chain

KILOSORT_MIN_CHANNELS = 96
"""Pipelines of labs switch Kilosort4's drift correction off below; its docs advise against it near 64 and fewer."""
KILOSORT_MAX_SPACING_UM = 50.0
"""Contacts this far apart are too sparse for its drift correction, by its docs."""
MIN_FOR_REFERENCE = 32
"""SpikeInterface's sorters take no common reference of fewer channels."""
# as the third of a corner, a second highpass takes nearly nothing more; Hz where the corner is not known
CORNER_SHARE, UNKNOWN_CORNER_HZ = 1 / 3, 100.0


class Choice(NamedTuple):
    """An argument for a sorter, and why; a `warning` says that the recording would be better prepared otherwise."""

    parameter: str
    value: Any
    reason: str
    warning: str = ""


Adviser = Callable[[Chain], Iterator[Choice]]

TWICE = "the chain has done it already, and twice does harm"
NO_MOTION = "the chain has corrected the motion; correcting it once more only adds errors and interpolation"


def kilosort4(chain: Chain) -> Iterator[Choice]:
    """Kilosort4 filters, references, whitens and corrects drift by itself."""
    yield _kilosort_correction(chain)
    car = (
        "the chain has taken a common reference" if chain.referenced else "the chain has no common reference"
    )
    yield Choice("do_CAR", not chain.referenced, car)
    if not chain.whitened:
        yield Choice(
            "skip_kilosort_preprocessing", False, "Kilosort4 needs whitened data, and whitens them itself"
        )
        if chain.filtered:
            corner = UNKNOWN_CORNER_HZ if chain.freq_min is None else CORNER_SHARE * chain.freq_min
            reason = "the chain is filtered; Kilosort4 always filters too, so far below that it does nothing"
            yield Choice("highpass_cutoff", round(corner, 1), reason)
        return
    scale, warning = chain.int_scale, ""
    if not chain.filtered:
        warning = (
            "the recording is whitened but not filtered, and Kilosort4 would not filter it: filter it first"
        )
    elif scale not in (None, 1):
        warning = (
            f"whitened samples are {scale:g} times what Kilosort4's thresholds are for: whiten without int_scale, or "
            "scale them back"
        )
    reason = "the chain has whitened; this leaves out Kilosort4's filter and whitening"
    yield Choice("skip_kilosort_preprocessing", True, reason, warning)


def _kilosort_correction(chain: Chain) -> Choice:
    name, here = "do_correction", "correct the motion here first (si.correct_motion, preset='steady_auto')"
    if chain.corrected:
        return Choice(name, False, NO_MOTION)
    if chain.num_shanks > 1:
        reason = "Kilosort4 takes the depths of several shanks for one axis, and its drift is then unreliable"
        return Choice(name, False, reason, f"{reason}: {here}, all shanks together")
    if chain.num_channels < KILOSORT_MIN_CHANNELS:
        reason = f"{chain.num_channels} channels are too few for Kilosort4's drift estimate"
        whole = "if this is one shank of several, with all of them together, and then split them for sorting"
        return Choice(name, False, reason, f"{reason}: {here}; {whole}")
    if chain.spacing_um >= KILOSORT_MAX_SPACING_UM:
        reason = f"contacts {chain.spacing_um:.0f} um apart are too sparse for Kilosort4's drift estimate"
        return Choice(
            name, False, reason, f"{reason}: see steadyspike.motion_trust whether there is any to correct"
        )
    reason = "the chain has not corrected the motion; Kilosort4 does, whether the recording needs it or not"
    return Choice(name, True, f"{reason} (steadyspike.motion_trust tells)")


def spykingcircus2(chain: Chain) -> Iterator[Choice]:
    """Filter and reference are one switch; whitening and motion have their own."""
    prepared = chain.filtered
    warning = _no_reference(chain) if prepared else ""
    reason = (
        "it filters and references in one, and the chain has filtered"
        if prepared
        else "the chain has no filter"
    )
    yield Choice("apply_preprocessing", not prepared, reason, warning)
    yield _whitening("apply_whitening", chain)
    yield _motion("apply_motion_correction", chain, True)


def tridesclous2(chain: Chain) -> Iterator[Choice]:
    """Filter, reference and whitening are one switch, but the first two can be replaced by a chain of one's own."""
    yield from _components_sorter(chain, freq_max=6000.0)


def lupin(chain: Chain) -> Iterator[Choice]:
    """As tridesclous2."""
    yield from _components_sorter(chain, freq_max=7000.0)


def _components_sorter(chain: Chain, freq_max: float) -> Iterator[Choice]:
    yield _motion("apply_motion_correction", chain, False)
    if chain.whitened:
        reason = "the chain has whitened; this leaves out filter, reference and whitening"
        warning = "" if chain.filtered else "the recording is whitened but not filtered: filter it first"
        yield Choice("apply_preprocessing", False, reason, warning)
        return
    yield Choice("apply_preprocessing", True, "it needs whitened data, and whitens them itself")
    if not (chain.filtered or chain.referenced):
        return
    left: dict[str, dict[str, Any]] = {}
    if not chain.filtered:
        band = dict(freq_min=150.0, freq_max=freq_max, ftype="bessel", filter_order=2, dtype="float32")
        left["bandpass_filter"] = band
    if not chain.referenced and chain.num_channels >= MIN_FOR_REFERENCE:
        left["common_reference"] = {}
    missing = " and ".join(left).replace("_", " ") or "nothing"
    yield Choice("preprocessing_dict", left, f"before whitening, {missing} is left to do")


def mountainsort5(chain: Chain) -> Iterator[Choice]:
    """It filters and whitens; it takes no reference and corrects no motion."""
    reason = "the chain has filtered" if chain.filtered else "the chain has no filter"
    yield Choice("filter", not chain.filtered, reason, _no_reference(chain))
    yield _whitening("whiten", chain)


def simple(chain: Chain) -> Iterator[Choice]:
    """Filter and division by the noise are one switch; it takes no reference and corrects no motion."""
    reason = "the chain has filtered" if chain.filtered else "the chain has no filter"
    yield Choice("apply_preprocessing", not chain.filtered, reason, _no_reference(chain))


def dartsort(chain: Chain) -> Iterator[Choice]:
    """By itself it takes any recording of floating point numbers for prepared, standardized ones included."""
    yield _motion("do_motion_estimation", chain, True)
    whitened = "dartsort whitens by itself, from data that are not whitened" if chain.whitened else ""
    if chain.filtered and chain.standardized:
        yield Choice("already_preprocessed", "yes", "the chain has filtered and standardized", whitened)
        return
    reason = "said outright, as dartsort takes any floating point numbers for filtered and standardized ones"
    yield Choice("already_preprocessed", "no", reason, whitened)
    if chain.filtered:
        reason = "the chain has filtered; each channel is left to be divided by its noise"
        yield Choice("preprocessing", "standardize", reason, _no_reference(chain))
    else:
        yield Choice("preprocessing", "ibllikecmr", "the chain has no filter; this is dartsort's own chain")


def _whitening(name: str, chain: Chain) -> Choice:
    return Choice(name, not chain.whitened, TWICE if chain.whitened else "it needs whitened data")


def _motion(name: str, chain: Chain, by_default: bool) -> Choice:
    if chain.corrected:
        return Choice(name, False, NO_MOTION)
    does = "the sorter does it by itself" if by_default else "the sorter does not do so by itself either"
    return Choice(
        name, by_default, f"the chain has not corrected the motion; {does} (see steadyspike.motion_trust)"
    )


def _no_reference(chain: Chain) -> str:
    if chain.referenced or chain.num_channels < MIN_FOR_REFERENCE:
        return ""
    return "nothing takes a common reference: add one to the chain (steadyspike.common_reference)"


def general_warnings(chain: Chain) -> Iterator[str]:
    """What is known to hurt whatever the sorter."""
    if chain.denoised:
        yield (
            "denoising has cost units behind sorters so far, as the noise is no longer what they expect "
            "(`python -m steadyspike_benchmarks sorting` counts); compare with the recording before denoising"
        )
    if chain.origin_unknown:
        yield (
            "the folder that the recording was saved to does not tell where it came from: what was done before is "
            "taken for not done; give the recording before save(), or set what you know"
        )
    if chain.needs_phase_shift:
        yield (
            "channels are sampled one after the other, and nothing has corrected that: "
            "steadyspike.phase_shift(recording) before the reference keeps the common noise out"
        )


ADVISERS: dict[str, Adviser] = {
    one.__name__: one
    for one in (kilosort4, spykingcircus2, tridesclous2, lupin, mountainsort5, simple, dartsort)
}
"""By the sorters' names in SpikeInterface."""
