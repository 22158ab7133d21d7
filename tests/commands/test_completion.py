"""TAB, as bash asks for it: commands, keys, options, runs and files, at once and without internals."""

from __future__ import annotations

import importlib
import resource
import shutil
import statistics
import subprocess
import sys
import time
import typing
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from support.command_line import forked

import vaecli
from vaecli.config.catalog import command_keys, commands, conf_folder, groups, keys
from vaecli.config.completion import SCRIPTS, answer, choices
from vaecli.utils.schema import as_typed

ASK = """
{load}
complete -p vae vae-train >&2
while IFS= read -r COMP_LINE; do
    COMP_POINT=${{#COMP_LINE}}
    _vae "${{COMP_LINE%% *}}"
    for reply in "${{COMPREPLY[@]}}"; do echo "$reply|"; done
    echo END
done
"""
START = "import sys; from vaecli.__main__ import main, train; sys.argv[0] = '{name}'; {call}()"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with runs, files and an option of the user's, and the two console scripts in PATH."""
    for folder in ("outputs/digits/a/checkpoints", "outputs/sweeps/s/0_x/checkpoints", "outputs/no", "mine/decoder",
                   "my (data)", "bin"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    for file in ("outputs/digits/b/config.yaml", "numbers.npy", "my (data)/x.npy", "mine/decoder/own.yaml"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("# the user's\n_target_: mine.Own\nname: own\nfactor: 2.0  # of it\n")
    for name, call in (("vae", "main"), ("vae-train", "train")):
        script = tmp_path / "bin" / name
        script.write_text(f"#!{sys.executable}\n{START.format(name=name, call=call)}\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def ask(*lines: str, load: str = 'eval "$(vae --completion bash)"') -> list[list[str]]:
    """What bash itself gets for each line, in its variable COMPREPLY."""
    typed = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(
        ["bash", "-c", ASK.format(load=load)], input=typed, capture_output=True, text=True, check=True
    )
    assert len(done.stderr.splitlines()) == 2, done.stderr  # one function for both names
    return [part.removesuffix("|\n").split("|\n") if part else [] for part in done.stdout.split("END\n")[:-1]]


def test_bash_completes_what_the_user_may_type(place: Path) -> None:
    expected = {
        "vae sam": ["sample "],
        "vae train dec": ["decoder="],
        "vae sample temp": ["temperature="],
        "vae sample dataset.r": ["dataset.root=", "dataset.rows="],
        "vae train decoder=gaussian_": ["gaussian_fixed ", "gaussian_identity ", "gaussian_optimal "],
        "vae-train decoder=bernoulli,gaussian_o": ["bernoulli,gaussian_optimal "],
        "vae-train --config-dir mine decoder=o": ["own "],
        "vae-train --config-dir=mine decoder=own decoder.": ["decoder.factor="],
        "vae train dataset=mnist dataset.ro": ["dataset.root=", "dataset.rows="],
        "vae train experiment=beta_curves dataset.sp": ["dataset.space="],
        "vae train +epo": ["+epochs="],
        "vae train dataset.binarize=s": ["static "],
        "vae sample epochs=3 format=": ["png ", "npz ", "csv "],
        "vae evaluate exact=": ["true ", "false "],
        "vae sample run=": ["latest ", "outputs/"],
        "vae sample run=outputs/": ["outputs/digits/", "outputs/sweeps/"],
        "vae-train resume=outputs/digits/": ["outputs/digits/a ", "outputs/digits/b "],
        "vae reconstruct run=[outputs/digits/a,outputs/s": ["[outputs/digits/a,outputs/sweeps/"],
        "vae encode input=n": ["numbers.npy "],
        "vae evaluate rows=n": ["numbers.npy "],
        "vae encode input=m": ["mine/", r"my\ \(data\)/"],
        "vae encode input=my": [r"\'my\ \(data\)/"],
        r"vae encode input=\'my\ \(data\)/": [r"\'my\ \(data\)/x.npy\' "],
        "vae encode 'input=num": ["input=numbers.npy "],
        "vae train --mu": ["--multirun "],
        "vae sample n=": [],
        "vae sample n=3 n": [],
        "vae nonsense ": [],
        "vae --completion f": ["fish "],
    }
    assert dict(zip(expected, ask(*expected), strict=True)) == expected


def test_the_old_way_to_install_works(place: Path) -> None:
    assert ask("vae-train lat", load='eval "$(vae-train -sc install=bash)"') == [["latent_dim="]]


def test_no_internals_and_no_errors_at_tab(place: Path) -> None:
    for command in commands():
        found = answer("zsh", f"vae {command} ")
        assert found
        assert not [word for word in found if "_target_" in word or "hydra" in word or word.startswith("defaults")]
    done = subprocess.run(["vae", "--complete", "bash", "vae encode input=/nowhere/"], capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


@pytest.mark.parametrize("shell", SCRIPTS)
def test_each_shell_gets_a_script(shell: str, place: Path) -> None:
    done = subprocess.run(["vae", "--completion", shell], capture_output=True, text=True, check=True)
    assert f"--complete {shell}" in done.stdout
    wrong = subprocess.run(["vae", "--completion", "csh"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (1, "error: --completion csh: should name a shell: bash, zsh, fish\n")


def literals() -> Iterator[tuple[str, str, set[str]]]:
    """The file, key and words of every annotation that lists them: of the commands, and of the options' classes."""
    for command in set(commands()) - {"train"}:
        config = importlib.import_module(f"vaecli.commands.{command}").Config
        yield from ((command, key, words) for key, words in listed(config))
    for group, options in groups().items():
        for option in options if group != "experiment" else []:
            target = yaml.safe_load((conf_folder() / group / f"{option}.yaml").read_text())["_target_"]
            module, _, name = target.rpartition(".")
            made = getattr(importlib.import_module(module), name)
            hinted = made.__init__ if isinstance(made, type) else made
            yield from ((f"{group}/{option}", key, words) for key, words in listed(hinted))


def listed(hinted: Callable[..., object]) -> Iterator[tuple[str, set[str]]]:
    for key, hint in typing.get_type_hints(hinted).items():
        parts = [hint, *typing.get_args(hint)]
        words = {word for part in parts if typing.get_origin(part) is typing.Literal for word in typing.get_args(part)}
        if words:
            yield key, words | ({"true", "false"} if bool in parts else set())


def test_tab_offers_the_words_that_a_key_takes() -> None:
    """The comments in the YAML files, from which it has them, list all words of the annotation and no other."""
    cases = list(literals())
    assert len(cases) > 20
    for file, key, words in cases:
        path = conf_folder() / f"{file}.yaml"
        known = command_keys(file) if "/" not in file else keys(path)
        (there,) = [one for one in known if one.name == key] or [None]
        if there is None or there.name == "source":  # not for users
            continue
        assert set(choices(there)) - {"null"} == set(map(as_typed, words)), f"{path}: {key}"


YAML = """\
# Count the latents.
defaults:
  - run
  - run_data
  - _self_

times: 1              # factor on the count
unit: latents         # latents | pairs
"""

CODE = """\
from dataclasses import dataclass
from pathlib import Path
from vaecli.commands._keys import DataKeys
from vaecli.models.load import Run

@dataclass
class Config(DataKeys):
    FILE = "{unit}.txt"
    times: int
    unit: str

def main(config: Config, run: Run) -> Path:
    config.target.write_text(str(run.model.latent_dim * config.times))
    return config.target
"""


def other_package(folder: Path) -> None:
    """From now on vaecli is the package in this folder."""
    for name in [name for name in sys.modules if name.split(".")[0] == "vaecli"]:
        del sys.modules[name]
    sys.path.insert(0, str(folder))


def test_a_command_is_found_by_its_two_files(digits_run: Path, tmp_path: Path) -> None:
    """Twenty lines of YAML and code: it is in the help and at TAB, its run is loaded, its file named and announced."""
    for folder in (conf_folder(), Path(vaecli.__file__).parent):
        shutil.copytree(folder, tmp_path / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "conf/count.yaml").write_text(YAML)
    (tmp_path / "vaecli/commands/count.py").write_text(CODE)

    def vae(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = forked(*args, cwd=tmp_path, before=lambda: other_package(tmp_path))
        assert done.returncode == code, done.stderr
        return done

    assert "\n  count        Count the latents.\n" in vae("--help").stdout
    rows = [line.split("=")[0].strip() for line in vae("count", "--help").stdout.splitlines() if line.startswith("  ")]
    assert rows[:7] == ["run", "checkpoint", "times", "unit", "device", "output", "trust"]
    assert vae("--complete", "bash", "vae cou").stdout == "count \n"
    assert vae("--complete", "bash", "vae count unit=").stdout == "unit=latents \nunit=pairs \n"
    assert vae("count", "time=2", code=1).stderr == "error: unknown key time; did you mean times?\n"
    done = vae("count", f"run={digits_run}", "times=2", "unit=pairs", "output=a.txt")
    assert done.stdout == "wrote a.txt\n"
    assert (tmp_path / "a.txt").read_text() == "10"
    done = vae("count", f"run={digits_run}")
    assert done.stdout == f"wrote {digits_run / 'latents.txt'}\n"
    wrong = vae("count", f"run={digits_run}", "output=a.csv", code=1)
    assert wrong.stderr == "error: output=a.csv: the name ends in .csv, but .txt is written; change the name\n"


def test_tab_is_quick(place: Path, measured: Callable[[str], None]) -> None:
    for i in range(300):
        (place / f"outputs/digits/{i}/checkpoints").mkdir(parents=True)
    lines = ("vae ", "vae train ", "vae-train decoder=", "vae sample run=outputs/", "vae sample run=outputs/digits/")
    wall: dict[str, list[float]] = {line: [] for line in lines}
    cpu: dict[str, list[float]] = {line: [] for line in lines}
    for _ in range(3):
        for line in lines:
            before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            subprocess.run([line.split()[0], "--complete", "bash", line, " =:"], capture_output=True, check=True)
            wall[line].append(time.perf_counter() - started)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu[line].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    for line in lines:
        seconds = statistics.median(wall[line]), statistics.median(cpu[line])
        measured(f"TAB after {line!r}: {seconds[0]:.3f} s, {seconds[1]:.3f} s of one core (medians of 3)")
        assert min(cpu[line]) < 0.25
