"""One value says whose classes a configuration may name."""

from __future__ import annotations

import inspect

import pytest
import torch
from support.making import options

from vaecli.config.instantiate import TYPED_HERE, Trust
from vaecli.models import build, load
from vaecli.training import setup
from vaecli.utils.errors import UserError

MINE = {"prior": {"_target_": "torch.nn.Identity", "name": "mine"}}


@pytest.mark.parametrize("trust", [Trust(), Trust(("mypackage",))])
def test_a_file_names_only_trusted_classes(trust: Trust) -> None:
    for act in (options(MINE, trust).make, options(MINE, trust).option_class):
        with pytest.raises(UserError, match=r"not one of vaecli's own classes: refused"):
            act("prior")


def test_what_is_typed_here_names_any_class() -> None:
    assert issubclass(options(MINE, TYPED_HERE).option_class("prior"), torch.nn.Identity)  # type: ignore[arg-type]
    assert isinstance(options(MINE, TYPED_HERE).make("prior"), torch.nn.Identity)


@pytest.mark.parametrize("name", ["torch", "os", "vaecli", "a b", ""])
def test_trust_takes_no_package_of_others(name: str) -> None:
    with pytest.raises(UserError, match="trust="):
        Trust((name,))


def test_trust_is_one_parameter() -> None:
    """No function takes the two halves of it."""
    for module in (build, load, setup):
        for _, function in inspect.getmembers(module, inspect.isfunction):
            assert "trusted" not in inspect.signature(function).parameters, function
