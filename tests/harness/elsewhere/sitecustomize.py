"""Takes away what macOS and many sandboxes lack, from every Python that has this folder on its PYTHONPATH.

No affinity, no glibc, and nothing below /proc and /sys can be opened; what calls itself a Mac is asked for its proxies.
"""

import errno
import os
import sys
import types


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        if os.fsdecode(arguments[0]).startswith(("/proc/", "/sys/")):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), arguments[0])
    elif event == "ctypes.dlopen" and arguments[0] == "libc.so.6":
        raise OSError(f"cannot load {arguments[0]}")


sys.addaudithook(_refuse)
del os.sched_getaffinity
# Python's own facts about its build lie in a file that is named after the platform.
os.environ["_PYTHON_SYSCONFIGDATA_NAME"] = (
    f"_sysconfigdata_{sys.abiflags}_{sys.platform}_{sys.implementation._multiarch}"
)
sys.platform = "darwin"
_proxies = types.ModuleType("_scproxy")  # macOS's own, which urllib asks for
_proxies._get_proxies = _proxies._get_proxy_settings = dict
sys.modules["_scproxy"] = _proxies
