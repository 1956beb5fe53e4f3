"""What only a GPU has: streams, graphs, several devices, TF32, memory beyond 32-bit offsets."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from calls import Results, assert_same_bits, leaves, run
from numerics import assert_within_budget, expect_forward, expect_results
from problems import Operands, Problem, operands
from torch import Tensor

from torch_conv1d import _C, Conv1d, conv1d

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use"),
    pytest.mark.skipif(_C.build_info()["cuda"] == "not built", reason="built without CUDA"),
    pytest.mark.usefixtures("cuda"),
]


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Operands are made on the GPU, and float32 is float32."""
    monkeypatch.setattr("problems.device", torch.device("cuda"))
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


# Layers that are not left to ATen: depthwise ones, few channels, and groups.
PROBLEMS = tuple(
    map(
        Problem.parse,
        """
        n3_ci40_co40_l300_k4_s1_p3x0_d1_g40
        n2_ci33_co66_l517_k31_s2_p15_d1_g33_reflect
        n2_ci24_co24_l700_k7_s1_p9_d3_g24_circular
        n2_ci1_co9_l400_k5_s1_p2_d1_g1
        n2_ci4_co6_l211_k3_s2_p1_d2_g2_replicate
        n2_ci48_co80_l133_k5_s1_p2_d1_g2
        """.split(),
    )
)
# A product of matrices, where torch allows both TF32 or neither.
PRODUCT = Problem.parse("n2_ci48_co80_l133_k1_s1_p0_d1_g1")
each_problem = pytest.mark.parametrize("problem", (*PROBLEMS, PRODUCT), ids=str)


def check(problem: Problem, o: Operands, results: Results) -> None:
    for actual, expected in zip(results, expect_results(problem, o), strict=True):
        assert_within_budget(actual, expected)


@each_problem
def test_current_stream(problem: Problem) -> None:
    """Work queued behind a slow kernel of another stream sees what that kernel leaves."""
    o = operands(problem, torch.float32)
    late = torch.zeros_like(o.x)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        torch.cuda._sleep(50_000_000)
        late.copy_(o.x)
        results = run(problem, o._replace(x=late))
        torch.cuda.current_stream().synchronize()
    check(problem, o, results)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@each_problem
def test_device_of_the_input(problem: Problem) -> None:
    o = Operands(*(t.to("cuda:1") for t in operands(problem, torch.float32)))
    results = run(problem, o)
    assert all(t.device == torch.device("cuda:1") for t in results)
    assert torch.cuda.current_device() == 0
    check(problem, o, results)


@each_problem
def test_nothing_waits_for_the_gpu(problem: Problem) -> None:
    o = operands(problem, torch.float32)
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = run(problem, o)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    check(problem, o, results)


@each_problem
def test_cuda_graph(problem: Problem) -> None:
    """Captured once, replayed on other numbers."""
    o = operands(problem, torch.float32)
    static = Operands(*map(torch.zeros_like, o))
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run(problem, static)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = run(problem, static)
    for destination, source in zip(static, o, strict=True):
        destination.copy_(source)
    graph.replay()
    check(problem, o, results)


@each_problem
def test_repetition_changes_no_bit(problem: Problem, dtype: torch.dtype) -> None:
    o = operands(problem, dtype)
    first = run(problem, o)
    for _ in range(5):
        assert_same_bits(run(problem, o), first, problem)


@pytest.mark.parametrize("problem", PROBLEMS[:-1], ids=str)
def test_no_tf32(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32 keeps its precision outside of tensor cores, even where torch may use less."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    o = operands(problem, torch.float32)
    check(problem, o, run(problem, o))


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0), reason="needs TF32"
)
def test_tf32_where_torch_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = PROBLEMS[-1]
    o = operands(problem, torch.float32)
    exact = run(problem, o)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    rounded = run(problem, o)
    assert not torch.equal(rounded.y, exact.y)
    for found, expected in zip(rounded, exact, strict=True):
        assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


@pytest.mark.parametrize("channels_last", [False, True])
def test_nothing_is_copied(channels_last: bool) -> None:
    """The memory of a call is that of its result, whatever the layout and the padding."""
    o = operands(PROBLEMS[0], torch.float32)
    x = o.x.mT.contiguous() if channels_last else o.x
    arguments = {**PROBLEMS[0].arguments, "channels_last": channels_last}
    expected = conv1d(x, o.w, o.b, **arguments).nbytes
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    conv1d(x, o.w, o.b, **arguments)
    assert torch.cuda.max_memory_allocated() - before <= expected + 512  # the allocator's grain


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast(dtype: torch.dtype) -> None:
    o = operands(PROBLEMS[0], torch.float32)
    x, w, b = leaves(o)
    with torch.autocast("cuda", dtype):
        y = conv1d(x, w, b, **PROBLEMS[0].arguments)
    by_hand = conv1d(x.to(dtype), w.to(dtype), b.to(dtype), **PROBLEMS[0].arguments)
    assert y.dtype == dtype
    assert torch.equal(y, by_hand)
    for found, expected in zip(
        *(torch.autograd.grad(t.float().square().sum(), (x, w, b)) for t in (y, by_hand)),
        strict=True,
    ):
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_training_step(backend: str) -> None:
    model = Conv1d(16, 16, 4, padding="causal", groups=16).cuda()
    x = torch.randn(2, 16, 100, device="cuda", requires_grad=True)

    def step(function: Callable[[Tensor], Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(x).relu().sum(), (x, *model.parameters()))

    for found, expected in zip(
        step(torch.compile(model, fullgraph=True, backend=backend)), step(model), strict=True
    ):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("channels_last", [False, True])
def test_offsets_beyond_32_bits(channels_last: bool) -> None:
    """Both ends of a tensor of more than 2^31 elements."""
    length = 2**30 + 5
    if torch.cuda.mem_get_info()[0] < 7 * length * 2:
        pytest.skip("needs 15 GiB of GPU memory")
    shape = (1, length, 3) if channels_last else (1, 3, length)
    x = torch.empty(shape, dtype=torch.bfloat16, device="cuda")
    ends = x.mT if channels_last else x
    for end in (slice(0, 9), slice(-9, None)):
        ends[..., end].normal_()
    w = torch.randn(3, 1, 4, dtype=torch.bfloat16, device="cuda")
    y = conv1d(x, w, groups=3, channels_last=channels_last)
    for end in (slice(0, 9), slice(-9, None)):
        part = ends[..., end].contiguous()
        expected = expect_forward(Problem(1, 3, 3, 9, 4, groups=3), part, w)
        found = (y.mT if channels_last else y)[..., end]
        found = found[..., :6] if end.start == 0 else found[..., -6:]
        assert_within_budget(found, expected)
