"""The package as it is handed out: what wheel and sdist hold, and what version they say."""

from __future__ import annotations

import email.message
import email.parser
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

import bridle

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
REQUIRED = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
EVERY = [*REQUIRED, *(Requirement(line) for lines in EXTRAS.values() for line in lines)]
# What conda-forge calls otherwise: without the toolkits, or what PyPI's dask[…] stands for.
CONDA_NAMES = {"matplotlib": "matplotlib-base", "dask": "dask-core", "torch": "pytorch"}
# What git would not take, and what belongs to one machine.
LEFT_OUT = re.compile(r"(^|/)(\.(?!gitignore$)[^/]*|__pycache__|[^/]*\.pyc|dist|build)(/|$)")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the sdist, and from what is in it the wheel, as `python -m build` does."""
    pytest.importorskip("hatchling", reason="what builds the package is not installed")
    out = tmp_path_factory.mktemp("built")
    _hatchling(ROOT, "build_sdist", out)
    with tarfile.open(next(out.glob("*.tar.gz"))) as archive:
        archive.extractall(out / "unpacked", filter="data")
    _hatchling(next((out / "unpacked").iterdir()), "build_wheel", out)
    return out


def _hatchling(checkout: Path, hook: str, out: Path) -> None:
    # The hook of PEP 517, in a process of its own: it works in the current folder.
    code = f"import sys; from hatchling import build; build.{hook}(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(out)], cwd=checkout, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.parser.Parser().parsestr(archive.read(name).decode())


def files_below(folder: str) -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not {"__pycache__", "_build"} & set(path.parts)
    }


def test_the_version_stands_in_one_place(wheel: Path) -> None:
    assert "version" not in PROJECT["project"]
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert metadata(wheel)["Version"] == bridle.__version__
    assert re.match(rf"bridle-{re.escape(bridle.__version__)}-py3-none-any\.whl", wheel.name)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licenses = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
    expected = {name.removeprefix("src/") for name in files_below("src") if "egg-info" not in name}
    assert names == expected
    assert len(licenses) == 1


def test_the_sdist_holds_what_the_tests_read(built: Path) -> None:
    (root,) = (built / "unpacked").iterdir()
    inside = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    for folder in ("src/bridle", "tests", "docs", "benchmarks", "examples"):
        assert files_below(folder) <= inside, folder
    assert {"pyproject.toml", "conftest.py", "README.md", "LICENSE", "CHANGELOG.md"} <= inside
    assert {"CONTRIBUTING.md", "Makefile", "constraints.txt", "constraints-lowest.txt"} <= inside
    assert {"CITATION.cff", "SECURITY.md", "conda/recipe.yaml"} <= inside


def test_the_sdist_holds_nothing_of_this_machine(built: Path) -> None:
    (found,) = built.glob("*.tar.gz")
    with tarfile.open(found) as archive:
        members = archive.getmembers()
    assert [member.name for member in members if LEFT_OUT.search(member.name)] == []
    assert {(member.uname, member.gname, member.uid) for member in members} == {("", "", 0)}


def test_the_wheel_runs_without_its_checkout(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import bridle, bridle.data; print(bridle.__file__); print(bridle.__version__);"
        "print(bridle.cross_entropy([[0.0, 0.0]], [1]))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.stderr == ""
    file, version, loss = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path)
    assert version == bridle.__version__
    assert float(loss) == pytest.approx(0.6931471805599453, abs=1e-15)


def test_what_the_wheel_asks_for_is_what_the_project_says(wheel: Path) -> None:
    told = metadata(wheel)
    assert told["Requires-Python"] == PROJECT["project"]["requires-python"]
    assert set(told.get_all("Provides-Extra", [])) == set(EXTRAS)
    core = {line for line in told.get_all("Requires-Dist", []) if "extra ==" not in line}
    assert core == set(PROJECT["project"]["dependencies"])


def floor(requirement: Requirement) -> Version:
    """Return the lowest version of a requirement that says no more than that."""
    (only,) = requirement.specifier
    assert only.operator == ">=", requirement
    return Version(only.version)


def pins(name: str) -> dict[NormalizedName, tuple[Version, ...]]:
    """Return what a file of constraints says of each library: one version, or two and all between.

    Of Triton there are two, which PyTorch's builds ask for.
    """
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    words = [line.split("#")[0].strip() for line in lines]
    told = [Requirement(word) for word in words if word]
    found = {canonicalize_name(each.name): versions_of(each) for each in told}
    assert len(found) == len(told)
    assert {name for name, versions in found.items() if len(versions) > 1} <= {"triton"}
    return found


def versions_of(pin: Requirement) -> tuple[Version, ...]:
    """Return the version that is pinned, or the first and the last."""
    told = {each.operator: Version(each.version) for each in pin.specifier}
    assert told.keys() in ({"=="}, {">=", "<="}), pin
    return tuple(sorted(told.values()))


def test_the_lowest_versions_are_those_that_the_package_asks_for() -> None:
    asked = {canonicalize_name(each.name): floor(each) for each in EVERY}
    lowest = pins("constraints-lowest.txt")
    assert {name: lowest[name] for name in asked} == {
        name: (version,) for name, version in asked.items()
    }


def test_the_pinned_versions_are_ones_that_the_package_takes() -> None:
    pinned = pins("constraints.txt")
    for requirement in EVERY:
        for version in pinned[canonicalize_name(requirement.name)]:
            assert version in requirement.specifier, requirement


def test_the_pinned_versions_are_ones_that_developing_takes() -> None:
    pinned = pins("constraints.txt")
    groups = PROJECT["dependency-groups"]
    # The recipes' libraries ask for other versions than these, in an environment of their own.
    names = [name for name in groups if name != "recipes"]
    lines = [line for name in names for line in groups[name] if isinstance(line, str)]
    for requirement in map(Requirement, lines):
        for version in pinned[canonicalize_name(requirement.name)]:
            assert version in requirement.specifier, requirement


def test_the_citation_repeats_no_version() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert "version" not in citation
    assert citation["license"] == PROJECT["project"]["license"]
    assert citation["keywords"] == PROJECT["project"]["keywords"]


def test_the_recipe_says_what_the_package_says() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    text = (ROOT / "conda" / "recipe.yaml").read_text(encoding="utf-8")
    recipe = yaml.safe_load(text)
    assert recipe["context"]["version"] == bridle.__version__
    assert recipe["about"]["license"] == PROJECT["project"]["license"]
    ((command, entry),) = PROJECT["project"]["scripts"].items()
    assert recipe["build"]["python"]["entry_points"] == [f"{command} = {entry}"]

    needs = recipe["requirements"]
    python = f"python {PROJECT['project']['requires-python']}"
    hatchling = _as_conda(Requirement(PROJECT["build-system"]["requires"][0]))
    assert needs["host"] == [python, "pip", hatchling]
    command_too = [Requirement(line) for line in EXTRAS["cli"]]
    assert needs["run"] == [python, *(_as_conda(each) for each in [*REQUIRED, *command_too])]
    others = [Requirement(line) for name in EXTRAS if name != "cli" for line in EXTRAS[name]]
    assert needs["run_constraints"] == [_as_conda(each) for each in others]


def _as_conda(requirement: Requirement) -> str:
    name = CONDA_NAMES.get(requirement.name, requirement.name)
    return f"{name} {requirement.specifier}"


@pytest.mark.parametrize(
    "form",
    # An sdist has none: they are for the place where the repository is hosted.
    sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml")),
    ids=lambda path: str(path.stem),
)
def test_the_forms_of_issues_are_forms(form: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    told = yaml.safe_load(form.read_text(encoding="utf-8"))
    assert {"name", "description", "body"} <= set(told)
    ids = [field["id"] for field in told["body"]]
    assert len(set(ids)) == len(ids)
    assert all(field["attributes"]["label"] for field in told["body"])
