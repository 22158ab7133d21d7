"""Errors for values that are not finite: they name the first one, and what to try."""

from __future__ import annotations

from torch import Tensor, nn

from vaecli.training.totals import Totals
from vaecli.utils.errors import UserError

TERMS = {
    "log_px": "log p(x|z)",
    "kl": "the KL divergence",
    "bound": "the bound",
    "elbo": "the ELBO",
    "loss": "the loss",
}
GENTLER = "a lower optimizer.lr or clip_grad_norm=1"
REMEDIES = {
    "log_px": f"{GENTLER}, a less confident decoder (a larger decoder.sigma or decoder.min_scale), "
    "or, in a new run, dataset.standardize=true for large numbers",
    "kl": f"{GENTLER}, or a larger posterior.min_scale",
}


def broken_step(model: nn.Module, totals: Totals, epoch: int, step: int, hint: str | None = None) -> UserError:
    """The error for a loss that is not finite in a step of an epoch, the `step`-th since training began.

    totals: the epoch's sums so far, this step's included; hint: a likely cause in the
    data, given in the first steps. The gradients at the parameters are still those of the step before: if they, or the
    weights, are not finite, they came first.
    """
    broken = totals.first_broken()
    assert broken is not None
    row, sums = broken
    before = len(totals.rows) - 1 - row  # how many steps ago; on a GPU the loss is checked only now and then
    gradient, weight = (first_broken(tensors) for tensors in gradients_and_weights(model))
    if before == 0 and gradient:
        return error(f"the gradient of {gradient}", "gradient", f"epoch {epoch}, step {step - 1}", hint)
    if before == 0 and weight:
        return error(f"the weights {weight}", "weights", f"epoch {epoch}, step {step}", hint)
    return broken_term(sums, f"epoch {epoch}, step {step - before}", hint)


def check_weights(model: nn.Module, epoch: int, step: int) -> None:
    """UserError for weights that are not finite after a step: no such state is saved."""
    gradient, weight = (first_broken(tensors) for tensors in gradients_and_weights(model))
    if weight:
        what = f"the gradient of {gradient}" if gradient else f"the weights {weight}"
        raise error(what, "gradient", f"epoch {epoch}, step {step}")


def gradients_and_weights(model: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, model.state_dict()


def broken_term(values: dict[str, float], where: str, hint: str | None = None) -> UserError:
    """The error for the first term, in the order of TERMS, among those that are not finite."""
    term = next((name for name in TERMS if name in values), next(iter(values)))
    return error(f"{TERMS.get(term, term)} became non-finite ({values[term]})", term, where, hint)


def first_broken(tensors: dict[str, Tensor]) -> str | None:
    """`NAME (and 3 more) became non-finite (nan)` for the first of the tensors with such a value; None without one."""
    bad = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if not bad:
        return None
    values = tensors[bad[0]]
    more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
    return f"{bad[0]}{more} became non-finite ({values[~values.isfinite()][0].item()})"


def error(what: str, term: str, where: str, hint: str | None = None) -> UserError:
    if hint is not None:
        return UserError(f"{what} in {where}: {hint}")
    return UserError(
        f"{what} in {where}: try {REMEDIES.get(term, GENTLER)}.\nThe last good checkpoint is kept; training can be "
        "resumed from it with such a change, as in vae-train resume=RUN optimizer.lr=..."
    )
