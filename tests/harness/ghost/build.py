"""Builds the ghost card: six libraries that stand in for CUDA's, on a machine that needs no GPU.

Under LD_PRELOAD a CUDA build of torch then runs its own C++ as on a card: allocator, captures, generators, autograd's
threads, cuDNN plans, Inductor and Triton down to ptxas. Kernels compute nothing, so no value and no time means
anything; captures, waits, launches, memory and failures do. Not seen: wrong values, races, real workspaces, NVML.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

SOURCES = Path(__file__).parent / "src"
RUNTIME = "libcudart.so.13"
# Soname and sources. The runtime's holds the card; the others link to it.
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    RUNTIME: ("card", "device", "kernels", "streams"),
    "libcuda.so.1": ("driver",),
    "libcublasLt.so.13": ("blaslt",),
    "libcublas.so.13": ("blas",),
    "libcudnn.so.9": ("dnn",),
    "libcupti.so.13": ("profiler",),
}
_COMPILER = ("g++", "-std=c++17", "-O1", "-fPIC", "-w")


def hindrance() -> str:
    """Why the ghost card cannot be built here, in one line; empty where it can."""
    if torch.version.cuda is None or not torch.version.cuda.startswith("13."):
        return f"needs torch built for CUDA 13; this one is {torch.__version__}"
    missing = [name for name in ("g++", "nm") if shutil.which(name) is None]
    return f"needs {' and '.join(missing)}" if missing else ""


def build(folder: Path) -> dict[str, str]:
    """Builds the libraries for this interpreter's torch, in some ten seconds.

    Args:
        folder: An empty one; it must stay as long as the card is used.

    Returns:
        What a process's environment needs for its torch to see the card.

    Raises:
        RuntimeError: What the compiler said.
    """
    wanted = _wanted()
    _library(RUNTIME, folder, wanted)
    with ThreadPoolExecutor() as several:
        list(several.map(lambda name: _library(name, folder, wanted), [n for n in LIBRARIES if n != RUNTIME]))
    (folder / "libcuda.so").symlink_to("libcuda.so.1")
    return {
        "LD_PRELOAD": " ".join(str(folder / name) for name in LIBRARIES),
        "TRITON_LIBCUDA_PATH": str(folder),
        # Caches of its own: what was tuned on a card that computes nothing is of no use elsewhere.
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
        "TRITON_CACHE_DIR": str(folder / "triton"),
    }


def _site() -> Path:
    return Path(torch.__path__[0]).parent


def _wanted() -> dict[str, set[str]]:
    """The functions that torch and NVIDIA's own libraries want of each library."""
    wanted: dict[str, set[str]] = {name: set() for name in LIBRARIES}
    torch_libraries = sorted((_site() / "torch" / "lib").glob("*.so"))
    for path in [*torch_libraries, *sorted((_site() / "nvidia").glob("*/lib/*.so*"))]:
        for name in _symbols(path, "--undefined-only", "-D"):
            function, _, library = name.partition("@")
            if library in wanted:
                wanted[library].add(function)
            elif not library and path in torch_libraries and re.match("cu(?!File)[A-Z]", function):
                wanted["libcuda.so.1"].add(function)  # the driver's functions carry no version
    return wanted


def _symbols(path: Path, *options: str) -> Iterator[str]:
    found = subprocess.run(["nm", *options, path], capture_output=True, text=True, check=False)
    return (line.split()[-1] for line in found.stdout.splitlines() if line.strip())


def _library(soname: str, folder: Path, wanted: Mapping[str, set[str]]) -> None:
    """Compiles a library, with a stub for every function that is wanted of it and not written."""
    nvidia = _site() / "nvidia"
    headers = [f"-I{nvidia / 'cu13/include'}", f"-I{nvidia / 'cudnn/include'}"]
    # What NVIDIA ships with its compiler only; Triton brings it, of whatever version.
    headers += ["-idirafter", str(_site() / "triton/backends/nvidia/include")]
    objects = [folder / f"{source}.o" for source in LIBRARIES[soname]]
    for source, made in zip(LIBRARIES[soname], objects, strict=True):
        _run(*_COMPILER, *headers, "-c", SOURCES / f"{source}.cpp", "-o", made)
    written = {name for made in objects for name in _symbols(made, "--defined-only")}
    stubs, versions = folder / f"{soname}.stubs.cpp", folder / f"{soname}.map"
    lines = [f'extern "C" int {f}() {{ return ghost_stub("{f}"); }}' for f in sorted(wanted[soname] - written)]
    stubs.write_text('extern "C" int ghost_stub(const char*);\n' + "\n".join(lines) + "\n")
    # torch asks for functions of a version, which is the library's name; of the driver it does not.
    versions.write_text(("" if soname == "libcuda.so.1" else soname) + " { global: *; };\n")
    link = [] if soname == RUNTIME else [f"-L{folder}", f"-l:{RUNTIME}"]
    _run(*_COMPILER, "-shared", "-o", folder / soname, *objects, stubs, f"-Wl,-soname,{soname}",
         f"-Wl,--version-script,{versions}", *link, "-ldl", "-lpthread")  # fmt: skip


def _run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()[:2000]}")
