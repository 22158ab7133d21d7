"""The measurements of benchmarks/tables.py: each takes a seed and an empty folder, and returns figures by name."""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from table_data import LATENTS, SHARES, cells, mixed, table
from torch import nn

SEEN = 150_000  # observations that each training sees
WORDS: list[str] = []  # that every training gets too
PRIORS = ("standard_normal", "mixture", "flow")
for name in ("train", "impute", "sample", "fit_prior", "alarm", "evaluate"):  # once, for all the processes forked below
    importlib.import_module(f"vaecli.commands.{name}")


def vae(*words: str) -> None:
    """A command, silently, in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=run_command, args=(words,))
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"vae {' '.join(words)}: exit code {process.exitcode}")


def run_command(words: tuple[str, ...]) -> None:
    sys.argv = ["vae", *words]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    runpy.run_module("vaecli", run_name="__main__")


def train(rows: pd.DataFrame, folder: Path, latents: int, *words: str) -> None:
    """A run in `folder`, whose parent has the rows as NAME.csv."""
    path = folder.with_suffix(".csv")
    rows.to_csv(path, index=False)
    vae("train", "dataset=arrays", f"dataset.path={path}", f"latent_dim={latents}", f"epochs={SEEN // len(rows)}",
        "images.every_epochs=100000", "device=cpu", f"output={folder}", *words, *WORDS)  # fmt: skip


def rows(name: str, seed: int, folder: Path, priors: Sequence[str] = PRIORS) -> dict[str, float]:
    """Gaps in held-out rows filled, and samples beside the training rows, with each prior."""
    whole = table(name)
    order = np.random.default_rng(seed).permutation(len(whole))
    fifth = len(whole) // 5
    test, known = (whole.iloc[part].reset_index(drop=True) for part in (order[:fifth], order[fifth:]))
    few = ("dataset.test_fraction=0.02", f"seed={seed}")
    train(known, folder / "standard_normal", LATENTS[name], *few)
    found = gaps(seed, folder, known, test)
    for prior in priors:
        if prior != "standard_normal":
            train(known, folder / prior, LATENTS[name], f"prior={prior}", *few)
            vae("fit_prior", f"run={folder}/standard_normal", f"prior={prior}", f"output={folder}/fitted_{prior}")
            found |= samples(f"fitted_{prior}", seed, folder, known)
        found |= samples(prior, seed, folder, known)
    return found


def gaps(seed: int, folder: Path, known: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """A tenth of the held-out rows' cells is blanked. Errors are in standard deviations.

    `error` is that of every column of numbers, also of those that `vae impute` fills with the most likely of a few
    values, and `error of numbers` that of the others, which it fills with the mean. `right` is the share of the former
    filled correctly, by the possible value that is nearest to what a method fills in.
    """
    gone = np.random.default_rng([seed, 1]).random(test.shape) < 0.1
    test.mask(gone).to_csv(folder / "gaps.csv", index=False)
    vae("impute", f"run={folder}/standard_normal", f"input={folder}/gaps.csv", f"output={folder}/filled.csv")
    numeric = list(known.select_dtypes("number"))
    mean, spread = known[numeric].mean(), known[numeric].std()
    coded = [pd.get_dummies(part, dtype=float) for part in (known, test.mask(gone))]
    coded[1] = coded[1].reindex(columns=coded[0].columns, fill_value=0.0)
    units = [(part - coded[0].mean()) / coded[0].std() for part in coded]

    def error(filled: pd.DataFrame, of: list[str]) -> float:
        holes = gone[:, [known.columns.get_loc(column) for column in of]]
        return float((((filled[of] - test[of]) / spread[of]).to_numpy()[holes] ** 2).mean() ** 0.5)

    def by(imputer: Any) -> pd.DataFrame:
        filled = pd.DataFrame(imputer.fit(units[0]).transform(units[1]), columns=coded[0].columns)
        return filled[numeric] * spread + mean

    filled, cell = pd.read_csv(folder / "filled.csv"), pd.read_csv(folder / "filled.intervals.csv")
    numbers = [column for column in numeric if cell.loc[cell["column"] == column, "low"].notna().all()]
    cell = cell[cell["column"].isin(numbers)]  # the other columns of numbers are filled as categories
    truth = np.array([test.loc[row, column] for row, column in zip(cell["row"], cell["column"], strict=True)], float)
    inside = (cell["low"].astype(float) <= truth) & (truth <= cell["high"].astype(float))
    whole = cell["column"].isin([column for column in numeric if (known[column] % 1 == 0).all()])
    found = {"coverage": float(inside.mean()), "coverage of decimals": float(inside[~whole].mean()),
             "coverage of whole numbers": float(inside[whole].mean())}  # fmt: skip
    for who, imputed in {
        "vae impute": filled, "mean": known[numeric].mean().to_frame().T.reindex(range(len(test)), method="ffill"),
        "IterativeImputer": by(IterativeImputer(max_iter=20, random_state=0)), "kNN": by(KNNImputer()),
    }.items():  # fmt: skip
        found |= {f"error, {who}": error(imputed, numeric), f"error of numbers, {who}": error(imputed, numbers)}
        for column in sorted(set(numeric) - set(numbers)):
            there, values = gone[:, known.columns.get_loc(column)], np.sort(known[column].unique())
            nearest = values[np.abs(imputed[column].to_numpy()[:, None] - values).argmin(1)]
            found[f"right, {column}, {who}"] = float((nearest == test[column])[there].mean())
    for column in known.columns.difference(numeric):
        there = gone[:, known.columns.get_loc(column)]
        found[f"right, {column}"] = float((filled[column] == test[column])[there].mean())
        found[f"right, {column}, most frequent"] = float((known[column].mode()[0] == test[column])[there].mean())
    return found


def samples(prior: str, seed: int, folder: Path, known: pd.DataFrame) -> dict[str, float]:
    """10,000 samples beside the training rows."""
    vae("sample", f"run={folder}/{prior}", "n=10000", "format=csv", f"output={folder}/samples.csv", f"seed={seed}")
    return {f"{what}, {prior}": value for what, value in beside(known, pd.read_csv(folder / "samples.csv")).items()}


def beside(known: pd.DataFrame, drawn: pd.DataFrame) -> dict[str, float]:
    """Spread, correlations, impossible values, frequencies, and a classifier that tells rows from samples."""
    real, sampled = known.select_dtypes("number"), drawn.select_dtypes("number")
    apart = np.abs(sampled.corr().to_numpy() - real.corr().to_numpy())[np.triu_indices(real.shape[1], 1)]
    whole = [column for column in real if (real[column] % 1 == 0).all()]
    odd = int(((sampled < 0) & (real.min() >= 0)).to_numpy().sum()) + int((sampled[whole] % 1 != 0).to_numpy().sum())
    texts = known.columns.difference(real.columns)
    odd += sum(int((~drawn[column].isin(known[column])).sum()) for column in texts)
    found = {"spread": float((sampled.std() / real.std() - 1).abs().median()), "correlations": float(apart.mean()),
             "impossible": float(odd), "AUC": told_apart(known, drawn.iloc[: len(known)])}  # fmt: skip
    for column in texts:
        share = drawn[column].value_counts(normalize=True).reindex(sorted(known[column].unique()), fill_value=0.0)
        found[f"frequencies of {column}"] = float(np.abs(share.to_numpy() - SHARES[column]).max())
    return found


def told_apart(real: pd.DataFrame, drawn: pd.DataFrame) -> float:
    """The AUC of a random forest, by cross-validation, on as many samples as rows."""
    both = pd.get_dummies(pd.concat([real, drawn], ignore_index=True)).to_numpy(float)
    is_real = np.r_[np.ones(len(real)), np.zeros(len(drawn))]
    forest = RandomForestClassifier(100, min_samples_leaf=3, random_state=0)
    return float(roc_auc_score(is_real, cross_val_predict(forest, both, is_real, cv=4, method="predict_proba")[:, 1]))


def synthesizers(seed: int, folder: Path) -> dict[str, float]:
    """CTGAN and TVAE with their defaults on the same rows of breast cancer."""
    whole = table("breast_cancer")
    known = whole.iloc[np.random.default_rng(seed).permutation(len(whole))[len(whole) // 5 :]].reset_index(drop=True)
    packages = folder / "packages"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", packages, "ctgan==0.12.1",
                    "rdt==2.0.0", "faker", "tzdata", "tqdm"], check=True)  # fmt: skip
    sys.path.insert(0, str(packages))
    ctgan = importlib.import_module("ctgan")
    found: dict[str, float] = {}
    for model in ("TVAE", "CTGAN"):
        torch.manual_seed(seed)
        np.random.seed(seed)  # the package draws from it
        synthesizer = getattr(ctgan, model)()
        synthesizer.fit(known)
        found |= {f"{what}, {model}": value for what, value in beside(known, synthesizer.sample(10_000)).items()}
    return found


def alarms(seed: int, folder: Path) -> dict[str, float]:
    """Malignant rows for a model of benign ones; and false alarms of 200 draws of 999 rows to compare with."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer(as_frame=True)
    benign, malignant = data.data[data.target == 1], data.data[data.target == 0]
    order = np.random.default_rng(seed).permutation(len(benign))
    held, known = benign.iloc[order[:71]], benign.iloc[order[71:]]
    train(known, folder / "benign", 10, f"seed={seed}", "dataset.test_fraction=0.2")
    judged = pd.concat([held, malignant])
    is_odd = np.r_[np.zeros(len(held)), np.ones(len(malignant))]
    scores, flagged = alarm(judged, folder / "benign", folder / "odd.csv", "rate=0.05", "k=200")
    forest = -IsolationForest(random_state=seed).fit(known).score_samples(judged)
    train(mixed(3000, seed), folder / "mixed", 5, f"seed={seed}")
    fresh, _ = alarm(mixed(10_000, 1000 + seed), folder / "mixed", folder / "fresh.csv", "rate=0.004", "k=20")
    return {
        "AUC of malignant": float(roc_auc_score(is_odd, -scores)),
        "AUC, isolation forest": float(roc_auc_score(is_odd, forest)),
        "malignant flagged": float(flagged[is_odd == 1].mean()), "benign flagged": float(flagged[is_odd == 0].mean()),
        "false alarms, mixed": false_alarms(fresh, 0.05, seed),
    }  # fmt: skip


