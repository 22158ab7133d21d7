"""What the tests take for Hydra's configuration is Hydra's."""

from __future__ import annotations

import pytest
from support.configurations import by_hydra, composed

from vaecli.config.catalog import default_choices, groups

GROUPS = {group: options for group, options in groups().items() if group in default_choices()}
WORDS = ["latent_dim=3", "+decoder.more=[1,{a: null}]", "optimizer.lr=1e-5", "output='a, b'", "seed=7", "trust=[x,'1']",
         "dataset.limit=null", "validate.every_epochs=2", "repeat='null'", "ema.decay=0.5"]  # fmt: skip


@pytest.mark.parametrize("turn", range(max(map(len, GROUPS.values()))))
def test_every_option_as_hydra_composes_it(turn: int) -> None:
    """Each option of each group occurs, beside others."""
    words = [f"{group}={options[turn % len(options)]}" for group, options in GROUPS.items()]
    assert composed(*words, *WORDS) == by_hydra((*words, *WORDS))
    assert list(composed(*words)) == list(by_hydra(tuple(words)))


def test_an_unknown_key_is_an_error() -> None:
    with pytest.raises(KeyError, match="latent_dims"):
        composed("latent_dims=3")
