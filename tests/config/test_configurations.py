"""What the tests take for Hydra's configuration is Hydra's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command_line import called
from support.configurations import by_hydra, composed, without_hydra
from support.thinned import every

from vaecli.config import compose
from vaecli.config.catalog import commands, default_choices, groups

GROUPS = {group: options for group, options in groups().items() if group in default_choices()}
WORDS = ["latent_dim=3", "+decoder.more=[1,{a: null}]", "optimizer.lr=1e-5", "output='a, b'", "seed=7", "trust=[x,'1']",
         "dataset.limit=null", "validate.every_epochs=2", "repeat='null'", "ema.decay=0.5"]  # fmt: skip


@pytest.mark.parametrize("turn", every(3, range(max(map(len, GROUPS.values())))))
def test_every_option_as_hydra_composes_it(turn: int) -> None:
    """Each option of each group occurs, beside others."""
    words = [f"{group}={options[turn % len(options)]}" for group, options in GROUPS.items()]
    found, wanted = composed(*words, *WORDS), by_hydra("train", (*words, *WORDS))
    assert found == wanted
    assert list(found) == list(wanted)


def test_an_unknown_key_is_an_error() -> None:
    for word in ("latent_dims=3", "decoder.sigma=3", "decoder=bernouli"):
        with pytest.raises(KeyError):
            composed(word)


Given = list[tuple[int, str, Any]]  # the exit code, the error message, what the command was given


@pytest.fixture
def both(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Given, Given]]:
    """What becomes of command lines, with and without Hydra."""
    given: list[Any] = []
    load = "vaecli.__main__.load_main"
    monkeypatch.setattr(load, lambda command: lambda values, origin: given.append((values, origin)))

    def found(*lines: str) -> Given:
        done = [called(*line.split(" "), cwd=Path.cwd()) for line in lines]
        return [(one.returncode, one.stderr, None if one.returncode else given.pop(0)) for one in done]

    def run(*lines: str) -> tuple[Given, Given]:
        first = found(*lines)
        monkeypatch.setattr(compose, "run", without_hydra)
        return first, found(*lines)

    return run


@pytest.mark.parametrize("command", commands())
def test_a_command_is_given_the_same(command: str, both: Callable[..., tuple[Given, Given]]) -> None:
    one, other = both(f"{command} output=null ++output=x")
    assert one == other
    code, error, (values, origin) = one[0]
    assert (code, error, values["output"], origin.typed_keys) == (0, "", "x", ["output", "output"])


@pytest.mark.parametrize(("word", "code"), every(2, [
    ("+latent_dim=1", 1), ("m=1", 1), ("output=${oc.env:HOME}", 0), ("output=", 1), ("seed=[", 1), ("dataset=x", 1),
]))  # fmt: skip
def test_what_is_refused_is_left_to_hydra(word: str, code: int, both: Callable[..., tuple[Given, Given]]) -> None:
    one, other = both(f"train {word}")
    assert one == other
    assert one[0][0] == code
