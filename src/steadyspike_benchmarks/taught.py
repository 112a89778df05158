"""Bundled networks that see all samples: taught on drawn noise, judged on spikes added to a real recording."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steadyspike.library.hub.cards import license_metadata
from steadyspike_benchmarks import denoising_teachers as teachers
from steadyspike_benchmarks.denoising_checks import check_denoisers, way_of, with_checks
from steadyspike_benchmarks.denoising_held_out import fitted_model
from steadyspike_benchmarks.denoising_injected import prepare

if TYPE_CHECKING:
    from spikeinterface import BaseRecording

LICENSE, PROBES = "mit", {"steady-np1-seeing": "np1", "steady-np2-seeing": "np2"}
LEVELS, SEEDS = (5.0, 9.0, 15.0), (0, 1)


def write_taught(
    name: str,
    folder: str | Path,
    network: Any,
    layout_type: Any,
    recording: BaseRecording | None,
    start_s: float,
    overwrite: bool = False,
) -> Any:
    """Judge a network that `teachers.teach` returned, and write its folder with a card.

    It is judged on spikes added to a raw recording from `start_s` on, beside a linear interpolation that is fitted to
    what lies before; without a recording on drawn noise likewise.
    """
    from steadyspike.library.models.deepinterpolation import DeepInterpolationModel, config_of
    from steadyspike.library.models.folder import load_model, save_model

    extra: dict[str, Any] = dict(taught_by="spikes added to drawn noise", trained_on_simulation_only=True)
    config = config_of(network, layout_type, teachers.RATE, extra=extra)
    ready = teachers.drawn_recording(PROBES[name]) if recording is None else prepare(recording)
    with tempfile.TemporaryDirectory() as place:
        own, linear = Path(place) / "this network", Path(place) / "linear interpolation"
        DeepInterpolationModel(network, config).save(own)
        fitted = fitted_model(ready, start_s)
        DeepInterpolationModel(fitted, config_of(fitted, layout_type, teachers.RATE)).save(linear)
        later = ready.frame_slice(round(start_s * teachers.RATE), ready.get_num_samples())
        rows = teachers.compare_teachers(later, [own, linear], LEVELS, SEEDS, fused=False)
        way = way_of(own)
        checks = check_denoisers({name: (own, PROBES[name])}, recording, start_s, LEVELS, SEEDS)
    where = "drawn noise" if recording is None else "real noise"
    config = type(config).model_validate({**config.model_dump(), "extra": {**extra, "scores": {where: rows}}})
    card = with_checks(_card(name, config, rows, recording is None), checks, name, way, LEVELS, SEEDS)
    save_model(folder, network, config, card, overwrite=overwrite)
    return load_model(folder)


def _card(name: str, config: Any, rows: dict[str, dict[str, float]], drawn: bool) -> str:
    lines = [
        *(
            "---",
            license_metadata(LICENSE),
            "library_name: steadyspike",
            "tags: [electrophysiology]",
            "---",
            "",
        ),
        *(f"# {name}", ""),
        f"For {PROBES[name].replace('np', 'Neuropixels ')}.0 probes at {config.sampling_frequency:g} Hz, after a "
        "highpass of 300 Hz and a common reference.",
        "",
        "A network that sees all samples, and gives back the spikes in them. It was taught by spikes that were added",
        'to noise, so that it leaves out noise that could be predicted too. `output` must be "prediction": there is no',
        "sample that it has not seen to fuse it with. It has learnt from no real recording.",
        "",
        *("## Data", ""),
        f"{teachers.NOISES} stretches of {teachers.NOISE_S:g} s of noise ({teachers.CHANNELS} channels), drawn from a "
        "family around the noise of a real Neuropixels 2.0 recording (example data of the package spikewrap, "
        "S. Lenzi, SWC, BSD-3), half of them sampled in turn; spikes of "
        f"{teachers.SIZES[0]:g} to {teachers.SIZES[1]:g} noise levels of drawn shapes.",
        *("", "## Scores", ""),
    ]
    whose = "drawn noise of the same family and another seed" if drawn else "that real recording"
    lines += [
        f"Spikes of {', '.join(f'{level:g}' for level in LEVELS)} noise levels added to the second half of {whose},",
        f"{len(SEEDS)} seeds; medians over units. The linear interpolation is fitted to the first half"
        f"{'' if drawn else ', as the family of noises was'}.",
        *("", teachers.teachers_table(rows), ""),
        f"Made by `python -m steadyspike_benchmarks denoising-teach {name}`.",
    ]
    return "\n".join([*lines, ""])
