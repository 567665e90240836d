"""The direction of imports, the size of modules and the README's file tree."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("vst", "data_modules", "callbacks", "conf")

# What each unit may import of this repository besides itself. A unit is a module or a package right below
# `vst`, or one of the other top-level packages. A new unit needs a line here: where it belongs is a decision.
MAY_IMPORT = {
    "vst": {"vst.checkpoint", "vst.stream", "vst.threads"},
    "vst.errors": set(),
    "vst.shell": set(),
    "vst.claims": {"vst.errors"},
    "vst.run_folder": {"vst.claims", "vst.shell", "vst.errors"},
    "vst.threads": set(),
    "vst.cache": {"vst.errors"},
    "vst.batch": set(),
    "vst.schedules": set(),
    "vst.curriculum": {"vst.schedules", "vst.errors"},
    "vst.cuts": set(),
    "vst.flow": {"vst.weights", "vst.errors"},
    "vst.planes": set(),
    "vst.video": {"vst.planes", "vst.threads", "vst.errors"},
    "vst.networks": {"vst.flow", "vst.weights", "vst.errors"},
    "vst.losses": {"vst.batch", "vst.flow"},
    "vst.pruning": {"vst.networks", "vst.errors"},
    "vst.checkpoint": {"vst.networks", "vst.pruning", "vst.video", "vst.errors"},
    "vst.progress": set(),
    "vst.memory": set(),
    "vst.pipeline": {"vst.cuts", "vst.memory", "vst.planes", "vst.progress", "vst.video"},
    "vst.stream": {"vst.painting", "vst.pipeline", "vst.progress", "vst.video", "vst.errors"},
    "vst.items": {"vst.progress", "vst.video", "vst.errors"},
    "vst.benchmark": {
        "vst.networks", "vst.runtime", "vst.pipeline", "vst.stream", "vst.video", "vst.cuts", "vst.report_folder",
        "vst.threads", "vst.text", "vst.errors",
    },
    "vst.runtime": {"vst.networks", "vst.checkpoint", "vst.planes", "vst.cache", "vst.threads", "vst.errors"},
    "vst.quality": {"vst.runtime", "vst.benchmark", "vst.metrics", "vst.networks", "vst.video"},
    "vst.export": {"vst", "vst.runtime", "vst.quality", "vst.checkpoint", "vst.networks", "vst.errors"},
    "vst.painting": {"vst.memory", "vst.pipeline", "vst.planes", "vst.runtime", "vst.video", "vst.errors"},
    "vst.live": {"vst.painting", "vst.stream", "vst.video", "vst.cuts", "vst.errors"},
    "vst.studio": {"vst.painting", "vst.progress", "vst.stream", "vst.video", "vst.cache", "vst.errors"},
    "vst.weights": {"vst.errors"},
    "vst.names": {"vst.errors"},
    "vst.report_folder": {"vst.errors"},
    "vst.text": set(),
    "vst.console": {"vst.text"},
    "vst.task": {
        "vst.networks", "vst.losses", "vst.batch", "vst.checkpoint", "vst.curriculum", "vst.errors",
    },
    "vst.schema": set(),
    "vst.ranges": set(),
    "vst.lookup": set(),
    "vst.model_rules": {"vst.lookup", "vst.networks"},
    "vst.rules": {"vst.lookup", "vst.model_rules", "vst.ranges", "vst.errors", "vst.curriculum"},
    "vst.signatures": {"vst.schema", "vst.errors"},
    "vst.sweep": set(),
    "vst.jobs": {"vst.sweep", "vst.errors"},
    "vst.flags": {"vst", "vst.errors"},
    "vst.help": set(),
    "vst.overrides": {"vst.signatures"},
    "vst.companions": {"vst.lookup"},
    "vst.explain": {"vst.overrides", "vst.signatures", "vst.errors"},
    "vst.config": {
        "vst.schema", "vst.rules", "vst.signatures", "vst.jobs", "vst.flags", "vst.help", "vst.console", "vst.claims",
        "vst.run_folder", "vst.overrides", "vst.companions", "vst.explain", "vst.errors",
    },
    "vst.metrics": {"vst.flow", "vst.weights", "vst.errors"},
    "vst.evaluate": {
        "vst", "vst.metrics", "vst.flow", "vst.video", "vst.cuts", "vst.checkpoint", "vst.networks", "vst.names",
        "vst.report_folder", "vst.text", "vst.errors",
    },
    "vst.cli": {"vst", "vst.config", "vst.jobs", "vst.help", "vst.console", "vst.errors"},
    "vst.commands": {
        "vst.task", "vst.config", "vst.companions", "vst.schema", "vst.checkpoint", "vst.stream", "vst.networks",
        "vst.evaluate",
        "vst.export", "vst.runtime", "vst.benchmark", "vst.pruning", "vst.painting", "vst.live", "vst.studio",
        "vst.video", "vst.names", "vst.items", "vst.progress", "vst.cache", "vst.jobs", "vst.run_folder", "vst.shell",
        "vst.errors",
    },
    "data_modules": {"vst.video", "vst.flow", "vst.cuts", "vst.cache", "vst.batch", "vst.errors"},
    "callbacks": {
        "vst.video", "vst.networks", "vst.stream", "vst.checkpoint", "vst.benchmark", "vst.batch", "vst.run_folder",
        "vst.shell", "vst.errors",
    },
    "conf": set(),
}  # fmt: skip

# Libraries that only these units may import.
ONLY_IN = {
    "hydra": {"vst.commands", "vst.config", "vst.flags", "vst.jobs", "vst.overrides", "vst.companions", "vst.explain"},
    "omegaconf": {"vst.commands", "vst.config", "vst.jobs", "vst.overrides", "vst.companions", "vst.explain"},
    "pytorch_lightning": {"vst.commands", "vst.task", "data_modules", "callbacks"},
    "wandb": {"vst.commands", "callbacks"},
    "av": {"vst.video", "vst.live", "vst.studio", "data_modules"},
    "kornia": {"vst.flow", "vst.losses"},
}

# Leaves, which another program can take as they are: all that they import besides the standard library.
LIBRARIES_OF = {
    "vst": {"vst.checkpoint", "vst.stream"},
    "vst.errors": set(),
    "vst.shell": set(),
    "vst.claims": {"filelock"},
    "vst.run_folder": set(),
    "vst.threads": set(),
    "vst.cache": {"platformdirs"},
    "vst.names": set(),
    "vst.report_folder": set(),
    "vst.schedules": set(),
    "vst.curriculum": set(),
    "vst.text": set(),
    "vst.console": set(),
    "vst.sweep": set(),
    "vst.help": {"yaml"},
    "vst.schema": set(),
    "vst.lookup": set(),
    "vst.rules": set(),
    "vst.ranges": set(),
    "vst.signatures": set(),
    "vst.batch": {"torch"},
    "vst.networks": {"torch", "torchvision", "numpy"},
    "vst.weights": {"torch"},
    "vst.flow": {"torch", "torchvision", "kornia", "cv2", "numpy"},
    "vst.planes": {"cv2", "numpy"},
    "vst.video": {"av", "numpy", "torch", "PIL", "tifffile"},
    "vst.progress": {"rich"},
    "vst.memory": {"torch", "numpy"},
    "vst.pipeline": {"numpy"},
    "vst.stream": {"torch", "numpy"},
    "vst.items": set(),
    "vst.cuts": {"numpy"},
    "vst.checkpoint": {"torch"},
}


def modules() -> dict[str, Path]:
    """Dotted name -> file of every module of the packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def unit(module: str) -> str:
    """The unit of a dotted name: `vst.losses.base` -> `vst.losses`, `callbacks.preview` -> `callbacks`."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "vst" else parts[0]


def imports(source: str, module: str, is_package: bool) -> set[str]:
    """Dotted names that `source` imports anywhere; `from a import b` gives a.b where that is a module."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parts = module.split(".")
            base = parts[: len(parts) - node.level + is_package] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            inner = {f"{origin}.{alias.name}" for alias in node.names} & MODULES.keys()
            names |= inner if inner and len(inner) == len(node.names) else inner | {origin}
    return names


