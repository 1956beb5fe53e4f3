"""Builds the two shared objects of torch_conv1d with ninja.

    libtorch_conv1d.so   the operators and their kernels; without Python symbols, so that
                         torch.ops.load_library and programs without Python can open it
    _C.*.so              the Python module on top of it

The sources are collected by folder (csrc/README.md is their map). The kernels of csrc/cpu/isa are
compiled once per instruction set, each file with the flags of its own set; nothing depends on the
processor that builds.

CUDA kernels are built where torch has CUDA and its toolkit is found, with or without a GPU.
Environment variables: TORCH_CONV1D_CUDA (auto; 0: never; 1: stop if it cannot be), CUDA_HOME and
TORCH_CUDA_ARCH_LIST as for other extensions of torch, CXX, MAX_JOBS.
"""

from __future__ import annotations

import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import setuptools
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent.resolve()
CSRC = ROOT / "csrc"
LIBRARY, MODULE = "torch_conv1d.libtorch_conv1d", "torch_conv1d._C"
OLDEST_TORCH = (2, 9)
OLDEST_SETUPTOOLS = 77
OLDEST_COMPILER = {"g++": 11, "clang": 14}

FMA_FLAGS = "-mfma -mf16c -ffp-contract=fast"
ISA_FLAGS = {
    # No contraction: the roundings of a separate multiply and add, on every machine.
    "baseline": "-ffp-contract=off",
    "avx2": f"-mavx2 {FMA_FLAGS}",
    "avx512": f"-mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512 {FMA_FLAGS}",
}
ISA_FLAGS["avx512_bf16"] = f"-mavx512bf16 {ISA_FLAGS['avx512']}"
if platform.machine().lower() in ("aarch64", "arm64"):
    ISA_FLAGS = {"baseline": ISA_FLAGS["baseline"], "neon": "-ffp-contract=fast"}
elif platform.machine().lower() not in ("x86_64", "amd64"):
    ISA_FLAGS = {"baseline": ISA_FLAGS["baseline"]}

# psabi: kernels pass vectors wider than the registers they are compiled for, but to nobody else.
CFLAGS = "-std=c++20 -O3 -fPIC -fvisibility-inlines-hidden -Wall -Wextra -Wno-psabi"
# Only parallel.cpp opens parallel regions. The code of g++ calls the OpenMP runtime that torch has
# loaded, and so is not linked with one. The code of clang would bring a runtime of its own, which
# torch.set_num_threads does not rule: built by clang, every call runs on one thread.
OPENMP_SOURCE, OPENMP_FLAGS = "parallel.cpp", {"g++": "-fopenmp", "clang": ""}

# Sources of csrc/cuda that need no CUDA: every build explains what a GPU would run.
CUDA_PLANS = ["plan*.cpp", "explain.cpp"]
CUDA_FLAGS = (
    "-std=c++20 -O3 --expt-relaxed-constexpr "
    "-Xcompiler -fPIC,-fvisibility-inlines-hidden,-Wall,-Wextra"
)

NINJA_RULES = """\
rule compile
  command = $cxx -MMD -MF $out.d $cflags $flags -c $in -o $out
  depfile = $out.d
  deps = gcc
  description = compile $in
rule compile_cuda
  command = $nvcc -MMD -MF $out.d $cudaflags $flags -c $in -o $out
  depfile = $out.d
  deps = gcc
  description = compile $in
rule link
  command = $cxx -shared $in -o $out $ldflags $libraries
  description = link $out
"""


def stop(sentence: str) -> NoReturn:
    raise SystemExit(f"torch_conv1d: {sentence}")


def require_torch() -> str:
    try:
        import torch
    except ImportError:
        stop(
            "building needs torch, which is not installed here: run `pip install torch setuptools "
            "ninja` and then `pip install --no-build-isolation .`."
        )
    version = torch.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        stop(f"torch {version} is not supported: install torch {oldest} or newer and build again.")
    return version


