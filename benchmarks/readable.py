"""The share of a model's samples that are digits anyone can read: python benchmarks/readable.py RUN [RUN ...].

RUN is the folder of a run on 28x28 digits. A plain classifier (scikit-learn's MLPClassifier, 784-256-10, 12 passes over
the 10,000 training images of dataset=mnist_small) looks at 1,000 means of p(x|z), z from the prior, as `vae sample`
draws them, and at the 1,000 test images. Printed is the share in which it gives some digit a probability above 0.9.
"""

from __future__ import annotations

import sys
import warnings

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from vaecli.datasets.mnist_small import MNISTSmall
from vaecli.datasets.split import Split
from vaecli.models.inference import evaluating
from vaecli.models.load import load_run

N, PASSES, SURE = 1000, 12, 0.9


def pixels(split: Split) -> np.ndarray:
    """All images of a split (N, 784), from 0 to 1."""
    x: np.ndarray = split.batch(slice(None)).flatten(1).numpy()
    return x


def classifier(train: Split) -> MLPClassifier:
    with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        return MLPClassifier((256,), max_iter=PASSES, random_state=0).fit(pixels(train), np.asarray(train.y))


def share(judge: MLPClassifier, x: np.ndarray) -> float:
    """Of the images x (N, 784), those in which the classifier is sure of a digit."""
    return float((judge.predict_proba(x).max(1) > SURE).mean())


def samples(run: str) -> np.ndarray:
    """Means of p(x|z) (N, 784) for draws z from a run's prior."""
    model = load_run(run, device="cpu").model
    with evaluating(model, seed=0), torch.no_grad():
        x: np.ndarray = model.sample(N).mean.flatten(1).numpy()
    return x


def main(*runs: str) -> None:
    splits = MNISTSmall(val_size=0).load()
    judge = classifier(splits.train)
    print(f"{share(judge, pixels(splits.test)):.3f}  the test images")
    for run in runs:
        print(f"{share(judge, samples(run)):.3f}  {run}")


if __name__ == "__main__":
    main(*sys.argv[1:])
