"""Triton's names for datatypes, and what each is in numpy and in bytes."""

from collections.abc import Mapping

import numpy as np

BYTES = "BYTES"  # strings: each behind its length in four bytes
BF16 = "BF16"  # numpy has no such type

DTYPES: Mapping[str, np.dtype[np.generic]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}

SIZES: Mapping[str, int] = {**{name: dtype.itemsize for name, dtype in DTYPES.items()}, BF16: 2}
"""Bytes of one element; BYTES has no such size."""
