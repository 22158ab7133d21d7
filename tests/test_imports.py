"""Who may import whom: only strictly lower rows, or the same folder."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vaecli

PACKAGE = Path(vaecli.__file__).parent
ROWS = (
    ("text", "threads", "sweeps", "command_line", "streams"),
    ("errors",),
    ("validation", "files", "conf_files", "flows", "memory", "pareto", "units"),
    ("plain_files",),
    ("activations",),
    (
        "architectures",
        "datasets",
        "decoders",
        "posteriors",
        "priors",
        "optimizers",
        "schedulers",
        "plots",
        "differences",
        "options",
        "data_access",
    ),
    ("vae", "help", "run_table"),
    ("objectives",),
    ("evaluation",),
    ("likelihood", "latents", "latent_search", "training"),
    ("modes", "quadrature"),
    ("build",),
    ("runs",),
    ("commands",),
    ("hydra_app",),
    ("cli",),
    ("__init__", "__main__"),
)
ROW = {name: i for i, names in enumerate(ROWS) for name in names}
CONFIGURATION = {"hydra", "omegaconf"}
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if "conf" not in path.parts)


def place(module: Path) -> str:
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


IMPORTED = {module: imported(module) for module in MODULES}


def test_imports_come_from_lower_rows() -> None:
    missing = {place(module) for module in MODULES} - ROW.keys()
    assert not missing, "these have no row in this file's table: give them the lowest that their imports allow"
    wrong = [
        f"{module} imports {name}" for module, names in IMPORTED.items() for name in names if not below(module, name)
    ]
    assert not wrong


def below(module: Path, name: str) -> bool:
    """Whether a module may import a name: not vaecli's, of its own place, or of a lower row."""
    parts, here = name.split("."), place(module)
    if parts[0] != "vaecli" or parts[1:] in ([], ["__version__"]) or parts[1] == here:
        return True
    return ROW.get(parts[1], -1) < ROW[here]


def test_only_the_outer_rows_know_hydra() -> None:
    know = [module for module, names in IMPORTED.items() if CONFIGURATION & {name.split(".")[0] for name in names}]
    assert {place(module) for module in know} <= {"hydra_app", "sweeps", "commands"}


def test_rows_are_no_wish_list() -> None:
    """A row names what exists."""
    assert ROW.keys() <= {place(module) for module in MODULES}


@pytest.mark.parametrize("folder", ["architectures", "training/trainer.py"])
def test_what_knows_no_probability_or_model(folder: str) -> None:
    for module in MODULES:
        if not str(module).startswith(folder):
            continue
        assert not any(
            "torch.distributions" in name or name.startswith("vaecli.models.vae") for name in IMPORTED[module]
        )
        assert "VAE" not in (PACKAGE / module).read_text()


def test_inner_init_files_are_empty() -> None:
    inner = [module for module in MODULES if module.name == "__init__.py" and len(module.parts) > 1]
    assert [module for module in inner if (PACKAGE / module).read_text()] == []


@pytest.mark.parametrize("name", ["vaecli", "vaecli.__main__", "vaecli.config.help"])
def test_what_answers_at_once_imports_no_torch(name: str) -> None:
    code = f"import sys, {name}; print([m for m in ('torch', 'hydra', 'matplotlib', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
