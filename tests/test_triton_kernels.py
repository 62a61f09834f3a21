"""The Triton kernels: run in a process of their own, and compiled for a GPU that need not be here.

The interpreter proves what a kernel computes; the compiler, which asks more of a kernel's types
than the interpreter does, proves that there is a program for the device.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="the extra `torch` is not installed")
triton: Any = pytest.importorskip("triton", reason="triton is not installed")

SUITES = [
    Path(__file__).with_name(f"triton_{name}_suite.py")
    for name in ("kernels", "index", "distribution", "head")
]

COMPILING = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bridle.kernels.contract import RowParts
from bridle.kernels.triton.gradient import row_gradient_kernel
from bridle.kernels.triton.parts import merge_kernel, row_parts_kernel
from bridle.kernels.triton.scores import Matrix
from bridle.kernels.triton.sums import Sums

def compiled(kernel, **arguments):
    signature, constants = {}, {}
    for place, (name, value) in enumerate(arguments.items()):
        fields = value if isinstance(value, tuple) else (value,)
        kinds = [each if isinstance(each, str) else "constexpr" for each in fields]
        signature[name] = type(value)(*kinds) if isinstance(value, tuple) else kinds[0]
        for index, each in enumerate(fields):
            if not isinstance(each, str):
                constants[(place, index) if isinstance(value, tuple) else (place,)] = each
    source = ASTSource(kernel, signature, constants)
    options = {"enable_fp_fusion": False, "num_warps": 4}
    binary = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert len(binary.asm["cubin"]) > 1000
    print(kernel.__name__)

def parts_of(sums, soft, smoothing, entropy, argmax):
    # Which parts and which sums of blocks there are, as pointers.
    smooth, mean = sums if smoothing else None, sums if entropy else None
    parts = RowParts(
        sums, sums, None if soft else sums, smooth, smooth, smooth, mean,
        "*i64" if argmax else None, sums if soft else None, sums if soft else None,
    )
    blocks = Sums(
        sums, sums, mean, smooth, smooth, smooth,
        sums if soft else None, sums if soft else None, "*i32" if argmax else None,
    )
    return parts, blocks

def split(matrix, target, weight, parts, blocks, capped, columns):
    bending = {"inverse_temperature": "fp64", "softcap": "fp64", "CAPPED": capped}
    compiled(
        row_parts_kernel, scores=matrix, **target, weight=weight, parts=parts,
        blocks=blocks, rows="i32", classes="i32", block_width="i32", **bending,
        SPLIT=True, ROWS=1, COLUMNS=columns,
    )
    compiled(
        merge_kernel, blocks=blocks, scores=matrix, target=target["target"],
        parts=parts, classes="i32", block_count="i32", **bending, LANES=8,
    )

for dtype, full, soft in [
    ("bf16", False, False), ("fp32", True, False), ("fp32", False, True), ("fp64", True, True),
]:
    sums = "*fp64" if dtype == "fp64" else "*fp32"
    columns = 512 if dtype == "fp64" else 1024
    matrix = Matrix("*" + dtype, "i64", 1)
    wanted = sums if full else None
    parts, blocks = parts_of(sums, soft, full, full, full)
    target = {"target": None if soft else "*i64", "soft_target": matrix if soft else None}
    bending = {"inverse_temperature": "fp64", "softcap": "fp64", "CAPPED": full}
    split(matrix, target, wanted, parts, blocks, full, columns)
    compiled(
        row_parts_kernel, scores=matrix, **target, weight=wanted, parts=parts,
        blocks=None, rows="i32", classes="i32", block_width="i32", **bending,
        SPLIT=False, ROWS=columns // 16, COLUMNS=16,
    )
    compiled(
        row_gradient_kernel, scores=matrix, out=matrix, **target, weight=wanted,
        maximum=sums, log_sum=sums, target_gap=None if soft else sums,
        a=sums, b=wanted, s=wanted, t=wanted,
        rows="i32", classes="i32", **bending, ROWS=1, COLUMNS=columns,
    )

# Every kind of blocks: each part alone, beside class indices, distributions, or no target at all.
for aim in ("indices", "distributions", "none"):
    soft, matrix = aim == "distributions", Matrix("*fp32", "i64", 1)
    target = {
        "target": "*i64" if aim == "indices" else None, "soft_target": matrix if soft else None
    }
    for asked in ((False,) * 3, (True, False, False), (False, True, False), (False, False, True)):
        parts, blocks = parts_of("*fp32", soft, *asked)
        if aim == "none":
            parts = parts._replace(target_gap=None)
        split(matrix, target, None, parts, blocks, False, 1024)
"""


