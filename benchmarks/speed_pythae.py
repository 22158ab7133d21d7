"""The pythae row of benchmarks/speed.py: its own trainer; waits for a line, takes an epoch, prints its seconds.

python benchmarks/speed_pythae.py CASE STEPS CLOCK DATA, with CASE as speed_rows.Case.text() writes it. The networks are
those of the other rows; pythae's binary cross-entropy wants probabilities, so that the decoder ends in a sigmoid.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from speed_data import images
from speed_rows import Case, networks
from torch import Tensor


class Encoder(BaseEncoder):  # type: ignore[misc]
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.latent_dim, self.layers = case.widths[-1], networks(case)[0]

    def forward(self, x: Tensor) -> ModelOutput:
        loc, log_scale = self.layers(x.flatten(1)).chunk(2, -1)
        return ModelOutput(embedding=loc, log_covariance=2 * log_scale)


class Decoder(BaseDecoder):  # type: ignore[misc]
    def __init__(self, case: Case) -> None:
        super().__init__()
        self.layers = networks(case)[1]

    def forward(self, z: Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.layers(z).sigmoid().view(-1, 1, 28, 28))


def trainer(case: Case, steps: int, place: str, folder: str) -> BaseTrainer:
    """A trainer whose first epoch is due."""
    x = torch.from_numpy(images(folder, steps * case.batch)).view(-1, 1, 28, 28) / 255
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=case.widths[-1], reconstruction_loss="bce")
    settings = BaseTrainerConfig(
        output_dir=place, num_epochs=1, per_device_train_batch_size=case.batch, learning_rate=1e-3, no_cuda=True
    )
    data = BaseDataset(x, torch.zeros(len(x)))
    found = BaseTrainer(VAE(config, Encoder(case), Decoder(case)), data, training_config=settings, callbacks=[])
    found.prepare_training()
    return found


def main(text: str, steps: str, clock_name: str, folder: str) -> None:
    logging.disable()
    case, clock = Case(**json.loads(text)), time.process_time if clock_name == "cpu" else time.perf_counter
    with tempfile.TemporaryDirectory() as place:
        one = trainer(case, int(steps), place, folder)
        one.train_step(0)
        for epoch, _ in enumerate(sys.stdin, start=1):
            started = clock()
            one.train_step(epoch)
            print(clock() - started, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
