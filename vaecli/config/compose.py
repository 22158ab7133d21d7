"""Runs a command as a Hydra application, with Hydra's errors reworded."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from argparse import ArgumentError
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaecli.config import optuna_sweeper
from vaecli.config.catalog import conf_folder, config_dirs, hidden_options
from vaecli.config.explain import explain, first_lines
from vaecli.config.extras import check_extras
from vaecli.config.optuna_study import reporter
from vaecli.config.parallel_jobs import divide_devices, divide_threads, jobs_save_first
from vaecli.config.sweep_callback import SweepCleanup, remove_empty
from vaecli.config.sweep_folders import check_run_name, register, single_keys
from vaecli.runs.access import PATHS, NotPermitted
from vaecli.utils.cluster import requeue
from vaecli.utils.errors import UserError, nearest
from vaecli.utils.memory import size
from vaecli.utils.ranks import barrier, leads, scratch_folder
from vaecli.utils.types import Values


class Invocation(NamedTuple):
    """How a run was started."""

    command: str  # the command line that repeats it
    typed_keys: list[str]  # the keys given on it
    sweep_folder: Path | None  # the folder that a sweep has made for it
    quiet: bool = False  # it prints nothing on the terminal
    hints: bool = True  # it prints warnings about the data and the settings; False: an earlier run of the command has
    prune: Callable[[int, float], bool] | None = None  # of an epoch and its bound: whether the run should stop
    swept_keys: Sequence[str] = ()  # those of typed_keys that vary in its sweep


Main = Callable[[Values, Invocation], Any]  # runs a command with its configuration


def run(
    command: str,
    load_main: Callable[[], Main],
    args: list[str],
    program: str,
    end_sweep: Callable[[Path], None] = lambda folder: None,
) -> None:
    """Compose the configuration of `command` from `args` and run it, once or for each job of a sweep.

    load_main: imports what runs the command; called once the configuration is composed, since torch takes seconds
    end_sweep: called with a sweep's folder when all its jobs have ended
    UserError for every error that the user can correct.
    """
    check_working_folder(os.getcwd())
    flags, words = prepared(args)
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # else Hydra's logging shows its notes on fonts
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # exceptions become messages in __main__.py alone
    sys.argv = [program, *flags, *words]
    job = Job(load_main, program, words)
    SweepCleanup.folder = None
    try:
        with jobs_save_first(lambda: SweepCleanup.folder):
            hydra.main(version_base="1.3", config_path=str(conf_folder()), config_name=command)(job)()
        show_sweep(end_sweep)
    except UserError as error:
        show_sweep(end_sweep)
        barrier()  # torchrun ends all processes as soon as one has failed
        raise UserError(failed_sweep(job, error)) from None
    except (HydraException, OmegaConfBaseException, ValueError) as error:  # Hydra's ValueErrors are about its flags
        if job.number and not isinstance(error, HydraException | OmegaConfBaseException):
            raise
        raise UserError(explain(error, command, words, config_dirs(flags))) from None
    except Exception as error:
        if not type(error).__module__.startswith("submitit"):
            raise
        show_sweep(end_sweep)
        raise UserError(f"a job of this sweep did not finish: {first_lines(error)}") from None
    finally:
        remove_empty()
    job.raise_failure()


def prepared(args: list[str]) -> tuple[list[str], list[str]]:
    """The flags and the words for Hydra, after checking them and registering what they need."""
    flags, words = split_arguments(args)
    words = force_data_paths(words)
    for path in hidden_options(config_dirs(flags)):
        raise UserError(f"{path}: vaecli has a {path.parent.name} of the same name, which would be used; rename yours")
    check_extras(words)
    register(words)
    optuna_sweeper.register()
    multirun = "--multirun" in flags
    if leads():
        check_run_name(words, multirun)
    elif multirun:
        words = [*words, f"hydra.sweep.dir={scratch_folder()}"]
    return flags, words


class Job:
    """Runs one command with each configuration that Hydra composes, here or, sent by a launcher, in another process."""

    ended: ClassVar[SystemExit | None] = None  # in this process a signal has stopped the sweep

    def __init__(self, load_main: Callable[[], Main], program: str, words: list[str]) -> None:
        self.load_main, self.program, self.words = load_main, program, words
        self.number = 0  # of jobs in this process
        self.failures: list[str] = []
        self.unread: BrokenPipeError | None = None  # the reader of standard output has closed it
        self.threads_given = "OMP_NUM_THREADS" in os.environ
        self.beside_others = False

    def __setstate__(self, state: Values) -> None:
        vars(self).update(state)
        self.beside_others = True
        register(self.words)  # OmegaConf's resolvers do not travel with the job
        sys.argv = [self.program, *self.words]

    def __call__(self, config: DictConfig) -> Any:
        self.number += 1
        if Job.ended is not None:
            raise Job.ended
        if self.beside_others:
            divide_threads(HydraConfig.get().launcher, self.threads_given)
        try:
            return execute(self.load_main, config, self.program, self.beside_others)
        except SystemExit as end:
            requeue(end.code)
            Job.ended = end if self.beside_others else None
            raise
        except BrokenPipeError as error:
            self.unread = error
        except UserError as error:
            self.failures.append(str(error))
            barrier()
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                print(f"job {HydraConfig.get().job.num} failed: {error}", file=sys.stderr)
                raise
        return None  # a single run: raised by `raise_failure`, without Hydra's own text

    def raise_failure(self) -> None:
        """Raise the error that ended a single run, or that its output has no reader."""
        if self.unread is not None:
            raise self.unread
        if self.failures:
            raise UserError(self.failures[0])


def failed_sweep(job: Job, error: UserError) -> str:
    """The message for a sweep of which a job failed; a launcher may have run the jobs in other processes."""
    of = f"{len(job.failures)} of {job.number} jobs" if job.number else "jobs of this sweep"
    return f"{of} failed; the first one: {error}"


def show_sweep(end_sweep: Callable[[Path], None]) -> None:
    """Call `end_sweep` for a sweep that has run, if it has written anything."""
    if SweepCleanup.folder is not None and any(SweepCleanup.folder.glob("*/")):
        end_sweep(SweepCleanup.folder)


def compose(command: str, words: Sequence[str]) -> Values:
    """The configuration of one job of a command as plain values; UserError for errors that the user can correct."""
    given = force_data_paths(list(words))
    current = GlobalHydra.instance()
    running, current.hydra = current.hydra, None  # of the command that asks for this, if any
    try:
        with hydra.initialize_config_dir(str(conf_folder()), version_base="1.3"):
            return resolve_config(hydra.compose(command, given))
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(explain(error, command, given)) from None
    finally:
        GlobalHydra.instance().hydra = running


def check_working_folder(folder: str) -> None:
    """UserError for a working folder whose name Hydra would interpolate."""
    if "${" in folder:
        raise UserError(f"{folder}: Hydra cannot work in a folder with ${{ in its name; rename it")


def execute(load_main: Callable[[], Main], config: DictConfig, program: str, beside_others: bool = False) -> Any:
    """Run one command with a composed configuration; beside_others: other jobs of the sweep run at the same time."""
    values, main, hydra_config = resolve_config(config), load_main(), HydraConfig.get()
    if beside_others:
        values = divide_devices(values, hydra_config.job.num)
    overrides = list(hydra_config.overrides.task)
    folder = Path(os.path.relpath(hydra_config.runtime.output_dir)) if hydra_config.mode == RunMode.MULTIRUN else None
    keys = [word.lstrip("+").split("=", 1)[0] for word in overrides]
    typed = f"{program} {shlex.join(overrides)}".strip()
    single = single_keys(word for word in sys.argv[1:] if not word.startswith("-"))
    swept = [key for key in keys if key not in single] if folder else []
    invocation = Invocation(typed, keys, folder, prune=pruner(hydra_config), swept_keys=swept)
    return translate_errors(main, values, invocation)


def pruner(hydra_config: Any) -> Callable[[int, float], bool] | None:
    """The function to which a trial of a search reports; None for other jobs."""
    sweeper = hydra_config.sweeper
    if hydra_config.mode != RunMode.MULTIRUN or sweeper["_target_"] != optuna_sweeper.TARGET:
        return None
    return reporter(sweeper, Path(hydra_config.sweep.dir), hydra_config.job.num)


def translate_errors(main: Callable[..., Any], *args: Any) -> Any:
    """What `main` returns; UserError if it runs out of memory or disk space."""
    try:
        return main(*args)
    except NotPermitted as error:
        raise error.with_command([*sys.argv[0].split(), *sys.argv[1:]]) from None
    except BrokenPipeError:  # the reader of the output has closed it
        raise
    except OSError as error:
        raise UserError(f"{error.filename or 'standard output or a file'}: {error.strerror or error}") from None
    except (MemoryError, RuntimeError) as error:  # torch raises RuntimeError, and OutOfMemoryError, a subclass
        if not isinstance(error, MemoryError) and not re.search("memory|Storage size|overflow", str(error)):
            raise
        wanted = re.search(r"allocate (\d+) bytes", str(error))
        needed = f" ({size(int(wanted[1]))} were asked for)" if wanted else ""
        raise UserError(f"this does not fit into memory{needed}: ask for less, or a smaller batch_size") from None


def resolve_config(config: DictConfig) -> Values:
    """The configuration as plain values, interpolations resolved; UserError if that fails or a text is empty."""
    try:
        missing = OmegaConf.missing_keys(config)
        resolved: Any = OmegaConf.to_container(config, resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{getattr(error, 'full_key', None)}: {first_lines(error)}") from None
    values: Values = resolved
    if missing:
        raise UserError(f"{min(missing)} has no value: give {min(missing)}=...")
    for key, value in values.items():
        if value == "":
            raise UserError(f"{key}=: is empty; give it a value, or leave it out for its default")
    if isinstance(values.get("output"), str) and ".." in Path(values["output"]).parts:
        # made/../run becomes run, before a folder `made` is created
        return {**values, "output": os.path.normpath(values["output"])}
    return values


def force_data_paths(words: list[str]) -> list[str]:
    """With resume= or repeat=, `dataset.path=X` becomes `++dataset.path=X`: the default data set may lack the key."""
    if not any(word.startswith(("resume=", "repeat=")) for word in words):
        return words
    return [f"++{word}" if re.match(rf"dataset\.({'|'.join(PATHS)})=", word) else word for word in words]


def split_arguments(args: list[str]) -> tuple[list[str], list[str]]:
    """The flags, with their values, and the overrides, typed in any order.

    Refuses a flag that Hydra does not have, which would otherwise end in its usage text and exit code 2.
    """
    parser = get_args_parser()
    parser.exit_on_error = parser.allow_abbrev = False
    known = parser._option_string_actions
    # the flag whose value is optional must not take an override as its value
    pairs = zip(args, [*args[1:], ""], strict=False)  # no arguments, no pairs
    args = [f"{arg}=all" if arg in ("--info", "-i") and "=" in after else arg for arg, after in pairs]
    try:
        parsed_args, unknown = parser.parse_known_intermixed_args(args)
    except ArgumentError as error:
        raise UserError(wrong_value(error, known)) from None
    for flag in [*unknown, *(arg for arg in args if arg == "--")]:
        name = flag.partition("=")[0]
        raise UserError(f"unknown flag {name}{nearest(name, known) or '; --help lists the flags'}")
    values = vars(parsed_args)
    words = values.pop("overrides")
    given = {f"--{key.replace('_', '-')}": value for key, value in values.items() if value}
    return [flag if value is True else f"{flag}={value}" for flag, value in given.items()], words


def wrong_value(error: ArgumentError, known: Mapping[str, Any]) -> str:
    """The message for a flag whose value is missing or not allowed."""
    flag = str(error.argument_name).partition("/")[0]
    choices = ", ".join(known[flag].choices or ())
    if wrong := re.match("invalid choice: '(.*?)'", error.message):
        return f"{flag} {wrong[1]}: should be {choices}"
    if known[flag].nargs == 0:
        return f"{flag} takes no value"
    return f"{flag} needs a value" + (f": {choices}" if choices else "")
