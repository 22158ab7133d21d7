"""`vae fit`: the latents whose decoding lies closest to a target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from vaecli.analysis.latent_search import Fit, Method, fit
from vaecli.analysis.latent_space import prior_radius
from vaecli.commands._figures import write_figure
from vaecli.commands._inputs import check_indices, load_split, observations_at, read_input
from vaecli.commands._keys import DrawKeys, ObservedKeys
from vaecli.datasets.checks import check_finite
from vaecli.datasets.split import Split
from vaecli.models.load import Run
from vaecli.utils.errors import UserError
from vaecli.utils.progress import Countdown
from vaecli.utils.text import figure, plural
from vaecli.utils.types import NonNegativeInt, PositiveFloat

PRIOR_SHARE = 0.999  # of draws from the prior; latents beyond them lie far from it


@dataclass
class Config(ObservedKeys, DrawKeys):
    FILE = "fit.png"
    alpha: PositiveFloat | None
    beta: PositiveFloat | None
    index: NonNegativeInt | None
    method: Method | None
    restarts: NonNegativeInt

    @property
    def factors(self) -> dict[str, float]:
        """The given parameters of a curve."""
        return {name: value for name, value in (("alpha", self.alpha), ("beta", self.beta)) if value is not None}


def main(config: Config, run: Run) -> Path:
    """Print the latents found and their residual norm, draw target and fit; the path written."""
    name, x = target(run, config)
    with Countdown("searching", 2 * (1 + config.restarts)) as tick:
        best = fit(run.model, x, config.method, config.restarts, config.seed, tick)
    report(best, prior_radius(run.model, PRIOR_SHARE))
    title = config.heading(run, f"{name}: residual norm {best.norm:.4f}")
    write_figure(config.target, config.view(run).fit(x, best.x, title))
    return config.target


def target(run: Run, config: Config) -> tuple[str, Tensor]:
    """The name of the target, and the target (*x_shape)."""
    known, factors = run.dataset.factors, config.factors
    if factors and not known:
        raise UserError(f"alpha= and beta= name a Beta curve, but {run.folder} was not trained on dataset=beta: "
                        "give input=FILE or index=i")  # fmt: skip
    if factors and (config.input is not None or config.index is not None):
        raise UserError("more than one target: give alpha= and beta=, or input=FILE, or index=i")
    if missing := [name for name in known if factors and name not in factors]:
        raise UserError(f"a Beta curve has two parameters: give {missing[0]}= too")
    if factors:
        curve = run.dataset.observation(**factors)
        check_finite(" ".join(f"{name}={value:g}" for name, value in factors.items()), Split(curve.unsqueeze(0)))
        return ", ".join(f"{name} {value:g}" for name, value in factors.items()), curve
    if config.input is not None:
        which = "" if config.index is None else f"observation {config.index} of "
        return f"{which}{figure(Path(config.input).name)}", one_of_file(run, config.input, config.index)
    if config.index is None:
        also = f"{' and '.join(f'{name}=' for name in known)}, " if known else ""
        raise UserError(f"no target: give {also}input=FILE or index=i")
    named, split = [("index", config.index)], load_split(run, config.split)
    return f"{config.split} observation {config.index}", observations_at(
        run, split, config.split, named, config.seed
    ).x[0]


def one_of_file(run: Run, name: str, index: int | None) -> Tensor:
    x = read_input(run, name).x
    if index is None and len(x) > 1:
        raise UserError(f"input={name}: holds {len(x)} observations; choose one of them with index=i")
    check_indices([("index", index or 0)], f"input={name}", len(x))
    return x[index or 0]


def report(best: Fit, radius: float | None) -> None:
    """The latents, how they were found, and whether they lie far from the prior.

    radius: that of the ball that holds a share PRIOR_SHARE of the prior; None: not known
    """
    near = sum(norm < 1.001 * best.norm for norm in best.norms)
    print(f"z {', '.join(f'{value:.4f}' for value in best.z.tolist())}")
    print(f"z norm {best.z.norm():.4f}")
    if radius is not None and best.z.norm() > radius:
        print(f"z lies far from the prior: {100 * PRIOR_SHARE:g} % of its draws have a norm below {radius:.4f}")
    print(f"residual norm {best.norm:.4f}")
    print(f"{best.method}: {plural(best.iterations, 'iteration')}, {plural(best.evaluations, 'evaluation')}; "
          f"{near} of {len(best.norms)} starts ended here")  # fmt: skip
