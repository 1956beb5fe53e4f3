"""Random layers in the manner of real ones: they show what is fast on the known layers alone."""

from __future__ import annotations

from random import Random

from benchmarks.workloads import Workload, parse_workload

CHANNELS = [2, 3, 5, 8, 12, 16, 20, 24, 32, 40, 48, 64, 72, 80, 96, 100, 128, 144, 160, 192, 256]
CHANNELS += [320, 384, 400, 512, 640, 768, 1024]
FEW_CHANNELS = [1, 2, 3, 4, 6]
CHANNELS_OF_A_GROUP = [1, 2, 4, 6, 8, 16, 24, 32, 48]
LENGTHS = [1, 2, 5, 8, 16, 25, 33, 50, 64, 96, 100, 128, 150, 200, 256, 300, 500, 512, 700, 1000]
LENGTHS += [1024, 2000, 3000, 4096, 8000, 16000, 30000]
KERNEL_SIZES = [1, 2, 3, 3, 3, 4, 5, 5, 7, 8, 9, 11, 13, 15, 16, 21, 25, 31, 41, 51, 64, 128]
# A kind that is listed twice is drawn twice as often.
KINDS = ["dense", "dense", "dense", "strided", "depthwise", "depthwise", "multiplied", "grouped"]
KINDS += ["first", "last", "pointwise"]
PADDING_MODES = ["zeros"] * 6 + ["reflect", "replicate", "circular"]

# A call takes from about 10 us to some ms, and its tensors fit in the last cache.
FLOPS = range(10**5, 6 * 10**8)
ELEMENTS = range(6 * 10**6)


def draw_workloads(count: int, seed: int) -> list[Workload]:
    """The same for the same seed. Names are the problem strings."""
    rng = Random(seed)
    found: dict[str, Workload] = {}
    while len(found) < count:
        workload = _draw(rng)
        if workload and workload.flops() in FLOPS and workload.work("forward")[1] in ELEMENTS:
            found[workload.name] = workload
    return list(found.values())


def _draw(rng: Random) -> Workload | None:
    """None if the row is shorter than what the kernel needs."""
    kind = rng.choice(KINDS)
    ci, co, groups = rng.choice(CHANNELS), rng.choice(CHANNELS), 1
    k, stride = rng.choice(KERNEL_SIZES), 1
    dilation = rng.choice([1, 1, 1, 1, 2, 3, 4, 5, 8, 16, 32])
    match kind:
        case "strided":
            stride = rng.choice([2, 2, 2, 3, 4, 5, 8])
            k = rng.choice([stride, 2 * stride, stride + 1, 2 * stride + 1, 3, 5, 7, 16])
            dilation = rng.choice([1, 1, 1, 1, 2])
        case "depthwise" | "multiplied":
            co = ci * (rng.choice([2, 3, 4]) if kind == "multiplied" else 1)
            groups, stride = ci, rng.choice([1, 1, 1, 2, 3])
        case "grouped":
            groups, stride = rng.choice([2, 3, 4, 8, 16, 32]), rng.choice([1, 1, 1, 2])
            ci, co = (groups * rng.choice(CHANNELS_OF_A_GROUP) for _ in range(2))
        case "first":
            ci = rng.choice(FEW_CHANNELS)
        case "last":
            co = rng.choice(FEW_CHANNELS)
        case "pointwise":
            k, dilation, stride = 1, 1, rng.choice([1, 1, 1, 2])

    n, length = rng.choice([1, 1, 1, 2, 3, 4, 8, 16, 32, 64]), rng.choice(LENGTHS)
    reach = dilation * (k - 1)
    left, right = rng.choice([(reach // 2, reach - reach // 2)] * 3 + [(0, 0), (reach, 0)])
    mode = rng.choice(PADDING_MODES) if max(left, right) < length else "zeros"
    if length + left + right <= reach or reach > 2 * length:
        return None
    problem = f"n{n}_ci{ci}_co{co}_l{length}_k{k}_s{stride}_p{left}x{right}_d{dilation}_g{groups}"
    return parse_workload(problem if mode == "zeros" else f"{problem}_{mode}")
