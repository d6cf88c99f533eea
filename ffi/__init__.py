"""The floor of hotpath: shared layouts, rings and C kernels, in one compiled extension.

``ffi.ffi`` and ``ffi.lib`` are cffi's; ``ffi.dtypes`` derives the NumPy dtypes from the same layout.
Importing an extension older than its headers fails with the command that rebuilds it.
"""

from ffi.freshness import check_extension_is_fresh

check_extension_is_fresh()

from ffi._native import ffi, lib  # noqa: E402  (the check must run before the extension loads)

__all__ = ["ffi", "lib"]
