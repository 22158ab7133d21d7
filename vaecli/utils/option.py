"""What the base classes of all groups of options share: a subclass is checked when it is defined."""

from __future__ import annotations

import inspect
from typing import ClassVar

from vaecli.utils.errors import UserError


class Option:
    """A class whose subclasses have to define its abstract methods, with parameters as it calls them.

    What a subclass lacks is said in one sentence when its module is imported. `class Mine(Prior, abstract=True)` is
    for classes that are there to be derived from.

    attributes: what `__init__` has to set, where the class does not
    made_with: what `__init__` is given by name, beside the option's keys in the configuration
    """

    abstract: ClassVar[bool] = True
    attributes: ClassVar[tuple[str, ...]] = ()
    made_with: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, abstract: bool = False, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.abstract = abstract
        base = group_of(cls)
        for name, promised in vars(base).items():
            if not abstract and inspect.isfunction(promised) and name != "__init__":
                check_method(cls, base, name)
        if not abstract:
            check_init(cls, base)


def check_init(cls: type[Option], base: type) -> None:
    """UserError where a class cannot be made with what every option of its group is given."""
    init = inspect.getattr_static(cls, "__init__")
    own = inspect.isfunction(init) and init.__qualname__ != "Module.__init__"
    takes = inspect.signature(init).parameters if own else {}
    if any(p.kind is p.VAR_KEYWORD for p in takes.values()):
        return
    refused = [name for name in cls.made_with if name not in takes or takes[name].kind is takes[name].POSITIONAL_ONLY]
    if refused:
        given = ", ".join(cls.made_with)
        raise UserError(f"class {cls.__qualname__}: every {base.__name__} is made with {given}, but here __init__ does "
                        f"not take {refused[0]}")  # fmt: skip


def check_method(cls: type, base: type, name: str) -> None:
    """UserError where a class lacks an abstract method of `base`, or has one that does not take what it is given."""
    method, promised = inspect.getattr_static(cls, name), vars(base)[name]
    call = f"{name}({', '.join(p.name for p in parameters(promised)[1:])})"
    if getattr(method, "__isabstractmethod__", False):
        raise UserError(f"class {cls.__qualname__} does not define {call}, which every {base.__name__} needs")
    open_ended = any(p.kind is p.VAR_POSITIONAL or p.kind is p.VAR_KEYWORD for p in parameters(promised))
    if open_ended or not inspect.isfunction(method):
        return
    try:
        inspect.signature(method).bind(*parameters(promised))
    except TypeError as error:
        raise UserError(f"class {cls.__qualname__}: every {base.__name__} is called as {call}, but here {name} has "
                        f"other parameters ({error})") from None  # fmt: skip


def parameters(method: object) -> list[inspect.Parameter]:
    """Those that a call has to or may give by position, `self` included."""
    return [p for p in inspect.signature(method).parameters.values() if p.kind is not p.KEYWORD_ONLY]  # type: ignore[arg-type]


def group_of(cls: type) -> type:
    """The base class that stands for a group: Prior, Dataset ..."""
    return [one for one in cls.__mro__ if Option in one.__bases__][-1]