def require_compiler() -> list[str]:
    """The C++ compiler as a command: $CXX, or the first of c++, g++ and clang++ on the path."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    commands = [command for command in map(shlex.split, names) if shutil.which(command[0])]
    if not commands:
        stop(
            f"no C++ compiler found (tried {', '.join(names)}): install g++ 11 or newer "
            "or clang 14 or newer, or name one in the environment variable CXX."
        )
    family = compiler_family(commands[0])
    version = compiler_output(commands[0], "-dumpversion").strip()
    if int(version.split(".")[0]) < OLDEST_COMPILER[family]:
        stop(
            f"{shlex.join(commands[0])} is {family} {version}: "
            "g++ 11 or newer or clang 14 or newer is needed."
        )
    return commands[0]


def compiler_family(command: list[str]) -> str:
    return "clang" if "clang" in compiler_output(command, "--version") else "g++"


def compiler_output(command: list[str], option: str) -> str:
    return subprocess.run([*command, option], capture_output=True, text=True, check=True).stdout


def require_ninja() -> str:
    try:
        import ninja

        return str(Path(ninja.BIN_DIR) / "ninja")
    except ImportError:
        found = shutil.which("ninja")
        if not found:
            stop("building needs ninja: run `pip install ninja` and build again.")
        return found


@dataclass(frozen=True)
class Toolkit:
    """A CUDA toolkit that fits torch: the folder of bin/nvcc, and its version."""

    home: Path
    version: str


def find_toolkit() -> Toolkit | None:
    """What CUDA kernels are built with; None for a build for CPUs alone."""
    wanted = os.environ.get("TORCH_CONV1D_CUDA", "auto")
    if wanted not in ("0", "1", "auto"):
        stop(f"TORCH_CONV1D_CUDA must be 0, 1 or auto, got {wanted!r}.")
    if wanted == "0":
        return None
    found = toolkit_or_reason()
    if isinstance(found, Toolkit):
        return found
    if wanted == "1":
        stop(f"CUDA was asked for with TORCH_CONV1D_CUDA=1, but {found}.")
    print(f"torch_conv1d: building for CPUs alone, because {found}")
    return None


def toolkit_or_reason() -> Toolkit | str:
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    nvcc = CUDA_HOME and shutil.which(Path(CUDA_HOME) / "bin" / "nvcc")
    if not nvcc:
        return "nvcc was not found: put it on PATH or name its toolkit in CUDA_HOME"
    version = re.search(r"release ([\d.]+)", compiler_output([nvcc], "--version"))
    # nvcc may be a script or a link; where its toolkit is, it tells itself.
    command = [nvcc, "--dryrun", "-x", "cu", "-c", "-o", os.devnull, os.devnull]
    dry_run = subprocess.run(command, capture_output=True, text=True, check=False).stderr
    home = re.search(r"^#\$ TOP=(.*)$", dry_run, re.MULTILINE)
    if version is None or home is None:
        return f"{nvcc} does not work:\n{dry_run}"
    if version[1].split(".")[0] != torch.version.cuda.split(".")[0]:
        return f"{nvcc} is of CUDA {version[1]} and torch {torch.__version__} of another"
    return Toolkit(Path(home[1]), version[1])


def architecture_flags() -> list[str]:
    """Of TORCH_CUDA_ARCH_LIST, or of the visible GPUs, or without one those torch is built for."""
    import torch
    from torch.utils.cpp_extension import _get_cuda_arch_flags

    if not os.environ.get("TORCH_CUDA_ARCH_LIST") and not torch.cuda.is_available():
        versions = re.findall(r"sm_(\d+)(\d)\b", torch._C._cuda_getArchFlags() or "")
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(map(".".join, versions)) + "+PTX"
    flags: list[str] = _get_cuda_arch_flags()
    return flags


class NinjaBuild(build_ext):
    """Writes a build.ninja, runs it, and puts the two shared objects where setuptools expects them.

    Objects stay in build/torch<version>-<python>, so that a rebuild compiles only what changed.
    """

    def get_ext_filename(self, fullname: str) -> str:
        # The library belongs to no Python version, so its name carries none.
        if LIBRARY.endswith(fullname):
            return fullname.replace(".", "/") + ".so"
        name: str = super().get_ext_filename(fullname)  # type: ignore[no-untyped-call]
        return name

    def build_extensions(self) -> None:
        torch_version = require_torch()
        folder = ROOT / "build" / f"torch{torch_version}-{sys.implementation.cache_tag}"
        folder.mkdir(parents=True, exist_ok=True)
        names = {
            extension.name: Path(self.get_ext_filename(extension.name)).name
            for extension in self.extensions
        }
        ninja = ninja_file(names[LIBRARY], names[MODULE], self.toolkit)
        (folder / "build.ninja").write_text(ninja)

        jobs = ["-j", os.environ["MAX_JOBS"]] if "MAX_JOBS" in os.environ else []
        if subprocess.run([require_ninja(), "-C", str(folder), *jobs], check=False).returncode:
            stop(
                f"the C++ build failed, the messages above say why; `ninja -C {folder}` repeats it."
            )
        for name, built in names.items():
            target = Path(self.get_ext_fullpath(name))
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / built, target)

    def run(self) -> None:
        torch_version = require_torch()
        self.toolkit = find_toolkit()
        super().run()
        # A Python file, because the package compares versions before it opens a shared object.
        (Path(self.get_ext_fullpath(MODULE)).parent / "_build_info.py").write_text(
            '"""Written by setup.py: what the shared objects beside this file are for."""\n\n'
            f"TORCH_VERSION = {torch_version!r}\n"
            f"CUDA_VERSION: str | None = {self.toolkit and self.toolkit.version!r}\n"
        )


def ninja_file(library: str, module: str, toolkit: Toolkit | None) -> str:
    from torch.utils.cpp_extension import include_paths, library_paths

    compiler = require_compiler()
    includes = [*include_paths(), sysconfig.get_paths()["include"]]
    variables = {
        "cxx": shlex.join(compiler),
        "cflags": f"{CFLAGS} " + " ".join(f"-isystem {shlex.quote(path)}" for path in includes),
        "ldflags": " ".join(f"-L{shlex.quote(path)}" for path in library_paths()),
    }
    entry = CSRC / "module.cpp"
    kernels = {CSRC / "cpu" / "isa" / f"{name}.cpp": flags for name, flags in ISA_FLAGS.items()}
    own_flags = kernels | {CSRC / "cpu" / OPENMP_SOURCE: OPENMP_FLAGS[compiler_family(compiler)]}
    of_others = {*CSRC.glob("cpu/isa/*.cpp")} - {*kernels}  # instruction sets of other processors
    sources = {*CSRC.glob("*.cpp"), *CSRC.glob("cpu/**/*.cpp")} - of_others
    sources |= {path for pattern in CUDA_PLANS for path in CSRC.glob(f"cuda/{pattern}")}
    libraries = "-ltorch_cpu -lc10"
    if toolkit:
        home = shlex.quote(str(toolkit.home))
        architectures = architecture_flags()
        variables["nvcc"] = f"{home}/bin/nvcc -ccbin {shlex.quote(compiler[-1])}"
        variables["cudaflags"] = f"{CUDA_FLAGS} {shlex.join(architectures)}"
        variables["ldflags"] += f" -L{home}/lib64 -L{home}/lib"
        cuda = {*CSRC.glob("cuda/*.cpp"), *CSRC.glob("cuda/*.cu")}
        sources |= cuda
        own_flags |= dict.fromkeys(cuda, f"-isystem {home}/include")
        codes = ", ".join(sorted({flag.rpartition("=")[2] for flag in architectures}))
        own_flags[entry] = "-DTORCH_CONV1D_CUDA=" + shlex.quote(f'"{toolkit.version} ({codes})"')
        libraries = f"-lc10_cuda -lcudart {libraries}"
    lines = [*(f"{name} = {value}" for name, value in variables.items()), NINJA_RULES]

    def add(output: str, sources: list[Path], extra_inputs: str, libraries: str) -> None:
        objects = []
        for source in sources:
            objects.append("-".join(source.relative_to(CSRC).with_suffix(".o").parts))
            rule = "compile_cuda" if source.suffix == ".cu" else "compile"
            path = str(source).replace("$", "$$").replace(" ", "$ ").replace(":", "$:")
            lines.append(f"build {objects[-1]}: {rule} {path}")
            lines.append(f"  flags = {own_flags.get(source, '')}")
        lines.extend(
            [
                f"build {output}: link {' '.join(objects)} {extra_inputs}",
                f"  libraries = {libraries}",
            ]
        )

    add(library, sorted(sources - {entry}), "", f"{libraries} -Wl,-soname,{library}")
    # The module finds the library beside itself.
    add(module, [entry], library, "-ltorch_python -ltorch_cpu -lc10 -Wl,-rpath,'$$ORIGIN'")
    return "\n".join(lines) + "\n"


if int(setuptools.__version__.split(".")[0]) < OLDEST_SETUPTOOLS:
    stop(
        f"setuptools {setuptools.__version__} cannot read pyproject.toml: "
        f"run `pip install 'setuptools>={OLDEST_SETUPTOOLS}'` and build again."
    )
setup(
    ext_modules=[Extension(LIBRARY, []), Extension(MODULE, [])],
    cmdclass={"build_ext": NinjaBuild},
)
