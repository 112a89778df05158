"""Parameters of the lazy DeepInterpolation."""

from typing import Any, Literal

from steadyspike.core.settings import Settings, parameter
from steadyspike.preprocessing.dtypes import OutputDtype, dtype_parameter


class DeepInterpolateSettings(Settings):
    """Parameters of `SteadyDeepInterpolateRecording`, but for the model."""

    part = "steady_deepinterpolate"

    device: str = parameter(
        "auto",
        """What computes; "cuda:1" for the second GPU. "auto": cuda, else mps, else cpu, chosen where traces are
        read""",
        type_doc='"auto", "cuda", "mps", "cpu" or str',
    )
    precision: Literal["float32", "half"] = parameter(
        "float32",
        """"half": float16, or bfloat16 on a CPU. Sooner on most GPUs, and on CPUs that have it; differs from float32 by
        about 0.1 % (CPU: 1 %) of the traces""",
    )
    memory_limit_mb: float | None = parameter(
        None,
        """Memory for one pass of the network, for each process or thread that reads. As many samples are predicted at
        once as fit, one at least. None: 256 on a CPU, 2000 on a GPU (at most a quarter of its own)""",
        unit="MB",
        gt=0,
    )
    output: Literal["posterior", "prediction"] = parameter(
        "prediction",
        """"prediction": what the network predicts (Lecoq et al. 2021). "posterior": that and the sample itself, fused
        by Bayes' rule, which keeps what the network cannot foretell and noise cannot explain""",
    )
    recorded_share: float = parameter(
        0.0,
        """Share of the recorded traces in the result, the rest being denoised. It keeps a floor of noise, which
        thresholds and whitening of sorters count on""",
        ge=0,
        le=1,
    )
    dtype: OutputDtype = dtype_parameter()
    num_threads: int = parameter(
        1, "Threads that torch may use on a CPU in each process or thread that reads", ge=1
    )
    bad_channel_ids: Any = parameter(
        None, "Channels to leave as they are and to hide from the network", type_doc="list or None"
    )
    center: Any = parameter(
        None,
        """Center of the normalization of each channel, in the recording's own units. None: measured on 2 s spread over
        the recording, as the model asks for it (`steadyspike.core.normalization.measure_normalization`)""",
        type_doc="array_like of float or None, shape (num_channels,)",
    )
    scale: Any = parameter(
        None,
        """Its scale, likewise, not negative. Channels with a scale of 0 are treated as bad""",
        type_doc="array_like of float or None, shape (num_channels,)",
    )
    fusion: Any = parameter(
        None,
        """What the posterior is computed by. None: fitted to 2 to 16 s spread over the recording, which takes a little
        longer than to denoise them. A saved recording holds it""",
        type_doc="dict or None",
    )
    model_sha256: str | None = parameter(
        None, "Refuse the model unless its files have this hash. A saved recording holds it"
    )
