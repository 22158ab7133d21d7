"""The base of all options' base classes, which checks each subclass when it is defined."""

from __future__ import annotations

import inspect
from typing import ClassVar

from vaecli.utils.errors import UserError


class Option:
    """A class whose subclasses must define its abstract methods, with the same parameters.

    What a subclass lacks is reported in one sentence when its module is imported. `class Mine(Prior, abstract=True)`
    is for classes that others derive from.

    attributes: names that `__init__` has to set, unless the class does
    settable: keys of every option of the group, which are set as attributes of the new object
    made_with: arguments that `__init__` gets by name, in addition to the option's keys in the configuration
    """

    abstract: ClassVar[bool] = True
    attributes: ClassVar[tuple[str, ...]] = ()
    settable: ClassVar[tuple[str, ...]] = ()
    made_with: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, abstract: bool = False, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        cls.abstract = abstract
        base = [one for one in cls.__mro__ if Option in one.__bases__][-1]  # of the group: Prior, Dataset ...
        for name, promised in vars(base).items():
            if not abstract and inspect.isfunction(promised) and name != "__init__":
                check_method(cls, base, name)
        if not abstract:
            check_init(cls, base)


def check_init(cls: type[Option], base: type) -> None:
    """UserError if `__init__` does not take the arguments that every option of the group gets."""
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
    """UserError if a class lacks an abstract method of `base`, or if a method has other parameters."""
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
    """The parameters that can be passed by position, `self` included."""
    return [p for p in inspect.signature(method).parameters.values() if p.kind is not p.KEYWORD_ONLY]  # type: ignore[arg-type]
