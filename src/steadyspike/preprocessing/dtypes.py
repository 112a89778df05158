"""The one rule for the sample type that a lazy node returns."""

from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator

from steadyspike.core.settings import parameter

SIGNED_DTYPES = ("float32", "float64", "int8", "int16", "int32")
ALLOWED_DTYPES = (*SIGNED_DTYPES, "uint8", "uint16", "uint32")
CAST_TOGETHER = 2**15
"""Values that are rounded at a time, which stay in the second-level cache."""


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
        f"""Type of the result: float32, float64 or {integer} that holds the range of the recording's type, which
        is rounded and saturates. None keeps float32 and float64 recordings as they are and makes float32 of every
        other. Always in the recording's own units""",
        type_doc="dtype, str or None",
        allowed=f"None, {', '.join(SIGNED_DTYPES if signed else ALLOWED_DTYPES)}",
    )


def resolve_output_dtype(recording, settings, around_zero=False) -> np.dtype:
    """Sample type that a node declares and returns, in the byte order of the machine.

    The `dtype` of `settings` is what is asked for; None keeps float32 and float64 parents as they are, and every other
    type (integers, signed or unsigned, and float16) becomes float32. With `around_zero` the node takes every offset
    away, so that a signed type holds as much as an unsigned one of its size. Integer types that cannot hold the range
    of the parent's are refused.
    """
    parent, dtype = recording.get_dtype(), settings.dtype
    if dtype is None:
        keep = parent.kind == "f" and parent.itemsize in (4, 8)
        return np.dtype(f"f{parent.itemsize}" if keep else "float32")
    dtype = np.dtype(dtype).newbyteorder("=")
    if not _holds(dtype, parent, around_zero):
        names = SIGNED_DTYPES if around_zero else ALLOWED_DTYPES
        fitting = [name for name in names if _holds(np.dtype(name), parent, around_zero)]
        signed = parent.kind == "u" and dtype.kind == "i" and not around_zero
        first = "; or si.unsigned_to_signed(recording) first" if signed else ""
        settings.refuse("dtype", f"None, {', '.join(fitting)}, which hold the range of {parent.name}{first}")
    return dtype


def _holds(dtype, parent, around_zero):
    if dtype.kind == "f" or parent.kind not in "iu":
        return True
    if around_zero:
        return dtype.itemsize >= parent.itemsize
    own, wanted = np.iinfo(dtype), np.iinfo(parent)
    return own.min <= wanted.min and wanted.max <= own.max


def cast_traces(traces, dtype) -> np.ndarray:
    """Traces in the output type: integers are rounded to nearest (half to even), saturated, and 0 where NaN.

    Returns `traces`, float32 or float64, itself where it has this type already.
    """
    if dtype.kind == "f":
        return traces.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    cast = np.empty(traces.shape, dtype)
    rows = max(CAST_TOGETHER // max(traces[:1].size, 1), 1)
    for start in range(0, len(traces), rows):
        rounded = np.rint(traces[start : start + rows], dtype="float64")
        np.clip(rounded, limits.min, limits.max, out=rounded)
        rounded[np.isnan(rounded)] = 0.0
        cast[start : start + rows] = rounded
    return cast
