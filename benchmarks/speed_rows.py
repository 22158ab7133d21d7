"""Rows of benchmarks/speed.py that are not vaecli: matrix products alone, a plain loop, the same with a DataLoader."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Case(NamedTuple):
    """What is trained."""

    widths: tuple[int, ...]  # from the data to the latents; () for convolutions
    batch: int
    samples: int = 1  # L
    k: int = 1
    bernoulli: bool = True  # else a Gaussian of unit scale
    dynamic: bool = False  # binary images are drawn from the grey values at each use
    activation: str = "relu"
    words: tuple[str, ...] = ()  # of vae-train

    @property
    def pictures(self) -> bool:
        return not self.widths or self.widths[0] == 784

    def text(self) -> str:
        return json.dumps(self._asdict())


class Row:
    """One way of taking the steps of an epoch over x (N, ...)."""

    def __init__(self, case: Case, x: Tensor) -> None:
        self.case, self.x = case, x
        self.draws = case.samples * case.k

    def timed(self, clock: Callable[[], float]) -> float:
        started = clock()
        self.epoch()
        return clock() - started

    def epoch(self) -> None:
        raise NotImplementedError


class Floor(Row):
    """The matrix products of a step, forward and both backward ones; the first layer needs no gradient of its input."""

    def __init__(self, case: Case, x: Tensor) -> None:
        super().__init__(case, x)
        inner, rows = case.widths, case.batch * self.draws
        encoder = [(case.batch, *pair) for pair in zip(inner, [*inner[1:-1], 2 * inner[-1]], strict=False)]
        decoder = [(rows, *pair) for pair in zip(inner[::-1], inner[-2::-1], strict=False)]
        self.shapes = [(torch.randn(n, a), torch.randn(b, a), torch.randn(n, b)) for n, a, b in [*encoder, *decoder]]

    def epoch(self) -> None:
        with torch.no_grad():
            for _ in range(len(self.x) // self.case.batch):
                for a, w, _ in self.shapes:
                    torch.mm(a, w.t())
                for i, (a, w, g) in enumerate(self.shapes):
                    torch.mm(g.t(), a)
                    if i:
                        torch.mm(g, w)


class Eager(Row):
    """A plain loop over data in memory."""

    def __init__(self, case: Case, x: Tensor) -> None:
        super().__init__(case, x)
        self.encoder, self.decoder = networks(case)
        self.optimizer = torch.optim.Adam([*self.encoder.parameters(), *self.decoder.parameters()], lr=1e-3)

    def epoch(self) -> None:
        for x in self.batches():
            loss = self.loss(torch.bernoulli(x) if self.case.dynamic else x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def batches(self) -> Iterator[Tensor]:
        for index in torch.randperm(len(self.x)).split(self.case.batch):
            x = self.x[index]
            yield x / 255 if self.case.pictures else x

    def loss(self, x: Tensor) -> Tensor:
        case = self.case
        x = x if not case.widths else x.flatten(1)
        loc, log_scale = self.encoder(x).chunk(2, -1)
        noise = torch.randn(self.draws, *loc.shape)
        z = loc + log_scale.exp() * noise
        out = self.decoder(z.flatten(0, 1)).view(self.draws, *x.shape)
        target = x.expand_as(out)
        if case.bernoulli:
            log_px = -F.binary_cross_entropy_with_logits(out, target, reduction="none").flatten(2).sum(-1)
        else:
            log_px = -0.5 * ((target - out).square().sum(-1) + out[0, 0].numel() * 1.8378770664093453)
        if case.k > 1:
            log_ratio = (0.5 * (noise.square() - z.square()) + log_scale).sum(-1)
            return -(log_px + log_ratio).logsumexp(0).mean()
        kl = 0.5 * (loc.square() + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
        return kl.mean() - log_px.mean()


class Dataloader(Eager):
    """The same loop, fed item by item."""

    def __init__(self, case: Case, x: Tensor) -> None:
        super().__init__(case, x)
        self.loader = DataLoader(Items(x, case.pictures), batch_size=case.batch, shuffle=True)

    def batches(self) -> Iterator[Tensor]:
        yield from self.loader


class Items(Dataset[Tensor]):
    """Observations as torchvision's MNIST gives them: a picture each, made a tensor by ToTensor."""

    def __init__(self, x: Tensor, pictures: bool) -> None:
        self.x, self.pictures = x, pictures

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int) -> Tensor:
        from PIL import Image
        from torchvision.transforms.functional import to_tensor

        if not self.pictures:
            return self.x[i]
        found: Tensor = to_tensor(Image.fromarray(self.x[i, 0].numpy()))
        return found


def networks(case: Case) -> tuple[nn.Module, nn.Module]:
    """Encoder and decoder: multilayer perceptrons, or the convolutions of architecture=conv for 28 x 28 pixels."""
    if case.widths:
        inner = case.widths
        return stack([*inner[:-1], 2 * inner[-1]], case.activation), stack([*inner[::-1]], case.activation)
    encoder = nn.Sequential(
        nn.Conv2d(1, 32, 3, 2, 1), nn.ReLU(), nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(), nn.Flatten(),
        nn.Linear(64 * 49, 256), nn.ReLU(), nn.Linear(256, 40),
    )  # fmt: skip
    decoder = nn.Sequential(
        nn.Linear(20, 256), nn.ReLU(), nn.Linear(256, 64 * 49), nn.ReLU(), nn.Unflatten(-1, (64, 7, 7)),
        nn.ConvTranspose2d(64, 32, 4, 2, 1), nn.ReLU(), nn.ConvTranspose2d(32, 32, 4, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 1, 3, 1, 1),
    )  # fmt: skip
    return encoder, decoder


def stack(sizes: list[int], activation: str) -> nn.Module:
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), nn.Tanh() if activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])
