"""Which columns of a table are numbers, and which one the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vaecli.utils.errors import UserError, nearest
from vaecli.utils.text import distinct, headings, printable, shorten

LABELS = ("label", "labels", "class", "target")  # names that a column of labels is known by
SHOWN, SHOWN_LETTERS = 5, 100  # names in a message, and characters of one
NO_LABELS = (
    "name other labels (dataset.labels=NAME), or none and the columns to take "
    "(dataset.labels=false dataset.columns=[A,B])"
)
LONGEST = 1000  # characters of a label: what is longer names no class


class Choice(NamedTuple):
    """What the user says of a file."""

    columns: Sequence[str] | None = None  # of a table, in this order; None: all numbers but the labels
    labels: str | bool | None = None  # a column or array; None: found by its name or by being text; False: none


class Picked(NamedTuple):
    """The numbers and labels of a table."""

    x: np.ndarray  # (N, d), float32
    labels: np.ndarray | None  # (N,), numbers, or texts as objects
    names: tuple[str, ...]  # of the d columns


def table_names(table: Any) -> list[str]:
    return distinct([str(name).strip() for name in table.column_names])


def cleaned(cell: str) -> str:
    """A column's name as it stands in a text file."""
    return cell.strip().removeprefix("#").strip()


def written(names: Sequence[str]) -> list[str]:
    """What columns are called in a .csv file that vaecli has written, once it is read again."""
    return [cleaned(heading) for heading in headings(names)]


