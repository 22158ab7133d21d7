"""The site that `make docs` builds from README.md, the pages next to this file, and the docstrings.

Why Sphinx with MyST: it can refuse every dead link, anchor, picture and name, in the Markdown and in the docstrings.
Zensical, the successor of MkDocs Material, is at version 0.1 and calls its API reference preliminary.
"""

from __future__ import annotations

import importlib
import inspect
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, get_type_hints

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

import vaecli

# several classes have attributes of one name, which a plain name then refers to: no link is dead
suppress_warnings = ["ref.python"]
ROOT = Path(__file__).parents[1]
PACKAGES = {  # the pages of the API reference
    "models": "The VAE, building one from a configuration, loading one from a run.",
    "objectives": "What training maximises.",
    "architectures": "Encoder and decoder networks.",
    "decoders": "Likelihoods p(x|z).",
    "posteriors": "Approximate posteriors q(z|x).",
    "priors": "Priors p(z).",
    "datasets": "Data sets and their splits.",
    "datasets.reading": "Readers of tables, arrays and images.",
    "analysis": "Computations on a trained model.",
    "plots": "Figures.",
    "training": "The training loop, and a run from start to end.",
    "runs": "The files of a run's folder.",
    "config": "Composing configurations, help and completion.",
    "utils": "Errors, text, files, memory, threads.",
}
ALONE = ("flows", "optimizers", "schedulers")  # modules outside of the packages
FIELD = re.compile(r"((?:[\w\\]+, )*[\w\\]+): (.*)")

project, author, release = "vaecli", "the authors of vaecli", vaecli.__version__
extensions = [
    "myst_parser", "sphinx_external_toc", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx.ext.mathjax",
    "sphinx-mathjax-offline",
]  # fmt: skip
external_toc_path = "docs/_toc.yml"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "build", "outputs", "tests", "vaecli", "conf", "benchmarks", "dist"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 4  # as GitHub makes them
html_theme, html_title = "furo", f"vaecli {release}"
html_static_path, html_css_files = ["site.css"], ["site.css"]
html_show_copyright = html_copy_source = False
highlight_language = "none"
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_inherit_docstrings = False  # what torch says of its own methods
python_use_unqualified_type_names = True
nitpicky = True
nitpick_ignore_regex = [
    ("py:.*", r"(?!vaecli\.).*"),  # names of other projects, whose sites are not asked
    ("py:class", r"vaecli\..*\.(R|T)"),  # type variables
    ("py:class", r"vaecli\.runs\.records\.null_if_not_finite"),  # a validator within an annotation
]


def modules_of(package: str) -> list[str]:
    """The modules of a package, by their full names."""
    folder = ROOT / "vaecli" / package.replace(".", "/")
    return [f"vaecli.{package}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem[0] != "_"]


def write_api() -> None:
    """A page for each package below docs/api, which git ignores."""
    folder = ROOT / "docs/api"
    folder.mkdir(exist_ok=True)
    pages = {package: (text, modules_of(package)) for package, text in PACKAGES.items()}
    pages["others"] = "Modules outside of the packages.", [f"vaecli.{name}" for name in ALONE]
    for package, (text, modules) in pages.items():
        title = f"vaecli.{package}" if package != "others" else "flows, optimizers, schedulers"
        parts = [f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in modules]
        page = "\n".join([f"# {title}\n\n{text}\n", *parts])
        path = folder / f"{package.replace('.', '_')}.md"
        if not path.is_file() or path.read_text() != page:
            path.write_text(page)


def escaped(text: str) -> str:
    """Plain text and `code` as reStructuredText."""
    parts = re.split(r"`([^`]+)`", text)
    plain = [re.sub(r"([\\*|_])", r"\\\1", part) for part in parts[::2]]
    code = [f"``{part.strip()}``" for part in parts[1::2]]
    return "".join(a + b for a, b in zip(plain, [*code, ""], strict=True))


def names_of(thing: Any) -> set[str]:
    """The arguments of a function, or the arguments and attributes of a class."""
    names = {name for base in getattr(thing, "__mro__", ()) for name in vars(base).get("__annotations__", {})}
    try:
        return names | set(inspect.signature(thing).parameters)
    except (TypeError, ValueError):
        return names


def to_rst(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Lines of the form `name: what it is` become fields; the field of a NamedTuple has the comment beside it."""
    if lines[:1] and lines[0].startswith("Alias for field number"):
        lines[:] = [comment_beside(name)]
    known, found, in_field = names_of(thing), [], False
    for line in escaped("\n".join(lines)).split("\n"):
        field = FIELD.fullmatch(line)
        names = field[1].replace("\\", "") if field else ""
        if field and set(names.split(", ")) <= known:
            kind = "ivar" if what == "class" else "param"
            found += ([] if in_field else [""]) + [f":{kind} {names}: {field[2]}"]
            in_field = True
        else:
            in_field = in_field and bool(line)
            found.append(f"    {line.strip()}" if in_field else line)
    lines[:] = [*found, ""]


def without_limits(app: Sphinx, function: Any, bound: bool) -> None:
    """Signatures show `int` for Annotated[int, Field(gt=0)]."""
    with suppress(NameError, TypeError, AttributeError):
        function.__annotations__ = get_type_hints(function)


def comment_beside(name: str) -> str:
    """The comment that follows the field of a NamedTuple in the source."""
    module, of, field = name.rsplit(".", 2)
    source = inspect.getsource(getattr(importlib.import_module(module), of))
    found = re.search(rf"^    {field}: [^#\n]*#\s*(.*)$", source, re.MULTILINE)
    return found[1] if found else ""


def link_to_api(app: Sphinx, doctree: nodes.document) -> None:
    """A link to a file of vaecli's leads to its part of the API reference."""
    for node in list(doctree.findall(addnodes.download_reference)):
        found = re.search(r"(vaecli(?:/\w+)+)\.py$", node["reftarget"])
        if found:
            target = {"refdomain": "py", "reftype": "mod", "reftarget": found[1].replace("/", "."), "refexplicit": True}
            node.replace_self(addnodes.pending_xref("", *node.children, refdoc=app.env.docname, **target))


def setup(app: Sphinx) -> None:
    write_api()
    app.connect("autodoc-before-process-signature", without_limits)
    app.connect("autodoc-process-docstring", to_rst)
    app.connect("doctree-read", link_to_api, priority=100)
