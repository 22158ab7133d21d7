"""The default decoder: `columns` for a table, `gaussian` for data in standard units, `bernoulli` for other data."""

from __future__ import annotations

from vaecli.decoders.base import DataFacts
from vaecli.decoders.bernoulli import Bernoulli
from vaecli.decoders.columns import Columns
from vaecli.decoders.gaussian import Gaussian
from vaecli.utils.types import Values


class Auto(Bernoulli):
    """A Bernoulli decoder until the data are known; then it is Columns, Gaussian or Bernoulli."""

    wants_kinds = True

    @classmethod
    def fill_from_data(cls, settings: Values, data: DataFacts) -> Values:
        """The settings of the option that suits the data, which refuses keys that it does not know."""
        chosen = Columns if data.columns is not None else Gaussian if data.standardized else Bernoulli
        name = chosen.__module__.rpartition(".")[2]
        target = {"_target_": f"{chosen.__module__}.{chosen.__qualname__}", "name": name}
        return chosen.fill_from_data({**settings, **target}, data)
