"""Two and three processes that share each batch take the steps of one, whatever the options and the batches' sizes."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.configurations import composed
from support.making import prepare
from support.processes import in_child
from torch import Tensor, distributed

from vaecli.datasets.reading import numpy_files
from vaecli.models.build import calibrate
from vaecli.training.parallel import SharedPasses
from vaecli.training.parts import parts
from vaecli.training.step import Update
from vaecli.training.totals import Totals, mean_metrics
from vaecli.utils.ranks import broadcast_text, share_of, sharing

SMALL = ("dataset=digits", "dataset.limit=30", "batch_size=7", "latent_dim=3", "architecture=mlp",
         "architecture.hidden=[8]", "architecture.activation=tanh", "optimizer=sgd", "optimizer.lr=0.002",
         "scheduler=constant", "device=cpu", "seed=1", "decoder=bernoulli")  # fmt: skip
OPTIONS = {
    "elbo": ("samples=2",),
    "redrawn": ("dataset.binarize=dynamic",),
    "capacity": ("objective=capacity", "objective.capacity=3"),
    "free_bits": ("objective=free_bits", "objective.free_bits=0.05"),
    "optimal sigma": ("decoder=gaussian_optimal",),
    "vamp": ("prior=vamp", "prior.components=5"),
    "mixture": ("prior=mixture", "objective=stl"),
    "iwae": ("objective=iwae", "objective.k=3", "posterior=gaussian_full"),
    "dreg": ("objective=dreg", "objective.k=3"),
    "flow": ("posterior=flow",),
    "flow prior": ("prior=flow", "ema.decay=0.9"),
    "conv": ("architecture=conv", "~architecture.hidden", "~architecture.activation"),
}


def outcome(words: tuple[str, ...]) -> dict[str, Tensor]:
    """Weights, mean figures and random state after five steps, the last of which has two observations."""
    given = {word.partition("=")[0]: word for word in (*SMALL, *words)}
    kept = [word for key, word in given.items() if not key.startswith("~") and f"~{key}" not in given]
    setup = prepare(composed(*kept))
    update = Update(setup.model, setup.objective, setup.optimizer, setup.scheduler, setup.average)
    if distributed.is_initialized():
        update.passes = SharedPasses(update.loss)
    torch.manual_seed(5)
    totals = Totals()
    for step, part in enumerate(parts(setup.splits.train, torch.arange(30), 7)):
        with sharing(part.share):
            totals.add(update(part.observations(), step, lambda estimate: None))
    calibrate(setup.model, setup.splits.train)
    figures = {"train": totals.means(), "val": mean_metrics(setup.model, setup.objective, setup.splits.test)}
    means = {f"{split} {name}": torch.tensor(value) for split, one in figures.items() for name, value in one.items()}
    return {**setup.model.state_dict(), **means, "rng": torch.get_rng_state().double()}


def of_processes(n: int, names: list[str], folder: Path) -> list[dict[str, dict[str, Tensor]]]:
    """The outcomes of these options in each of n processes."""

    def work(rank: int) -> None:
        os.environ |= {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": str(n), "RANK": str(rank)}
        store = distributed.FileStore(str(folder / "store"), n)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=n)
        found = {name: outcome(OPTIONS[name]) for name in names}
        assert broadcast_text(f"from {rank}: ü") == "from 0: ü"
        torch.save(found, folder / f"{rank}.pt")
        distributed.barrier()

    importlib.import_module("torch._dynamo")  # torch's optimizers want it: here once, not in every child
    children = []
    for rank in range(n):
        pid = os.fork()
        if pid == 0:
            os._exit(in_child(lambda rank=rank: work(rank)) and 1)  # type: ignore[misc]
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * n
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(n)]


@pytest.mark.parametrize(("n", "names"), [
    (3, ["redrawn", "optimal sigma", "capacity", "free_bits", "vamp", "dreg", "flow prior"]),
    *(pytest.param(n, list(OPTIONS), marks=pytest.mark.scale) for n in (2, 3)),
])  # fmt: skip
def test_processes_that_share_batches_take_the_steps_of_one(n: int, names: list[str], tmp_path: Path) -> None:
    """The last batch has fewer observations than three processes: one of them counts none."""
    ranks = of_processes(n, names, tmp_path)
    for name in names:
        check(name, ranks, outcome(OPTIONS[name]))


def check(name: str, ranks: list[dict[str, dict[str, Tensor]]], expected: dict[str, Tensor]) -> None:
    """The processes' outcomes of an option are those of one process, and the same in all."""
    for own in ranks:
        assert own[name].keys() == expected.keys()
        for key, value in expected.items():
            torch.testing.assert_close(own[name][key], value, rtol=2e-5, atol=2e-5, msg=f"{name}: {key}")
            assert torch.equal(own[name][key], ranks[0][name][key]), f"{name}: {key}"
        assert torch.equal(own[name]["rng"], expected["rng"]), name


def test_processes_read_their_shares_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mapped array and a folder of images that are too large for memory, beside one process that holds them."""
    values = np.random.default_rng(0).integers(0, 255, (40, 4, 4, 3), dtype=np.uint8)
    np.save(tmp_path / "rows.npy", values.reshape(40, 48) / np.float32(255))
    (tmp_path / "pictures").mkdir()
    for i, picture in enumerate(values):
        Image.fromarray(picture).save(tmp_path / "pictures" / f"{i}.png")
    paths = {"arrays": tmp_path / "rows.npy", "images": tmp_path / "pictures"}
    for name, path in paths.items():
        words = (f"dataset={name}", f"dataset.path={path}", "~dataset.limit", "decoder=gaussian_fixed")
        monkeypatch.setitem(OPTIONS, name, words)
    held = {name: outcome(OPTIONS[name]) for name in paths}
    monkeypatch.setattr(numpy_files, "MAP_ABOVE", 0)
    ranks = of_processes(2, list(paths), tmp_path)
    for name in paths:
        check(name, ranks, held[name])


def test_shares_cover_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "test")
    for n in (2, 3, 8):
        monkeypatch.setenv("WORLD_SIZE", str(n))
        for total in (1, 2, 7, 128):
            shares = []
            for rank in range(n):
                monkeypatch.setenv("RANK", str(rank))
                shares.append(share_of(total))
            covered = [i for share in shares if share.counts for i in range(share.start, share.stop)]
            assert covered == list(range(total))
            sizes = [share.stop - share.start for share in shares]
            assert max(sizes) - min(sizes) <= 1