def imports_of(module: str) -> set[str]:
    path = MODULES[module]
    return imports(path.read_text(), module, path.name == "__init__.py")


def test_the_reader_of_imports() -> None:
    source = "import os, vst.flow\nfrom vst import losses\nfrom vst.flow import warp\nif 1:\n import hydra.x"
    assert imports(source, "vst.x", False) == {"os", "vst.flow", "vst.losses", "hydra.x"}
    assert imports("from .base import A\nfrom . import style", "vst.losses.x", False) == {
        "vst.losses.base", "vst.losses.style",
    }  # fmt: skip
    assert imports("from .base import A", "vst.losses", True) == {"vst.losses.base"}


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module: str) -> None:
    own = unit(module)
    assert own in MAY_IMPORT, f"{own} is new: say in MAY_IMPORT what it may import"
    ours = {unit(name) for name in imports_of(module) if name.partition(".")[0] in PACKAGES}
    assert ours - {own} <= MAY_IMPORT[own]


@pytest.mark.parametrize("module", MODULES)
def test_libraries_stay_where_they_belong(module: str) -> None:
    for name in imports_of(module):
        owners = ONLY_IN.get(name.partition(".")[0])
        assert owners is None or unit(module) in owners, f"{module} imports {name}"
    tops = {name.partition(".")[0] for name in imports_of(module)}
    foreign = tops - sys.stdlib_module_names - set(PACKAGES)
    assert foreign <= LIBRARIES_OF.get(unit(module), foreign)