def alarm(judged: pd.DataFrame, run: Path, path: Path, *words: str) -> tuple[np.ndarray, np.ndarray]:
    """log p(x) and the flags of rows."""
    judged.to_csv(path, index=False)
    vae("alarm", f"run={run}", f"input={path}", f"output={path.with_suffix('.alarm.csv')}", *words)
    found = pd.read_csv(path.with_suffix(".alarm.csv"))
    return found["log_px"].to_numpy(), found["flagged"].to_numpy()


def false_alarms(scores: np.ndarray, rate: float, seed: int) -> float:
    """The share of ordinary rows with a p-value of at most the rate, over 200 draws of 999 rows to compare with."""
    rng, shares = np.random.default_rng(seed), []
    for _ in range(200):
        drawn = rng.permutation(scores)
        as_odd = np.searchsorted(np.sort(drawn[:999]), drawn[999:], side="right")
        shares.append(((1 + as_odd) / 1000 <= rate).mean())
    return float(np.mean(shares))


def counts(seed: int, folder: Path) -> dict[str, float]:
    """Cells: the test ELBO beside that of a short loop, and the totals of samples."""
    x = cells(seed)
    np.save(folder / "cells.npy", x)
    spread = x[:1600].sum(1).std()
    found = {"ELBO, loop": loop(x, seed)}
    np.save(folder / "train.npy", x[:1600])
    np.save(folder / "test.npy", x[1600:])
    for total in ("null", "learned"):
        run = folder / total
        vae("train", "dataset=arrays", f"dataset.path={folder}/train.npy", f"dataset.test_path={folder}/test.npy",
            "decoder=negative_binomial", f"decoder.total={total}", "architecture.hidden=[128]", "latent_dim=10",
            "epochs=60", "batch_size=128", "images.every_epochs=100000", "device=cpu", f"seed={seed}",
            f"output={run}")  # fmt: skip
        vae("sample", f"run={run}", "n=10000", "format=npz", f"output={folder}/samples.npz")
        with np.load(folder / "samples.npz") as drawn:
            totals = drawn["x"].sum(1)
        found[f"ELBO, total={total}"] = json.loads((run / "summary.json").read_text())["test"]["elbo"]
        found[f"spread of totals, total={total}"] = float(totals.std() / spread)
    return found


