"""Data sets by their options, and what their binary images must be like."""

from __future__ import annotations

import torch
from support.configurations import composed
from support.making import instantiate
from torch import Tensor

from vaecli.datasets.split import Splits

EVERYTHING = slice(None)


def load(*overrides: str) -> Splits:
    splits: Splits = instantiate(composed(*overrides), "dataset").load()
    return splits


def frequencies(drawn: Tensor, grey: Tensor) -> None:
    """The share of ones at each grey level is that level, within five standard errors."""
    assert torch.equal(drawn[grey == 0], torch.zeros_like(drawn[grey == 0]))
    assert torch.equal(drawn[grey == 1], torch.ones_like(drawn[grey == 1]))
    for level in grey.unique().tolist():
        ones = drawn[grey == level]
        error = (level * (1 - level) / len(ones)) ** 0.5
        assert abs(float(ones.mean()) - level) <= 5 * error, level
