"""The one rule for the sample type that a lazy node returns."""

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from steadyspike.core.settings import parameter

SIGNED_DTYPES = ("float32", "float64", "int8", "int16", "int32")
ALLOWED_DTYPES = (*SIGNED_DTYPES, "uint8", "uint16", "uint32")


def _one_of(names):
    def validate(dtype):
        try:
            known = dtype is None or np.dtype(dtype).newbyteorder("=").name in names
        except TypeError:
            known = False
        if not known:
            raise ValueError("no dtype that a node returns")
        return dtype

    return AfterValidator(validate)


OutputDtype = Annotated[Any, _one_of(ALLOWED_DTYPES)]
"""Type of a parameter that asks for a sample type."""

SignedDtype = Annotated[Any, _one_of(SIGNED_DTYPES)]
"""The same for a node whose result lies around zero."""


def dtype_parameter(signed=False) -> Any:
    """Declare the sample type of a node's result."""
    integer = "a signed integer" if signed else "an integer"
    return parameter(
        None,
        f"""Type of the result: float32, float64 or {integer}, which is rounded and saturates. None keeps float32 and
        float64 recordings as they are and makes float32 of every other. Always in the recording's own units""",
        type_doc="dtype, str or None",
        allowed=f"None, {', '.join(SIGNED_DTYPES if signed else ALLOWED_DTYPES)}",
    )


def resolve_output_dtype(parent_dtype, dtype=None) -> np.dtype:
    """Sample type that a node declares and returns.

    Parameters
    ----------
    parent_dtype : dtype or str
        Sample type of the parent recording.
    dtype : dtype, str or None, default: None
        Type asked for. None keeps float32 and float64 parents as they are; every other type (integers, signed
        or unsigned, and float16) becomes float32.

    Returns
    -------
    numpy.dtype
        A type in the byte order of the machine.
    """
    if dtype is not None:
        return np.dtype(dtype).newbyteorder("=")
    parent_dtype = np.dtype(parent_dtype)
    keep = parent_dtype.kind == "f" and parent_dtype.itemsize in (4, 8)
    return np.dtype(f"f{parent_dtype.itemsize}" if keep else "float32")


def cast_traces(traces, dtype) -> np.ndarray:
    """Traces in the output type: integers are rounded to nearest (half to even), saturated, and 0 where NaN.

    Parameters
    ----------
    traces : array of float32 or float64
        Samples, of any shape.
    dtype : numpy.dtype
        As returned by `resolve_output_dtype`.

    Returns
    -------
    numpy.ndarray
        `traces` itself where it has this type already.
    """
    if dtype.kind == "f":
        return traces.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    rounded = np.rint(traces, dtype="float64")
    np.clip(rounded, limits.min, limits.max, out=rounded)
    return np.nan_to_num(rounded, copy=False, nan=0.0).astype(dtype)