def test_there_are_no_cycles() -> None:
    """MAY_IMPORT itself is ordered: units can be removed one by one, each after all that it may import."""
    left = dict(MAY_IMPORT)
    while left:
        free = [name for name, needs in left.items() if not needs & left.keys()]
        assert free, f"a cycle among {sorted(left)}"
        for name in free:
            del left[name]


def test_the_table_names_only_units_that_exist() -> None:
    units = {unit(module) for module in MODULES}
    assert MAY_IMPORT.keys() <= units and set().union(*MAY_IMPORT.values()) <= units
    assert set().union(*ONLY_IN.values()) <= units


@pytest.mark.parametrize("path", [*MODULES.values(), *ROOT.glob("*.py")], ids=lambda path: path.name)
def test_modules_are_short_and_explained(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) < 430
    assert not source.strip() or ast.get_docstring(ast.parse(source)), "a module starts with a docstring"


# ----------------------------------------------------------------------------------------------------
# README


def tree_paths(readme: str) -> set[str]:
    """Paths named by the README's file tree: the fenced block with a line for `vst/`.

    A line is `name   what it is`; names are indented below their folder, which ends in `/`. Several names may
    share a line, and a name may be a path. Box-drawing signs count as indentation.
    """
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE)
    trees = [block for block in blocks if re.search(r"^\W*vst/", block, flags=re.MULTILINE)]
    assert len(trees) == 1, "the README needs one file tree, in a fenced block with a line for vst/"
    paths: set[str] = set()
    folders: list[tuple[int, str]] = []
    for line in trees[0].splitlines():
        entry = re.match(r"[\s│├└─|`+-]*", line).end()
        names = re.split(r"\s{2,}|\s+#", line[entry:].strip())[0].split()
        while folders and folders[-1][0] >= entry:
            folders.pop()
        parent = folders[-1][1] if folders else ""
        for name in names:
            paths.add(parent + name.strip(","))
        if names and names[0].endswith("/"):
            folders.append((entry, parent + names[0]))
    return paths - {"./", "."}


def test_the_reader_of_trees() -> None:
    drawn = (
        "# x\n```\nvst/            the library\n├── cli.py       commands\n└── networks/    nets\n"
        "    └── layers.py\ntrain.py\n```\n"
    )
    plain = (
        "```text\ntrain.py stylize.py  commands\nvst/\n  cli.py   a, b\n  networks/layers.py  # blocks\n```\n"
        "```\npip x\n```"
    )
    assert tree_paths(drawn) == {"vst/", "vst/cli.py", "vst/networks/", "vst/networks/layers.py", "train.py"}
    assert tree_paths(plain) == {"train.py", "stylize.py", "vst/", "vst/cli.py", "vst/networks/layers.py"}


def test_links_of_the_documents_lead_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        text = document.read_text()
        assert "@@" not in text, f"{document.name} has a place to fill in"
        for link in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_the_readme_names_every_file() -> None:
    named = tree_paths((ROOT / "README.md").read_text())
    missing = sorted(path for path in named if not any(ROOT.glob(path.rstrip("/"))))
    assert not missing, f"the README names files that do not exist: {missing}"
    files = [*ROOT.glob("*.py"), *(ROOT / "conf").glob("*.yaml")]
    for package in ("vst", "data_modules", "callbacks"):
        files += [path for path in (ROOT / package).rglob("*.py") if path.name != "__init__.py"]
    unnamed = sorted({path.relative_to(ROOT).as_posix() for path in files} - named)
    assert not unnamed, f"the README's file tree does not name {unnamed}"


def test_what_paints_does_not_wait_for_what_trains() -> None:
    """Lightning and torchmetrics are more than half of what a command would load."""
    code = "import sys, vst.commands.live, vst.commands.studio, vst.commands.stylize; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert not {"pytorch_lightning", "torchmetrics", "wandb", "kornia"} & set(loaded.split())