COMPILING_INDEX = """
import sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from bridle.kernels.triton import distribution_kernels, index_kernels

def compiled(kernel, warps, given, **constants):
    names = kernel.arg_names
    signature = {name: given.get(name, "constexpr") for name in names if name not in constants}
    signature |= {name: "constexpr" for name in constants}
    fixed = {(names.index(name),): value for name, value in constants.items()}
    fixed |= {(names.index(name),): None for name in names if name not in {*given, *constants}}
    aligned = {
        (names.index(name),): [["tt.divisibility", 16]]
        for name in ("scores", "out", "target") if name in names
    }
    source = ASTSource(kernel, {name: signature[name] for name in names}, fixed, aligned)
    options = {"enable_fp_fusion": False, "num_warps": warps}
    target = GPUTarget("cuda", int(sys.argv[1]), 32)
    binary = triton.compile(source, target=target, options=options)
    print(kernel.__name__)
    return binary.asm["ptx"]

for dtype in ("bf16", "fp32", "fp64"):
    sums = "*fp64" if dtype == "fp64" else "*fp32"
    given = dict.fromkeys(("losses", "tops", "rests", "gaps", "masses", "counts"), sums)
    given |= dict.fromkeys(("scores", "out"), "*" + dtype) | {"divisor": "*fp64"}
    given |= dict.fromkeys(("row_stride", "out_stride"), "i64") | {"target": "*i64"}
    given |= dict.fromkeys(("row_count", "classes", "ignore_index"), "i32")
    numbers = ("normalizer", "smoothing", "z_loss", "inverse_temperature", "softcap")
    given |= dict.fromkeys(numbers, "fp64")
    flags = dict.fromkeys(("BENT", "CAPPED", "SMOOTHED", "Z_LOSS"), False)
    weighted = given | {"weight": sums, "sample_weight": sums}
    both = {"GRADIENT": True, "KEPT": False, "COUNTED": 0}
    rows = {"HELD": 0, "PEELED": False}
    size = 8 if dtype == "bf16" else 4 if dtype == "fp32" else 2
    aligned = {"SIDE_BY_SIDE": True, "ALIGNMENT": size}
    unaligned = {"PEELED": True, "SIDE_BY_SIDE": True, "ALIGNMENT": 1}
    wide = {"ROWS": 1, "COLUMNS": 2048}
    for own, tile in (
        ({"HELD": 5}, {"ROWS": 32, "COLUMNS": 2}),
        ({"HELD": 3}, {"ROWS": 4, "COLUMNS": 32}),
        ({"HELD": 1, "COUNTED": 256}, {"ROWS": 16, "COLUMNS": 32}),
        ({}, wide),
        (unaligned, wide),
    ):
        ptx = compiled(
            index_kernels.loss_kernel, 4, given, **(flags | both | rows | aligned | own), **tile
        )
        if tile == wide and dtype != "fp64":
            assert "ld.global" in ptx and ".v4." in ptx, "scores are not read 16 bytes at a time"
    every = dict.fromkeys(flags, True) | rows | aligned | {"GRADIENT": False, "KEPT": True}
    every |= {"COUNTED": 32}
    compiled(index_kernels.loss_kernel, 4, weighted, **every, **wide)
    given["cotangent"] = weighted["cotangent"] = sums
    for terms, arguments in ((flags, given), (dict.fromkeys(flags, True), weighted)):
        for lie in (aligned | {"PEELED": False}, unaligned):
            compiled(index_kernels.gradient_kernel, 4, arguments, EACH=True, **terms, **lie, **wide)
    given |= {"target": "*" + dtype, "target_stride": "i64"}
    weighted |= given | {"weight": sums, "sample_weight": sums}
    of_rows = {"GRADIENT": True, "EACH": False, "ALIGNMENT": size}
    for tile in ({"HELD": 5, "ROWS": 32, "COLUMNS": 2}, {"HELD": 2, "ROWS": 8, "COLUMNS": 32},
                 {"HELD": 0, **wide}):
        for terms, arguments in ((flags, given), (dict.fromkeys(flags, True), weighted)):
            compiled(distribution_kernels.loss_kernel, 4, arguments, **terms, **of_rows, **tile)
compiled(
    index_kernels.divisor_kernel, 8, {"target": "*i32", "weight": "*bf16", "sums": "*fp64",
    "row_count": "i32", "ignore_index": "i32", "classes": "i32"}, NUMBERS=4096,
)
compiled(
    index_kernels.total_kernel, 4, {"losses": "*fp32", "divisor": "*fp64", "result": "*fp32",
    "number": "i32", "normalizer": "fp64"}, EMPTY_IS_ZERO=True, NUMBERS=1024,
)
compiled(
    index_kernels.scale_kernel, 8, {"gradient": "*bf16", "factor": "*fp32", "number": "i64"},
    NUMBERS=4096,
)
"""


