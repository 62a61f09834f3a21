"""The public face: what type checkers, `help` and a look into the package tell is what is there."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import pydoc
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bridle
import user_types

needs_torch = pytest.mark.skipif(
    importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"
)

HERE = Path(__file__).parent
PACKAGE = Path(bridle.__file__).parent
STUB = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
ROOMS = [
    "checks", "data", "estimators", "experiments", "fit", "information", "judge", "linear",
    "losses", "networks", "probabilities", "progress", "rows",
]  # fmt: skip
FUNCTIONS = [
    name for name in bridle.__all__
    if inspect.isfunction(getattr(bridle, name))
]  # fmt: skip
# A gradient of tensors is autograd's.
BOTH_WORLDS = [
    name
    for name in FUNCTIONS
    if hasattr(getattr(bridle, name), "__wrapped__") and not name.endswith("_gradient")
]

Shape = list[tuple[str, str, object]]


# --- types --------------------------------------------------------------------------------------


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()


def test_what_the_user_wrote_with_arrays_runs() -> None:
    user_types.arrays()
    user_types.fits()
    user_types.errors()


@needs_torch
def test_what_the_user_wrote_with_tensors_runs() -> None:
    import user_tensor_types

    user_tensor_types.tensors()


WRONG = """
import numpy as np
from typing import Any, assert_type
import bridle
x = np.zeros((2, 3))
assert_type(bridle.entropy(x), int)
bridle.cross_entropy(x, [0, 1], inplace=True)
bridle.softmax(x, axes=1)
bridle.nll(x, [0, 1], reduction="average")
assert_type(bridle.cross_entropy(x, [0, 1], outputs=["loss"]), np.ndarray[Any, Any])
bridle.datas
"""
ERRORS = {6: "assert-type", 7: "call-overload", 8: "call-overload", 9: "call-overload",
          10: "assert-type", 11: "attr-defined"}  # fmt: skip


def test_types_hold_where_pytorch_is_unknown_and_a_wrong_one_is_found(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="the type checker comes with the developer's tools")
    shutil.copy(HERE / "user_types.py", tmp_path)
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    absent = ["sklearn", "scipy", "pandas", "numba", "pyarrow", "PIL", "safetensors"]
    sections = "".join(f"[mypy-{name}.*]\nignore_missing_imports = True\n" for name in absent)
    unknown = "[mypy-torch.*]\nfollow_imports = skip\nignore_missing_imports = True\n"
    settings = f"[mypy]\nstrict = True\nmypy_path = {PACKAGE.parent}\n{sections}{unknown}"
    # Our own modules for tensors subclass and call what is unknown then: none of the user's.
    settings += "[mypy-bridle.*]\nfollow_imports = silent\n"
    (tmp_path / "mypy.ini").write_text(settings, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "user_types.py", "wrong.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    found = {
        tuple(line.split(":")[:2]): line.rpartition("[")[2].rstrip("]")
        for line in done.stdout.splitlines()
        if ": error: " in line
    }
    right = {("wrong.py", str(line)): code for line, code in ERRORS.items()}
    assert found == right, done.stdout + done.stderr


def overloads() -> Iterator[ast.FunctionDef]:
    for node in STUB.body:
        if isinstance(node, ast.FunctionDef):
            assert [ast.unparse(each) for each in node.decorator_list] == ["overload"]
            yield node


def first_of(node: ast.FunctionDef) -> ast.arg:
    return node.args.args[0]


def parameters_of_stub(node: ast.FunctionDef) -> Shape:
    found: Shape = []
    defaults = [None] * (len(node.args.args) - len(node.args.defaults)) + [*node.args.defaults]
    positional = zip(node.args.args, defaults, strict=True)
    named = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
    for kind, pairs in (("positional", positional), ("named", named)):
        for parameter, default in pairs:
            value = "required" if default is None else ast.literal_eval(default)
            found.append((parameter.arg, kind, value))
    return found


def parameters_of(function: Callable[..., Any]) -> Shape:
    return [
        (
            each.name,
            "named" if each.kind is each.KEYWORD_ONLY else "positional",
            "required" if each.default is each.empty else each.default,
        )
        for each in inspect.signature(function).parameters.values()
    ]


def without_choice(shape: Shape) -> Shape:
    """Leave out the default of what chooses the overload."""
    return [
        (name, kind, None if name in ("outputs", "return_sign") else default)
        for name, kind, default in shape
    ]


@pytest.mark.parametrize("world", ["arrays", pytest.param("tensors", marks=needs_torch)])
def test_the_overloads_have_the_parameters_that_the_functions_have(world: str) -> None:
    seen = set()
    for node in overloads():
        if first_of(node).arg == "input" and node.name == "linear_cross_entropy":
            continue  # by the names of torch, which no signature can show beside ours
        of_tensors = "TensorLike" in ast.unparse(first_of(node).annotation or node)
        if of_tensors != (world == "tensors"):
            continue
        function = getattr(bridle, node.name).__wrapped__
        if of_tensors:
            function = getattr(bridle.torch, node.name)
        assert without_choice(parameters_of_stub(node)) == without_choice(parameters_of(function))
        seen.add(node.name)
    assert seen == set(BOTH_WORLDS)


def test_an_overload_answers_in_the_world_of_its_first_argument() -> None:
    for node in overloads():
        assert node.returns is not None
        answer = ast.unparse(node.returns)
        if "Outputs" not in answer:
            of_tensors = "TensorLike" in ast.unparse(first_of(node).annotation or node)
            assert ("T" in answer.replace("tuple", "")) == of_tensors
            assert ("Array" in answer) != of_tensors


def test_the_stub_names_what_the_package_does() -> None:
    named: set[str] = {node.name for node in overloads()}
    listed: list[str] = []
    for node in STUB.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bridle"):
            named |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    assert listed == bridle.__all__
    assert set(listed) | set(ROOMS) | {"torch"} <= named


# --- what help() shows --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FUNCTIONS)
def test_no_option_hides_and_each_is_explained(name: str) -> None:
    function = getattr(bridle, name)
    parameters = inspect.signature(function).parameters
    assert all(each.kind is not each.VAR_KEYWORD for each in parameters.values())
    text = inspect.getdoc(function) or ""
    for section in ("Parameters", "Returns", "Raises", "Examples"):
        assert f"\n{section}\n{'-' * len(section)}\n" in text, section
    explained = text.partition("\nParameters\n")[2].partition("\nReturns\n")[0]
    entries = [line for line in explained.splitlines() if line and not line.startswith((" ", "-"))]
    names = {word.strip() for line in entries for word in line.partition(" : ")[0].split(",")}
    assert names == set(parameters)
    assert len(text.splitlines()[0]) <= 100


@needs_torch
@pytest.mark.parametrize("name", BOTH_WORLDS)
def test_the_signature_shows_the_options_of_tensors_too(name: str) -> None:
    shown = inspect.signature(getattr(bridle, name)).parameters
    ours = inspect.signature(getattr(bridle.torch, name)).parameters
    assert set(shown) == set(ours)
    page = pydoc.plain(pydoc.render_doc(getattr(bridle, name)))
    assert f"`bridle.torch.{name}`" in page
    assert all(each in page for each in ours)


@needs_torch
def test_no_option_hides_in_what_only_tensors_have() -> None:
    from bridle.torch import functional

    for name in bridle.torch.__all__:
        shown = inspect.signature(getattr(bridle.torch, name)).parameters
        assert all(each.kind is not each.VAR_KEYWORD for each in shown.values()), name
    # A module takes what its function does, but for what belongs to a batch.
    of_batch = {"input", "features", "target", "sample_weight", "normalizer"}
    for module, function in (
        (bridle.torch.CrossEntropyLoss, functional.cross_entropy),
        (bridle.torch.LinearCrossEntropyLoss, functional.linear_cross_entropy),
    ):
        ours = set(inspect.signature(module).parameters)
        assert set(inspect.signature(function).parameters) - of_batch - {"class_weight"} <= ours


def test_help_on_cross_entropy_reads_from_the_top() -> None:
    page = pydoc.plain(pydoc.render_doc(bridle.cross_entropy)).splitlines()
    assert page[2].startswith("cross_entropy(input: ")
    assert page[3].strip().endswith("softmax(z)[target]`` in nats, averaged over the samples.")


@pytest.mark.parametrize(
    ("call", "option"),
    [
        (lambda: bridle.cross_entropy([[1.0, 2.0]], [0], inplace=True), "inplace"),  # type: ignore[call-overload]
        (
            lambda: bridle.linear_cross_entropy([[1.0]], [[1.0]], [0], gradient_filter=0.1),  # type: ignore[call-overload]
            "gradient_filter",
        ),
    ],
)
def test_an_option_of_tensors_is_refused_with_arrays(
    call: Callable[[], object], option: str
) -> None:
    with pytest.raises(bridle.InputError, match=f"{option}: expected only with a tensor") as raised:
        call()
    assert raised.value.argument == option


def test_an_option_of_tensors_at_its_default_says_nothing() -> None:
    found = bridle.cross_entropy([[1.0, 2.0]], [0], inplace=False)  # type: ignore[call-overload]
    assert found == bridle.cross_entropy([[1.0, 2.0]], [0])


# --- dim beside axis ----------------------------------------------------------------------------

TAKES_AXIS = [
    name for name in FUNCTIONS if "axis" in inspect.signature(getattr(bridle, name)).parameters
]


def test_every_function_with_an_axis_has_a_dim() -> None:
    assert len(TAKES_AXIS) >= 9
    for name in TAKES_AXIS:
        assert "dim" in inspect.signature(getattr(bridle, name)).parameters


@pytest.mark.parametrize("tensors", [False, pytest.param(True, marks=needs_torch)])
@pytest.mark.parametrize("name", TAKES_AXIS)
def test_dim_is_axis(name: str, tensors: bool) -> None:
    if tensors and name.endswith("_gradient"):
        pytest.skip("a gradient of tensors is autograd's")
    p = np.random.default_rng(0).dirichlet(np.ones(4), 3).T.copy()  # the classes are axis 0
    given: list[Any] = [p]
    if name in ("kl_divergence", "cross_entropy_of"):
        given = [p, p[:, ::-1].copy()]
    elif name in ("cross_entropy", "cross_entropy_gradient", "nll") or name.startswith("focal"):
        given = [p if name == "nll" else np.log(p) * 2, np.array([0, 1, 3])]
    if tensors:
        import torch

        given = [torch.from_numpy(each) for each in given]
    function: Any = getattr(bridle, name)
    by_dim, by_axis = (answer_of(function(*given, **{word: 0})) for word in ("dim", "axis"))
    np.testing.assert_array_equal(by_dim, by_axis)
    plain = answer_of(function(*(each.T if each.ndim == 2 else each for each in given)))
    np.testing.assert_allclose(by_dim.T, plain, rtol=1e-12)
    with pytest.raises(bridle.InputError, match="axis, dim: expected one of them") as raised:
        function(*given, dim=0, axis=1)
    assert raised.value.argument == "axis, dim"


def answer_of(found: Any) -> Any:
    """Return an array of what was found, the gradient of a pair."""
    return np.asarray(found[1] if isinstance(found, tuple) else found)


# --- the rooms ----------------------------------------------------------------------------------


FRESH = """
import sys, types
for room in sys.argv[1:]:
    for name in [each for each in sys.modules if each.partition(".")[0] == "bridle"]:
        del sys.modules[name]
    import bridle
    assert isinstance(getattr(bridle, room), types.ModuleType), room
"""


def test_a_room_is_an_attribute_of_a_fresh_import() -> None:
    # PyTorch lets its operators be defined once in a process.
    rooms = ROOMS if importlib.util.find_spec("torch") is None else [*ROOMS, "torch"]
    done = subprocess.run(
        [sys.executable, "-c", FRESH, *rooms], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(rooms) <= set(dir(bridle))


def test_rooms_that_docstrings_name_are_there() -> None:
    assert bridle.data.load("digits").features.shape == (1797, 64)
    assert bridle.CrossEntropyOutputs is bridle.losses.CrossEntropyOutputs
    assert bridle.FitReport is bridle.fit.FitReport
    assert bridle.SoftmaxPath is bridle.estimators.SoftmaxPath
    assert bridle.Evaluation is bridle.judge.Evaluation
