"""Names of labels, columns, files and folders that some program takes for something else."""

from __future__ import annotations

NASTY = (
    "[/b]", "[red]", ":smile:", r"$\frac{$", r"$\foo$", "${", "${oc.env:HOME}", r"a\$b$", "$$", "_hidden", "",
    "\x1b[31mred", "\x07bell", "\x9b31m", "\u202egnp.exe", "\u2066x", "a\nb", "a\r\nb", "a\tb", "a\x85b", "a\u2028b",
    "n" * 1000, "$" * 300, "=cmd()", "=1+1", "+1+1", "@SUM(1)", "-x", "-3.5", "1e3", "'quoted'", '"double"', "a;b;c;d",
    "a|b", "a,b", " spaces ", "#hash", "null", "true", "nan", "%s{0}", "{x}", "日本語", "\U0001f600", "<<", "!!int",
    "&a", "*a", "- a", "a: b", "..", "~", "label", "loc_1", "index", "elbo", "\\", "z̴̡͝a", "x_1",
)  # fmt: skip
