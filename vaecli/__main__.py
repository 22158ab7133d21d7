"""`vae COMMAND key=value ...`: finds the command, composes its configuration, and turns errors into messages."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

if not (3, 11) <= sys.version_info[:2] <= (3, 13):  # before any import that fails there; Hydra 1.3 fails under 3.14
    this = ".".join(map(str, sys.version_info[:2]))
    sys.exit(f"error: vaecli needs Python 3.11, 3.12 or 3.13, and this is {this}: install it into one of those")

from vaecli.config.catalog import commands
from vaecli.utils import ranks, streams
from vaecli.utils.errors import SAID, UserError, nearest
from vaecli.utils.text import printable_lines

SHARED = ("train", "evaluate", "encode")  # commands whose work several processes share
WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def main() -> None:
    """The console script `vae`."""
    streams.prepare()
    args, known = sys.argv[1:], commands()
    if not args or args[0] in ("-h", "--help", "help"):
        from vaecli.config.help import overview

        print_and_exit(overview(known))
    if args[0] in ("-V", "--version"):
        from vaecli.utils.version import __version__

        print_and_exit(f"vaecli {__version__}")
    if args[0] == "--complete" and len(args) > 2:  # called by the shell at each TAB
        from vaecli.config.completion import answer

        completions = answer(*args[1:4])
        print_and_exit("\n".join(completions)) if completions else sys.exit(0)
    if args[0] == "--completion":
        install_completion(args[1] if len(args) > 1 else "")
    if args[0] not in known:
        hint = nearest(args[0], known) or f"; known: {', '.join(known)}"
        fail(f"unknown command {args[0]}{hint}")
    dispatch(args[0], args[1:], f"vae {args[0]}")


def train() -> None:
    """The console script `vae-train`."""
    streams.prepare()
    if sys.argv[1:2] and sys.argv[1] in ("-V", "--version", "--completion", "--complete"):
        main()
    dispatch("train", sys.argv[1:], "vae-train")


def dispatch(command: str, args: list[str], program: str) -> None:
    """Run a command; the process ends with 0, with 1 after a message, or with 130 after an interrupt."""
    if "--help" in args or "-h" in args:
        from vaecli.config.help import command_help

        print_and_exit(command_help(command, args))
    if args[:1] in (["-sc"], ["--shell-completion"]) and args[1:2] and args[1].startswith("install="):
        install_completion(args[1].partition("=")[2])
    if not any(name in os.environ for name in WAIT_SETTINGS):
        # Threads that wait for each other give up their core after some 100 microseconds. By default they spin for
        # milliseconds; where two of them share a core, as on a busy machine, a step then takes 100 times longer.
        os.environ["GOMP_SPINCOUNT"] = "30000"
    signal.signal(signal.SIGTERM, terminated)
    if command == "train":  # a terminal that goes away must not end hours of training; train.log has the lines too
        streams.ignore_write_errors()
    if ranks.world() > 1:
        join_others(command)
    try:
        from vaecli.config.compose import run

        run(command, partial(load_main, command), args, program, *([print_runs] if command == "train" else []))
        sys.stdout.flush()
    except UserError as error:
        fail(str(error))
    except BrokenPipeError:  # `vae runs | head`: the reader has closed the pipe
        streams.discard_output(sys.stdout)
        sys.exit(1)
    except OSError as error:  # a full disk, a folder that vanished
        streams.discard_output(sys.stdout)  # standard output itself may be on the full disk
        fail(f"{error.filename or 'standard output'}: {error.strerror or error}")
    except KeyboardInterrupt as error:
        if SAID not in getattr(error, "__notes__", ()):
            print("interrupted", file=sys.stderr)
        sys.exit(130)


def join_others(command: str) -> None:
    """Connect with the other processes that torchrun has started; only the one of rank 0 prints and writes."""
    if command not in SHARED and not ranks.leads():
        sys.exit(0)
    if command in SHARED:
        ranks.open_group()
    if not ranks.leads():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # until the process ends


def install_completion(shell: str) -> NoReturn:
    """Print the completion script of a shell, for the shell to evaluate."""
    from vaecli.config.completion import SCRIPTS

    if shell not in SCRIPTS:
        fail(f"--completion {shell}".rstrip() + f": should name a shell: {', '.join(SCRIPTS)}")
    print_and_exit(SCRIPTS[shell])


def load_main(command: str) -> Callable[[Mapping[str, Any], Any], Any]:
    """The function that runs a command.

    Only `train` receives the whole Invocation and returns a bound; the other commands go through `run_command`.
    """
    module = import_module(f"vaecli.commands.{command}")
    if command == "train":
        return module.main
    from vaecli.commands._run import run_command

    return lambda values, invocation: run_command(module, values, invocation.typed_keys)


def print_runs(folder: Path) -> None:
    """The table of `vae runs` at the end of a sweep."""
    import_module("vaecli.commands.runs").print_runs(folder)


def print_and_exit(text: str) -> NoReturn:
    """Print and exit. A reader may close the pipe early, as in `vae --help | head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        streams.discard_output(sys.stdout)
    except OSError as error:
        streams.discard_output(sys.stdout)
        fail(f"standard output: {error.strerror or error}")
    sys.exit(0)


def terminated(number: int, frame: FrameType | None) -> NoReturn:
    """Exit as a terminated process does, after removing half-written files."""
    sys.exit(128 + number)


def fail(message: str) -> NoReturn:
    print(f"error: {printable_lines(message)}", file=sys.stderr)
    sys.exit(1)


if __name__ == "__main__":
    main()
