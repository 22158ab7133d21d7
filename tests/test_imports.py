"""Who may import whom: only rooms on lower floors, or the same room."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import vaecli

PACKAGE = Path(vaecli.__file__).parent
FLOORS = (
    {"utils"},
    {"flows", "plots"},
    {"architectures", "datasets", "decoders", "posteriors", "priors", "optimizers", "schedulers", "runs"},
    {"config"},
    {"models"},
    {"objectives"},
    {"analysis"},
    {"training"},
    {"commands"},
    {"__init__", "__main__"},
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "conf" not in path.parts)


def room(module: Path) -> str:
    """The first part of a module's path: its folder's name, or its own."""
    return module.parts[0].removesuffix(".py")


def imported(module: Path) -> list[str]:
    """Everything that a module imports, by full name, wherever in it."""
    found = []
    for node in ast.walk(ast.parse((PACKAGE / module).read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@functools.cache
def imports() -> dict[Path, list[str]]:
    """Those of all modules."""
    return {module: imported(module) for module in MODULES}


def test_imports_run_downward() -> None:
    """Also: rooms of one floor do not know each other, and every room has a floor."""
    assert FLOOR.keys() == {room(module) for module in MODULES}
    for module, names in imports().items():
        own = [name.split(".") for name in names if name.split(".")[0] == "vaecli"]
        for parts in own:
            if parts[1:] in ([], ["__version__"]) or parts[1] == room(module):
                continue
            assert FLOOR[parts[1]] < FLOOR[room(module)], f"{module} imports {'.'.join(parts)}, which is not below it"


def test_rooms_that_keep_to_themselves() -> None:
    """Only config/ knows Hydra; architectures, plots and the trainer know no probability and no model."""
    for module, names in imports().items():
        packages = {name.split(".")[0] for name in names}
        if room(module) != "config":
            assert not {"hydra", "omegaconf"} & packages, f"{module} imports Hydra or OmegaConf"
        if room(module) in {"architectures", "plots"} or module in {
            Path("training/trainer.py"),
            Path("training/step.py"),
        }:
            assert not any("torch.distributions" in name or "models.vae" in name for name in names), module
            assert "VAE" not in (PACKAGE / module).read_text(), module


def test_inner_init_files_are_empty() -> None:
    inner = [module for module in MODULES if module.name == "__init__.py" and len(module.parts) > 1]
    assert inner
    assert not [module for module in inner if (PACKAGE / module).read_text()]


@pytest.mark.parametrize("name", ["vaecli", "vaecli.__main__", "vaecli.config.help", "vaecli.config.completion"])
def test_what_answers_at_once_imports_no_torch(name: str) -> None:
    code = f"import sys, {name}; print([m for m in ('torch', 'hydra', 'matplotlib', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