def loop(x: np.ndarray, seed: int) -> float:
    """The test ELBO of a short loop that feeds log(1 + x), with the same widths and epochs, by Adam."""
    torch.manual_seed(seed)
    data = torch.tensor(x, dtype=torch.float32)
    known, test = data[:1440], data[1600:]
    encoder = nn.Sequential(nn.Linear(200, 128), nn.ReLU(), nn.Linear(128, 20))
    decoder = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 400))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)

    def elbo(batch: torch.Tensor) -> torch.Tensor:
        mean, log_scale = encoder(batch.log1p()).chunk(2, -1)
        z = mean + log_scale.exp() * torch.randn_like(mean)
        rate, r = decoder(z).chunk(2, -1)
        mean_count, size = nn.functional.softplus(rate) + 1e-6, nn.functional.softplus(r) + 1e-3
        p_x = torch.distributions.NegativeBinomial(size, logits=(mean_count / size).log())
        kl = 0.5 * (mean**2 + (2 * log_scale).exp() - 1 - 2 * log_scale).sum(-1)
        return p_x.log_prob(batch).sum(-1) - kl

    for _ in range(60):
        for part in torch.randperm(len(known)).split(128):
            optimizer.zero_grad()
            (-elbo(known[part]).mean()).backward()
            optimizer.step()
    with torch.no_grad():
        return float(elbo(test.repeat(10, 1)).mean())


def scvi(seed: int, folder: Path) -> dict[str, float]:
    """The model of scvi-tools on the same cells, with the same widths, epochs and batches: its test ELBO."""
    tools, anndata = importlib.import_module("scvi"), importlib.import_module("anndata")
    tools.settings.seed = seed
    known, test = (anndata.AnnData(part.astype(np.float32)) for part in np.split(cells(seed), [1600]))
    tools.model.SCVI.setup_anndata(known)
    found = {}
    for dispersion in ("gene", "gene-cell"):
        model = tools.model.SCVI(
            known, n_hidden=128, n_latent=10, n_layers=1, gene_likelihood="nb", dispersion=dispersion
        )
        model.train(max_epochs=60, batch_size=128, train_size=0.9, accelerator="cpu", logger=False,
                    default_root_dir=str(folder), enable_progress_bar=False)  # fmt: skip
        found[f"ELBO, dispersion={dispersion}"] = float(model.get_elbo(test))
    return found
