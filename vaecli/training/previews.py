"""Pictures of data, reconstructions and samples while a model trains."""

from __future__ import annotations

from matplotlib.figure import Figure
from torch import Tensor

from vaecli.analysis.metrics import active_units, kl_per_dim
from vaecli.datasets.split import Splits
from vaecli.models.inference import evaluating
from vaecli.models.vae import VAE
from vaecli.plots.training import curves
from vaecli.plots.view import View, figure_array, png
from vaecli.runs.logger import RunLogger
from vaecli.runs.tensorboard import VIEW_TAG, WHOLE_RUN_TAG
from vaecli.utils.ranks import leads
from vaecli.utils.text import figure as figure_text
from vaecli.utils.text import plural

PREVIEW_OBSERVATIONS = 10_000  # observations from which the latents in use are counted
MAX_PREVIEWS = 10  # of a run that does not set the interval


class Pictures:
    """Draws the data once, and reconstructions, samples and the latents in use every few epochs."""

    def __init__(
        self, model: VAE, splits: Splits, view: View, logger: RunLogger, every: int | None, epochs: int
    ) -> None:
        self.run = figure_text(logger.folder.title)
        self.model, self.splits, self.view, self.logger = model, splits, view, logger
        self.every, self.epochs = every or max(5, -(-epochs // MAX_PREVIEWS)), epochs
        self.watched = (splits.val or splits.train).head(PREVIEW_OBSERVATIONS)

    def data(self) -> None:
        if not leads():
            return
        with evaluating(self.model):
            x = self.splits.train.batch(slice(0, self.view.default_samples)).cpu()
        title = f"{plural(len(x), 'training observation')}\n{self.run}"
        self.write("data", self.view.data(x, title), 0, numbered=False)

    def epoch_done(self, epoch: int) -> None:
        if (epoch % self.every and epoch != self.epochs) or not leads():
            return
        with evaluating(self.model):
            x = self.watched.batch(slice(0, self.view.watched_observations))
            again = self.model.decode(self.model.encode(x).mean).mean
            p_x = self.model.sample(self.view.default_samples)
            draws = self.view.show_draws or self.model.decoder.counts
            new = p_x.sample() if draws else p_x.mean
        self.draw(epoch, x.cpu(), again.cpu(), new.cpu(), draws)
        kl = kl_per_dim(self.model, self.watched)
        if kl is not None:
            self.logger.events.histogram(f"{VIEW_TAG}kl_per_dim", kl, epoch)
        active = int(active_units(self.model, self.watched).sum())
        self.logger.events.scalar(f"{WHOLE_RUN_TAG}active_units", active, epoch)

    def draw(self, epoch: int, x: Tensor, again: Tensor, new: Tensor, draws: bool) -> None:
        what, source = "validation" if self.splits.val else "training", f"{self.run}, epoch {epoch}"
        title = f"{len(x)} {what} observations and their reconstructions, means of p(x|z)\n{source}"
        self.write("reconstructions", self.view.reconstructions(x, [("reconstruction", again)], title=title), epoch)
        mode = "draws from" if draws else "means of"
        self.write("samples", self.view.samples(new, f"{len(new):,} samples, {mode} p(x|z)\n{source}"), epoch)

    def curves(self) -> None:
        if not self.logger.history or not leads():  # interrupted before the first epoch's end
            return
        self.write("curves", curves(self.logger.history, self.run), self.logger.history[-1]["epoch"], numbered=False)

    def write(self, name: str, figure: Figure, epoch: int, numbered: bool = True) -> None:
        pixels = figure_array(figure)
        self.logger.picture(name, png(pixels), pixels.shape[:2], epoch, numbered)
