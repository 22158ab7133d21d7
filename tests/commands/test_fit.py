"""`vae fit`: the nearest decoding is the least-squares solution where that is known, and both methods find it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.optimize import minimize, rosen, rosen_der
from scipy.stats import beta, chi2
from support.command_line import Vae, called, in_both_ways
from torch import Tensor, nn

import vaecli
from vaecli.analysis.latent_search import Method, fit
from vaecli.analysis.latent_space import prior_radius
from vaecli.analysis.side_by_side import minimize_all
from vaecli.commands import fit as command
from vaecli.commands._run import run_command
from vaecli.decoders.gaussian import Gaussian
from vaecli.models.vae import VAE
from vaecli.posteriors.gaussian import Gaussian as Posterior
from vaecli.priors.standard_normal import StandardNormal
from vaecli.utils.errors import UserError

pytestmark = pytest.mark.usefixtures("without_hydra")


class Network(nn.Module):
    """z (N, D) -> (N, 1, P) by any function; a weight for the model to have a device."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.weight = function, nn.Parameter(torch.ones(1))

    def forward(self, z: Tensor) -> Tensor:
        return (self.function(z.double()).to(self.weight.dtype) * self.weight).unsqueeze(1)


def decoding(function: Callable[[Tensor], Tensor], d: int, p: int) -> VAE:
    """A VAE whose mean of p(x|z) is `function`, and whose encoder knows nothing."""
    encoder = nn.Linear(p, 2 * d)
    nn.init.zeros_(encoder.weight)
    nn.init.zeros_(encoder.bias)
    return VAE(encoder, Posterior(d), Network(function), Gaussian((p,), sigma=1.0), StandardNormal(d), d, (p,))


@pytest.mark.parametrize("method", ["nelder-mead", "adam"])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_a_linear_decoder_gives_least_squares(method: Method, d: int) -> None:
    a, b, x = torch.randn(12, d).double(), torch.randn(12).double(), torch.randn(12)
    found = fit(decoding(lambda z: z @ a.T + b, d, 12), x, method, restarts=2)
    z = torch.linalg.lstsq(a, (x.double() - b).unsqueeze(1)).solution[:, 0]
    torch.testing.assert_close(found.z, z, rtol=1e-5, atol=1e-5)
    assert found.norm == pytest.approx(float((a @ z + b - x).norm()), rel=1e-8)
    torch.testing.assert_close(found.x, a @ z + b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["nelder-mead", "adam"])
def test_restarts_find_the_lower_of_two_minima(method: Method) -> None:
    """Squared distance ((z - 1)^2 - 4)^2 + ((z - 3) / 4)^2: 0 at z = 3, and about 1 near -1, where it falls from 0."""
    model = decoding(lambda z: torch.cat([(z - 1) ** 2 - 4, (z - 3) / 4], 1), 1, 2)
    assert fit(model, torch.zeros(2), method, restarts=0).norm == pytest.approx(1, abs=0.05)
    found = fit(model, torch.zeros(2), method, restarts=20)
    assert found.norm == pytest.approx(0, abs=1e-5)
    assert float(found.z) == pytest.approx(3, abs=1e-5)
    assert found.norms[-1] == pytest.approx(1, abs=0.05)


def test_searches_side_by_side_end_as_each_alone() -> None:
    """Rosenbrock's function from three starts, which take different numbers of steps."""
    starts, sizes, ended = np.array([[-1.2, 1.0], [1.01, 1.0], [3.0, -2.0]]), [], []

    def several(points: np.ndarray) -> list[tuple[float, np.ndarray]]:
        sizes.append(len(points))
        return [(float(rosen(z)), rosen_der(z)) for z in points]

    found = minimize_all(several, starts, [{"gtol": 1e-8}] * 3, "BFGS", True, ended.append)
    for one, start in zip(found, starts, strict=True):
        alone = minimize(rosen, start, jac=rosen_der, method="BFGS", options={"gtol": 1e-8})
        assert one.x.tolist() == alone.x.tolist()
        assert (one.nit, one.nfev) == (alone.nit, alone.nfev)
    assert ended == [1, 1, 1]
    assert sum(sizes) == sum(one.nfev for one in found)
    assert len(sizes) == max(one.nfev for one in found)
    assert sizes[0] == 3


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt])
def test_an_error_ends_all_searches(error: type[BaseException]) -> None:
    before = threading.active_count()

    def broken(points: np.ndarray) -> list[float]:
        raise error("no more")

    with pytest.raises(error, match="no more"):
        minimize_all(broken, np.zeros((4, 2)), [{}] * 4, "Nelder-Mead", None)
    for thread in threading.enumerate()[before:]:
        thread.join(10)
    assert threading.active_count() == before


def test_the_method_follows_the_number_of_latents() -> None:
    for d, method in ((1, "nelder-mead"), (4, "nelder-mead"), (5, "adam")):
        a = torch.randn(6, d).double()
        found = fit(decoding(lambda z, a=a: z @ a.T, d, 6), torch.randn(6), restarts=1)  # type: ignore[misc]
        assert found.method == method
        assert len(found.norms) == 2
        assert found.evaluations > found.iterations / 2 > 0


def test_a_fit_leaves_model_and_random_state_alone(beta_run: Path) -> None:
    model, x = vaecli.load(beta_run, device="cpu").model, torch.zeros(100)
    before, state = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    first = fit(model, x, restarts=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.dtype == torch.float32 and p.grad is None for p in model.parameters())
    assert torch.equal(fit(model, x, restarts=3).z, first.z)