COMPILING_HEADS = (
    COMPILING_INDEX[: COMPILING_INDEX.index("for dtype in")]
    + """
from bridle.kernels.triton import head_kernels, head_loss

sums = dict.fromkeys(("tops", "rests", "gaps", "masses", "counts"), "*fp32")
known = dict.fromkeys(("references", "factors", "spreads", "at_labels"), "*fp32")
known |= {"labels": "*i32"}
sizes = dict.fromkeys(("feature_stride", "head_stride", "row_count", "classes", "share"), "i32")
sizes |= dict.fromkeys(("inverse_temperature", "softcap"), "fp64")
losses = {"target": "*i64", "divisor": "*fp64", "losses": "*fp32", "parts": "i32"}
losses |= {"ignore_index": "i32"} | dict.fromkeys(("normalizer", "smoothing", "z_loss"), "fp64")
rows = {"ROWS": head_loss.thresholds.NARROW_LOSS_ROWS}
for dtype, width, terms in (("*bf16", 64, False), ("*fp16", 100, True)):
    if sys.argv[1] != "90" and not terms:
        continue  # one with all terms holds all that there is to compile
    given = {"features": dtype, "head": dtype, **sizes}
    flags = dict.fromkeys(("BENT", "CAPPED", "SMOOTHED"), terms)
    constants = flags | {"FEATURES": width, "WIDTH": 1 << (width - 1).bit_length()}
    if terms:
        given |= {"bias": dtype, "weight": "*fp32"}
    of_losses = {name: kind for name, kind in given.items() if name != "share"} | losses
    of_losses |= sums | known | ({"sample_weight": "*fp32"} if terms else {})
    compiled(head_kernels.loss_kernel, 4, of_losses, Z_LOSS=terms, **constants, **rows)
    for name, arguments in (
        ("sums", sums), ("features", {"out": dtype} | known), ("head", {"out": dtype} | known)
    ):
        tile = head_loss.Tile(*getattr(head_loss.thresholds, f"NARROW_{name.upper()}_TILE"))
        if name == "head" and terms:
            arguments = arguments | {"bias_out": "*fp32"}
        ptx = compiled(
            getattr(head_kernels, name + "_kernel"), tile.warps, given | arguments,
            **constants, ROWS=tile.rows, CLASSES=tile.classes,
        )
        assert "mma" in ptx, "products are not made by the device's own"
"""
)


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the environment's own Triton settings left out."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TRITON_")}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "variables",
    [
        pytest.param({"TRITON_INTERPRET": "1"}, id="interpreter"),
        pytest.param(
            {},
            id="gpu",
            marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here"),
        ),
    ],
)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.stem)
def test_the_kernels_keep_the_contract(suite: Path, variables: dict[str, str]) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite), **variables)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(params=["installed", "lowest"])
def compiler(request: pytest.FixtureRequest) -> dict[str, str]:
    """Return the variables that choose a Triton: the one here, or that of the lowest PyTorch."""
    if request.param == "installed":
        return {}
    folder = os.environ.get("LOWEST_TRITON")
    if not folder:
        pytest.skip("LOWEST_TRITON names no folder of pip install --no-deps --target triton==3.5.*")
    return {"PYTHONPATH": os.pathsep.join([folder, os.environ.get("PYTHONPATH", "")])}


def test_the_kernels_compile_for_a_gpu_that_is_not_here(
    tmp_path: Path, compiler: dict[str, str]
) -> None:
    done = run("-c", COMPILING, TRITON_CACHE_DIR=str(tmp_path), **compiler)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.split()) == 4 * 4 + 3 * 4 * 2


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_the_kernels_for_class_indices_compile_too(
    tmp_path: Path, capability: int, compiler: dict[str, str]
) -> None:
    places = {"TRITON_CACHE_DIR": str(tmp_path), **compiler}
    done = run("-c", COMPILING_INDEX, str(capability), **places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.split()) == 3 * (6 + 4 + 6) + 3


@pytest.mark.parametrize("capability", [80, 90, 100])
def test_the_kernels_of_a_head_compile_too(
    tmp_path: Path, capability: int, compiler: dict[str, str]
) -> None:
    places = {"TRITON_CACHE_DIR": str(tmp_path), **compiler}
    done = run("-c", COMPILING_HEADS, str(capability), **places)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.split()) == (2 * 4 if capability == 90 else 4)


def test_the_kernels_load_triton_only_when_called() -> None:
    program = (
        "import sys; import bridle.kernels.triton.row_kernels; sys.exit('triton' in sys.modules)"
    )
    assert run("-c", program).returncode == 0
