"""Annotations for values of configurations, with their limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from vaecli.utils.files import at_home


def folder_name(name: str) -> str:
    """The name of a folder; ValueError unless it is a plain one."""
    if not re.fullmatch(r"(?!\.)[\w.-]{1,100}", name, re.ASCII):
        raise ValueError("should be a plain name of letters, digits, . _ and -")
    return name


Values = Mapping[str, Any]  # of a command line or a file, nested, as they came


StateDict = dict[str, Any]  # what torch calls one: plain containers and tensors


Part = Literal["train", "val", "test"]  # of a data set


MAX_COUNT = 10**12  # of anything that is counted


PositiveInt = Annotated[int, Field(strict=True, gt=0, le=MAX_COUNT)]


NonNegativeInt = Annotated[int, Field(strict=True, ge=0, le=MAX_COUNT)]


Span = Annotated[float, Field(strict=True, gt=0, le=1e6, allow_inf_nan=False)]  # beyond, float32 overflows


PositiveFloat = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]


Share = Annotated[float, Field(strict=True, ge=0, lt=1)]
Probability = Annotated[float, Field(strict=True, gt=0, lt=1)]

NonNegativeFloat = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


UserPath = Annotated[str, AfterValidator(at_home)]  # as typed; ~ becomes the home folder


FolderName = Annotated[str, AfterValidator(folder_name)]  # a single folder name, not a path


Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