def pick_columns(what: str, table: Any, names: Sequence[str], choice: Choice) -> Picked:
    """The columns of a pyarrow Table that the choice asks for; UserError for one that is no numbers."""
    if not table.num_rows:
        raise UserError(f"{what}: there are no observations in it")
    columns = [plain(column) for column in table.columns]
    label = label_column(what, names, columns, choice)
    if choice.columns is None:
        taken = [i for i in range(len(names)) if i != label and not counts_rows(names[i], columns[i])]
    else:
        at = {name: i for i, name in enumerate(names)}
        taken = [at[own] if own in at else at.get(other, -1)
                 for own, other in zip(choice.columns, written(choice.columns), strict=True)]  # fmt: skip
        if -1 in taken:
            place(what, "dataset.columns", choice.columns[taken.index(-1)], names)
    refuse_text(what, names, columns, taken)
    if not taken:
        raise UserError(f"{what}: no column of numbers is left; it has {shown(names)}")
    x = np.empty((table.num_rows, len(taken)), np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused for it
        for j, i in enumerate(taken):
            x[:, j] = numbers(columns[i])
    labels = None if label is None else label_values(f"{what}: column {names[label]}", columns[label])
    return Picked(x, labels, tuple(names[i] for i in taken))


def plain(column: Any) -> Any:
    """A column without dictionary encoding, unless it is text, of which little can stand for much."""
    import pyarrow as pa

    coded = pa.types.is_dictionary(column.type) and not is_text(column)
    return column.cast(column.type.value_type) if coded else column


def label_column(what: str, names: Sequence[str], columns: Sequence[Any], choice: Choice) -> int | None:
    """The place of the labels: what the user says, a column called so, or the only one that is text."""
    if isinstance(choice.labels, str):
        return place(what, "dataset.labels", choice.labels, names)
    if choice.labels is not None:
        return None
    columns_of_x = {*(choice.columns or ()), *written(choice.columns or ())}
    rest = [i for i, name in enumerate(names) if name not in columns_of_x]
    called = [i for i in rest if names[i].lower() in LABELS]
    text = [i for i in rest if is_text(columns[i])]
    return called[0] if called else text[0] if len(text) == 1 else None


def place(what: str, key: str, name: str, names: Sequence[str]) -> int:
    if name not in names:
        raise UserError(f"{what}: has no column {name} ({key}){nearest(name, names) or '; it has ' + shown(names)}")
    return list(names).index(name)


def refuse_text(what: str, names: Sequence[str], columns: Sequence[Any], taken: Sequence[int]) -> None:
    """UserError, with a remedy to type, where a column is neither numbers nor the labels."""
    wrong = [i for i in taken if not is_numbers(columns[i])]
    if not wrong:
        return
    left = [names[i] for i in taken if i not in wrong]
    row, example = first_text(columns[wrong[0]])
    also = "say that it is the labels" if len(wrong) == 1 else "and, if one of the others is the labels, name it"
    choose = f"choose columns (dataset.columns=[{','.join(left[:SHOWN])}{',...' if len(left) > SHOWN else ''}]) "
    raise UserError(
        f"{what}: {shown([names[i] for i in wrong])}: not all numbers, but {example[:40]!r} in row {row}; "
        f"{choose + ('or ' if len(wrong) == 1 else '') if left else ''}{also} (dataset.labels={names[wrong[0]]})"
    )


def first_text(column: Any) -> tuple[int, str]:
    """The first value of a column that is no number, and its row, counted from 1 below the header."""
    for row, scalar in enumerate(column, 1):
        value = scalar.as_py()
        if value is None:
            continue
        try:
            float(value)
        except (TypeError, ValueError):
            return row, str(value)
    return 1, str(column[0])


def shown(names: Sequence[str]) -> str:
    """The columns, or the first of them."""
    some = ", ".join(shorten(printable(name), SHOWN_LETTERS) for name in names[:SHOWN])
    some += ", ..." if len(names) > SHOWN else ""
    return f"{'column' if len(names) == 1 else 'columns'} {some}"


def counts_rows(name: str, column: Any) -> bool:
    """Whether it is the number of the row, which a table saved by pandas begins with."""
    import pyarrow as pa

    if name not in ("", "Unnamed: 0", "__index_level_0__") or not pa.types.is_integer(column.type):
        return False
    values = column.to_numpy()
    return bool((values == np.arange(len(values)) + values[0]).all())


def is_text(column: Any) -> bool:
    import pyarrow as pa

    of = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    return pa.types.is_string(of) or pa.types.is_large_string(of)


def is_numbers(column: Any) -> bool:
    import pyarrow as pa

    kinds = pa.types
    of = (kinds.is_integer, kinds.is_floating, kinds.is_decimal, kinds.is_boolean, kinds.is_null)
    return any(is_kind(column.type) for is_kind in of)


def numbers(column: Any) -> np.ndarray:
    """A column of numbers as float64 (N,), NaN for what is missing."""
    import pyarrow as pa

    column = column.cast(pa.int8()) if pa.types.is_boolean(column.type) else column
    return column.cast(pa.float64(), safe=False).to_numpy()


def label_values(what: str, column: Any) -> np.ndarray:
    """Labels (N,): integers, numbers, or text for everything else, each text held once."""
    import pyarrow as pa

    if pa.types.is_integer(column.type) and not column.null_count:
        return column.cast(pa.int64()).to_numpy()
    if is_numbers(column) and not pa.types.is_boolean(column.type):
        return numbers(column)
    coded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    texts = [str(value) for value in coded.dictionary.to_pylist()]
    refuse_long(what, max(map(len, texts), default=0), NO_LABELS)
    index = coded.indices.fill_null(len(texts)).to_numpy()
    return np.array([*texts, "missing"], dtype=object)[index]


def refuse_long(what: str, longest: int, remedy: str) -> None:
    """UserError for texts that are no labels."""
    if longest > LONGEST:
        long = f"holds a text of {longest:,} characters, too long for a label (at most {LONGEST:,})"
        raise UserError(f"{what}: {long}; {remedy}")


def flat_columns(what: str, schema: Any, choice: Choice) -> list[str]:
    """The names of a parquet file's columns of single values; UserError where lists and the like are wanted.

    What lists hold is not read: a few bytes can stand for any number of them.
    """
    nested = [name for name, kind in zip(schema.names, schema.types, strict=True) if is_nested(kind)]
    chosen = [*(choice.columns or ()), *([choice.labels] if isinstance(choice.labels, str) else ())]
    wanted = [name for name in nested if choice.columns is None or name.strip() in chosen]
    flat = [name for name in schema.names if name not in nested]
    if wanted:
        left = f"choose columns (dataset.columns=[{','.join(flat[:SHOWN])}{',...' if len(flat) > SHOWN else ''}])"
        remedy = left if flat else "write each number into a column of its own"
        raise UserError(f"{what}: {shown(wanted)}: not numbers, but lists or the like; {remedy}")
    return flat


def is_nested(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_nested(getattr(kind, "storage_type", kind))
