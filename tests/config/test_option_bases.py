"""Base classes of the groups: what a user's own option forgets is said in one sentence, and it need not inherit."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import torch
from support.command_line import forked
from support.configurations import composed
from support.making import instantiate, options
from torch import nn
from torch.distributions import Distribution, Independent, Normal

from vaecli.config.bases import GROUPS, as_option
from vaecli.config.catalog import groups
from vaecli.objectives.base import Estimate, Objective
from vaecli.priors.base import Prior
from vaecli.utils.errors import UserError

HEAD = {
    "prior": "from vaecli.priors.base import Prior as Base\n",
    "posterior": "from vaecli.posteriors.base import Posterior as Base\n",
    "decoder": "from vaecli.decoders.base import Decoder as Base\n",
    "architecture": "from vaecli.architectures.base import Architecture as Base\n",
    "objective": "from vaecli.objectives.base import Objective as Base\n",
    "dataset": "from vaecli.datasets.base import Dataset as Base\n",
}
FORGOTTEN = {
    "prior": "forward(encode)",
    "posterior": "forward(features)",
    "decoder": "forward(params)",
    "architecture": "decoder(latent_dim, n_params, x_shape)",
    "objective": "__call__(model, x, step)",
    "dataset": "load()",
}


def package(folder: Path, group: str, text: str) -> None:
    """A package `mine` of the user's with a class Mine, and its YAML."""
    (folder / "mine").mkdir()
    (folder / "mine" / "__init__.py").write_text(text)
    (folder / "conf" / group).mkdir(parents=True)
    (folder / "conf" / group / "own.yaml").write_text("# my own\n_target_: mine.Mine\nname: own\n")


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_inherits_from_its_base(group: str) -> None:
    base = getattr(importlib.import_module(f"vaecli.{group}s.base"), group.capitalize())
    for name in groups()[group]:
        assert issubclass(options(composed(f"{group}={name}")).option_class(group), base)  # type: ignore[arg-type]


@pytest.mark.parametrize("group", GROUPS)
def test_a_forgotten_method_is_said_at_import(group: str) -> None:
    body = "    def encoder(self, x_shape, n_features):\n        pass\n" if group == "architecture" else "    pass\n"
    with pytest.raises(UserError) as refused:
        exec(HEAD[group] + "class Mine(Base):\n" + body, {"__name__": "mine"})
    assert f"class Mine does not define {FORGOTTEN[group]}" in str(refused.value)


REFUSED = [
    (HEAD["prior"] + "class Mine(Base):\n    pass\n",
     "cannot import 'mine.Mine': class Mine does not define forward(encode), which every Prior needs"),
    (HEAD["prior"] + "class Mine(Base):\n    def forward(self):\n        pass\n",
     "cannot import 'mine.Mine': class Mine: every Prior is called as forward(encode), but here forward has"),
    ("from torch import nn\nclass Mine(nn.Module):\n    pass\n",
     "prior._target_=mine.Mine: class Mine does not define forward(encode), which every Prior needs"),
    ("class Mine:\n    def forward(self, encode):\n        pass\n",
     "prior._target_=mine.Mine: mine.Mine is not a Module: derive it from vaecli.priors.base.Prior"),
    (HEAD["prior"] + "class Mine(Base):\n    def forward(self, encode):\n        pass\n",
     "cannot import 'mine.Mine': class Mine: every Prior is made with latent_dim, x_shape, but here __init__ "
     "does not take latent_dim"),
    (HEAD["prior"] + "class Mine(Base):\n    def __init__(self, latent_dim):\n        pass\n"
     "    def forward(self, encode):\n        pass\n",
     "cannot import 'mine.Mine': class Mine: every Prior is made with latent_dim, x_shape, but here __init__ "
     "does not take x_shape"),
    ("def Mine(latent_dim, x_shape):\n    pass\n",
     "prior._target_=mine.Mine: prior cannot be mine.Mine, which is not a class"),
    (HEAD["prior"] + "class Mine(Base, abstract=True):\n    pass\n",
     "prior._target_=mine.Mine: mine.Mine is an abstract class"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[
    "forgotten", "parameters", "no parent", "no module", "no init", "init", "function", "abstract"])  # fmt: skip
def test_what_a_users_class_lacks_is_said_in_a_line(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path, "prior", text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError) as refused:
        instantiate({"prior": {"_target_": "mine.Mine", "name": "own"}}, "prior", latent_dim=2, x_shape=(1, 8, 8))
    sys.modules.pop("mine", None)
    assert str(refused.value).startswith(message)
    assert len(str(refused.value).splitlines()) == 1


def test_a_users_package_is_refused_by_the_command(tmp_path: Path) -> None:
    package(tmp_path, "prior", REFUSED[0][0])
    words = ("prior=own", "dataset=digits", "dataset.limit=64", "epochs=1", "output=run")
    done = forked("train", "--config-dir", "conf", *words, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {REFUSED[0][1]}"), done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()


OBJECTIVE = """
from vaecli.objectives.base import Estimate, terms
class Mine:
    def __init__(self, n_samples, steps_per_epoch):
        self.draws = n_samples
    def __call__(self, model, x, step):
        out = model(x, self.draws)
        log_px = out.p_x.log_prob(x).mean(0)
        kl = (out.log_q - out.p_z.log_prob(out.z)).mean(0)
        return Estimate((kl - log_px).mean(), terms(log_px, kl))
"""


def test_an_option_that_does_not_inherit_trains(tmp_path: Path) -> None:
    package(tmp_path, "objective", OBJECTIVE)
    words = ("objective=own", "dataset=digits", "dataset.limit=64", "epochs=1", "latent_dim=2",
             "architecture.hidden=[8]", "output=run")  # fmt: skip
    done = forked("train", "--config-dir", "conf", *words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run/summary.json").read_text())["status"] == "completed"


class Foreign(nn.Module):
    """A prior without the base class."""

    def __init__(self, latent_dim: int, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, encode: object) -> Distribution:
        return Independent(Normal(self.loc, 1.0), 1)


def test_a_foreign_class_gets_the_defaults() -> None:
    made = as_option(Foreign, "prior")(3, (5,))
    assert isinstance(made, Foreign)
    assert isinstance(made, Prior)
    assert made.initialise_from(lambda n: torch.zeros(n, 5)) is None  # type: ignore[func-returns-value]
    assert list(made.state_dict()) == ["loc"]
    assert as_option(Foreign, "prior") is as_option(Foreign, "prior")


def test_an_objective_has_one_draw_by_default() -> None:
    class Constant(Objective):
        def __init__(self, **supplied: int) -> None:
            pass

        def __call__(self, model: nn.Module, x: torch.Tensor, step: int) -> Estimate:  # type: ignore[override]
            raise NotImplementedError

    assert (Constant().n_samples, Constant().k, Constant().own_scores) == (1, 1, False)


def test_what_init_should_set_is_named() -> None:
    config = {"posterior": {"_target_": f"{__name__}.Featureless", "name": "x"}}
    with pytest.raises(UserError, match="Featureless does not set n_features"):
        instantiate(config, "posterior", latent_dim=2)


class Featureless(nn.Module):
    """A posterior that says no number of features."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()

    def forward(self, features: torch.Tensor) -> Distribution:
        raise NotImplementedError
