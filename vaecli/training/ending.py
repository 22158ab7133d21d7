"""The end of a training run: its figures on the test split."""

from __future__ import annotations

from collections.abc import Collection

from vaecli.runs import checkpoint
from vaecli.runs.folder import RunFolder
from vaecli.runs.logger import RunLogger
from vaecli.runs.tensorboard import WHOLE_RUN_TAG
from vaecli.training.candidates import or_nan
from vaecli.training.progress import terms
from vaecli.training.setup import TrainingSetup
from vaecli.training.summary import hyperparameters, latents_in_use
from vaecli.training.totals import mean_metrics
from vaecli.training.trainer import Trainer
from vaecli.utils.command_line import tensorboard_command
from vaecli.utils.errors import UserError
from vaecli.utils.progress import duration
from vaecli.utils.ranks import broadcast_tensors, leads


def report_test_figures(setup: TrainingSetup, logger: RunLogger, trainer: Trainer, swept: Collection[str] = ()) -> None:
    """The test figures of the best checkpoints, for summary.json, TensorBoard and the user; swept: see `hparams`."""
    own, *others = trainer.candidates
    test = {}
    for candidate in [*others, own]:  # the model keeps the weights evaluated last
        test[f"test{candidate.suffix}"] = test_figures(setup, logger.folder, trainer, candidate.name)
    test = dict(reversed(test.items()))
    figures = {f"{WHOLE_RUN_TAG}{name}_{key}": value for name, means in test.items() for key, value in means.items()}
    figures |= {f"{WHOLE_RUN_TAG}best_{key}": or_nan(getattr(own.best, key)) for key in ("elbo", "bound")}
    logger.hparams(hyperparameters(setup.config), figures, trainer.epoch, swept)
    latents, used, few = latents_in_use(setup)
    logger.flush()  # a run that is marked completed does not write its figures again
    logger.summarise(latents, status="pruned" if trainer.pruned else "completed", epochs=trainer.epoch, **test)
    for candidate in trainer.candidates:
        logger.say(
            f"test{candidate.remark} {terms(test[f'test{candidate.suffix}'])}"
            f"  (best checkpoint, epoch {candidate.best.epoch}; {duration(logger.seconds)})"
        )
    logger.say(used, style="yellow" if few else "")
    logger.say(f"wrote {logger.folder}  ({tensorboard_command(logger.folder.path)})")


def test_figures(setup: TrainingSetup, folder: RunFolder, trainer: Trainer, which: str) -> dict[str, float]:
    """The mean metrics of a checkpoint on the test split."""
    path = folder.checkpoint(which)
    try:
        if leads():
            setup.model.load_state_dict(checkpoint.load(path)["model"])
    except RuntimeError as error:
        raise UserError(f"{path} does not fit the run's configuration: {checkpoint.summary(error)}") from None
    broadcast_tensors(list(setup.model.state_dict().values()))
    means = mean_metrics(setup.model, setup.objective, setup.splits.test, trainer.step)
    return {key: means[key] for key in ("elbo", "bound", "log_px", "kl")}