def test_both_methods_find_what_was_decoded(beta_run: Path) -> None:
    model = vaecli.load(beta_run, device="cpu").model
    z = torch.tensor([0.3, -0.7])
    with torch.no_grad():
        x = model.decode(z.unsqueeze(0)).mean[0]
    assert fit(model, x).norm < 1e-4
    target = x + torch.linspace(-1, 1, 100) ** 3
    simplex, adam = fit(model, target, "nelder-mead"), fit(model, target, "adam")
    assert simplex.norm == pytest.approx(adam.norm, rel=1e-4)
    with torch.no_grad():  # the norm is that of the latents printed
        again = model.decode(adam.z.float().unsqueeze(0)).mean[0]
    assert float((again - target).norm()) == pytest.approx(adam.norm, rel=1e-3)


@in_both_ways
def test_a_beta_curve_from_the_command_line(vae: Vae, beta_run: Path, tmp_path: Path) -> None:
    done = vae("fit", f"run={beta_run}", "alpha=2.2155", "beta=2.5044", "output=a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (norm,) = re.findall(r"^residual norm (\d+\.\d{4})$", done.stdout, re.MULTILINE)
    (printed,) = re.findall(r"^z (-?\d+\.\d{4}, -?\d+\.\d{4})$", done.stdout, re.MULTILINE)
    assert "far from the prior" not in done.stdout
    assert re.search(r"^nelder-mead: [\d,]+ iterations, [\d,]+ evaluations", done.stdout, re.MULTILINE)
    log_pdf = beta(2.2155, 2.5044).logpdf(np.linspace(0.01, 0.99, 100))
    z = torch.tensor([[float(v) for v in printed.split(", ")]])
    with torch.no_grad():
        x = vaecli.load(beta_run, device="cpu").model.decode(z).mean[0].double().numpy()
    assert np.linalg.norm(x - log_pdf) == pytest.approx(float(norm), abs=2e-3)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 300


def test_latents_far_from_the_prior_are_said(beta_run: Path, tmp_path: Path) -> None:
    with torch.no_grad():
        x = vaecli.load(beta_run, device="cpu").model.decode(torch.tensor([[4.0, 3.0]])).mean
    np.save(tmp_path / "far.npy", x.numpy())
    done = called("fit", f"run={beta_run}", "input=far.npy", "output=a.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "\nz norm 5.0" in done.stdout
    assert "\nz lies far from the prior: 99.9 % of its draws have a norm below 3.7169\n" in done.stdout


@pytest.mark.parametrize("d", [1, 2, 50])
def test_the_radius_of_the_prior(d: int) -> None:
    model = decoding(lambda z: z, d, d)
    assert prior_radius(model, 0.999) == pytest.approx(chi2(d).ppf(0.999) ** 0.5)
    model.prior.scale.mul_(2)  # type: ignore[operator, union-attr]
    assert prior_radius(model, 0.999) is None


DEFAULTS: dict[str, Any] = {
    "checkpoint": "best", "split": "test", "restarts": 1, "seed": 0, "device": "cpu",
    **dict.fromkeys(("alpha", "beta", "input", "index", "method", "output")),
}  # fmt: skip


@pytest.mark.parametrize(
    "args", [{"index": 3}, {"input": "two.npy", "index": 1, "method": "nelder-mead", "restarts": 0}]
)
def test_images_by_index_and_from_a_file(
    digits_run: Path, tmp_path: Path, args: dict[str, Any], monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("two.npy", np.random.default_rng(0).random((2, 8, 8)).astype(np.float32))
    (written,) = run_command(command, {**DEFAULTS, "run": str(digits_run), "output": "a.png", **args})
    assert re.search(r"^residual norm \d+\.\d{4}$", capsys.readouterr().out, re.MULTILINE)
    with Image.open(written) as image:
        assert image.width > image.height


@pytest.mark.parametrize(
    ("run", "args", "message"),
    [
        ("digits_run", {"alpha": 2.0, "beta": 2.0}, "give input=FILE or index=i"),
        ("digits_run", {}, "no target: give input=FILE or index=i"),
        ("beta_run", {}, "no target: give alpha= and beta=, input=FILE or index=i"),
        ("beta_run", {"alpha": 2}, "give beta= too"),
        ("beta_run", {"alpha": -2, "beta": 2}, "alpha=-2: should be greater than 0"),
        ("beta_run", {"alpha": 2, "beta": 2, "index": 1}, "more than one target"),
        ("beta_run", {"index": 1000}, "index=1000: beyond the data; split=test has 1,000 observations"),
        ("beta_run", {"input": "two.npy"}, "holds 2 observations; choose one of them with index=i"),
        ("beta_run", {"input": "two.npy", "index": 2}, "index=2: beyond the data; input=two.npy has 2 observations"),
        ("digits_run", {"input": "two.npy", "index": 0}, "has shape (2, 100); expected (N, 1, 8, 8)"),
        ("beta_run", {"index": 1, "method": "newton"}, "method=newton: should be 'nelder-mead' or 'adam'"),
        ("beta_run", {"index": 1, "restarts": -1}, "restarts=-1: should be greater than or equal to 0"),
        ("beta_run", {"index": 1, "output": "a.npz"}, "output=a.npz: the name ends in .npz"),
    ],
)
def test_bad_input(
    request: pytest.FixtureRequest, tmp_path: Path, run: str, args: dict[str, Any], message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    np.save("two.npy", np.zeros((2, 100), dtype=np.float32))
    with pytest.raises(UserError, match=re.escape(message)):
        run_command(command, {**DEFAULTS, "run": str(request.getfixturevalue(run)), **args})
    assert [path.name for path in tmp_path.iterdir()] == ["two.npy"]


def test_bad_input_ends_with_a_message(digits_run: Path, tmp_path: Path) -> None:
    done = called("fit", f"run={digits_run}", "alpha=2", "beta=2", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: alpha= and beta= name a Beta curve")
    assert "input=FILE or index=i" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
