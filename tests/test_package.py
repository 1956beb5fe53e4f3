"""The installed package: what it imports, exports and loads, and what it says when it cannot."""

from __future__ import annotations

import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import torch_conv1d
from torch_conv1d import _C
from torch_conv1d._build_info import CUDA_VERSION

PACKAGE = Path(torch_conv1d.__file__).parent
(LIBRARY,) = PACKAGE.glob("libtorch_conv1d*.so")
(MODULE,) = PACKAGE.glob("_C.*.so")


def python(code: str, *arguments: str, cwd: Path | None = None) -> str:
    """The output of `code` in a fresh process."""
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, cwd=cwd)
    return done.stdout


def test_import_is_quick() -> None:
    """Seconds on top of `import torch`; the least of a few runs, because noise only ever adds."""
    code = """
import time, torch
start = time.perf_counter()
import torch_conv1d
print(time.perf_counter() - start)
"""
    assert min(float(python(code)) for _ in range(5)) < 0.2


def test_import_brings_no_compiler() -> None:
    code = """
import sys, torch
before = set(sys.modules)
import torch_conv1d
print(*sorted(set(sys.modules) - before))
"""
    imported = python(code).split()
    assert "torch_conv1d" in imported
    heavy = [m for m in imported if re.match(r"torch\._(dynamo|inductor)|sympy|torch\.onnx\.", m)]
    assert not heavy


def symbols(path: Path, *options: str) -> list[str]:
    nm = shutil.which("nm")
    if nm is None:
        pytest.skip("needs nm of binutils")
    found = subprocess.run(
        [nm, "-D", *options, str(path)], capture_output=True, text=True, check=True
    )
    return [line.split()[-1].split("@")[0] for line in found.stdout.splitlines()]


def test_op_library_needs_no_python() -> None:
    assert not [s for s in symbols(LIBRARY) if re.match(r"_?Py[A-Z_]|THP|_ZN8pybind11", s)]
    assert [s for s in symbols(MODULE, "--undefined-only") if s.startswith("Py")], (
        "nm sees what it should"
    )
    assert "PyInit__C" in symbols(MODULE, "--defined-only")


def test_op_library_loads_without_the_package() -> None:
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
x, w = torch.randn(2, 3, 9, requires_grad=True), torch.randn(4, 3, 3)
y = torch.ops.torch_conv1d.conv1d(x, w, padding=[1, 0], padding_mode="replicate")
expected = torch.nn.functional.conv1d(torch.nn.functional.pad(x, (1, 0), mode="replicate"), w)
torch.testing.assert_close(y, expected)
y.sum().backward()
assert not any(name.startswith("torch_conv1d") for name in sys.modules)
print(tuple(y.shape))
"""
    assert python(code, str(LIBRARY)).strip() == "(2, 4, 8)"


def test_import_after_the_op_library() -> None:
    code = """
import sys, torch
torch.ops.load_library(sys.argv[1])
import torch_conv1d
print(torch_conv1d.conv1d(torch.ones(1, 2, 5), torch.ones(3, 2, 2)).shape)
"""
    assert "[1, 3, 4]" in python(code, str(LIBRARY))


def copied_package(folder: Path) -> Path:
    """The package somewhere else, to be changed."""
    shutil.copytree(PACKAGE, folder / "torch_conv1d", ignore=shutil.ignore_patterns("__pycache__"))
    return folder / "torch_conv1d"


def import_error(folder: Path) -> str:
    code = f"""
import sys
sys.path.insert(0, {str(folder)!r})
try:
    import torch_conv1d
except ImportError as error:
    print(error)
"""
    return python(code, cwd=folder).strip()


def test_extension_built_for_another_torch(tmp_path: Path) -> None:
    """One sentence instead of an undefined symbol."""
    package = copied_package(tmp_path)
    assert not import_error(tmp_path), "the copy itself can be imported"
    info = package / "_build_info.py"
    info.write_text(info.read_text().replace(torch.__version__, "2.1.0"))
    message = import_error(tmp_path)
    assert "2.1.0" in message
    assert torch.__version__ in message
    assert "pip install" in message
    assert "\n" not in message


def test_extension_built_for_another_cuda(tmp_path: Path) -> None:
    package = copied_package(tmp_path)
    info = package / "_build_info.py"
    info.write_text(info.read_text() + "CUDA_VERSION = '3.1'\n")
    message = import_error(tmp_path)
    assert "CUDA 3.1" in message
    assert torch.__version__ in message
    assert "pip install" in message
    assert "\n" not in message


def test_extension_not_built(tmp_path: Path) -> None:
    package = copied_package(tmp_path)
    for name in (*package.glob("*.so"), package / "_build_info.py"):
        name.unlink()
    message = import_error(tmp_path)
    assert "has not been built" in message
    assert "\n" not in message


def test_public_names() -> None:
    assert sorted(torch_conv1d.__all__) == [
        "Conv1d",
        "Conv1dFunction",
        "LazyConv1d",
        "__config__",
        "conv1d",
        "convert",
        "set_algorithm",
    ]
    for name in torch_conv1d.__all__:
        value = getattr(torch_conv1d, name)
        assert value.__doc__, name
        assert value.__module__.startswith("torch_conv1d"), name


def test_signatures() -> None:
    """torch's, and after it what torch does not have."""
    ours = inspect.signature(torch_conv1d.Conv1d).parameters
    theirs = inspect.signature(torch.nn.Conv1d).parameters
    assert [(p.name, p.default) for p in ours.values()][: len(theirs)] == [
        (p.name, p.default) for p in theirs.values()
    ]
    assert list(ours)[len(theirs) :] == ["channels_last"]
    assert ours["channels_last"].kind is inspect.Parameter.KEYWORD_ONLY
    assert list(inspect.signature(torch_conv1d.conv1d).parameters) == [
        "input",
        "weight",
        "bias",
        "stride",
        "padding",
        "dilation",
        "groups",
        "padding_mode",
        "channels_last",
    ]


def test_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
    stub = (PACKAGE / "_C.pyi").read_text()
    declared = set(re.findall(r"^def (\w+)\(", stub, re.MULTILINE))
    assert declared == {name for name in dir(_C) if not name.startswith("_")}


def test_build_info() -> None:
    info = _C.build_info()
    assert torch.__version__.startswith(".".join(info["torch"].split(".")[:2]))
    assert info["compiler"]
    assert info["cuda"].startswith(CUDA_VERSION or "not built")
    assert f"cuda: {info['cuda']}\n" in torch_conv1d.__config__()


@pytest.mark.parametrize(
    ("value", "words"),
    [("1", ("CUDA was asked for", "without CUDA|nvcc was not found")), ("yes", ("0, 1 or auto",))],
)
def test_cuda_that_cannot_be_built_stops_the_build(value: str, words: tuple[str, ...]) -> None:
    """In one sentence, before anything is compiled."""
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext"],
        env=os.environ | {"TORCH_CONV1D_CUDA": value, "CUDA_HOME": "/nowhere"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("torch_conv1d: ")
    for word in (f"TORCH_CONV1D_CUDA(=| must be .*'){value}", *words):
        assert re.search(word, message), message


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", torch_conv1d.__version__)
