"""A table in each format: what strangers wrote is text in all of them."""

import csv
import io
import math
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lt_extrap.report.sheet import (
    Column,
    Estimate,
    Sheet,
    as_csv,
    as_latex,
    as_markdown,
    chance,
    change,
    code,
    duration,
    number,
    points,
    span,
)
from lt_extrap.uncertainty import Interval

HOSTILE = r"</script><script>alert(1)</script> a|b & c_d $x$ 5% #1 ~^{}\ *z* `q` [l](u)"


def sheet(*rows, columns=None):
    return Sheet("a-key", "Title_1", columns or [Column("row"), Column("overall", points, ("mean", "deviation"))], rows)


def test_values_are_shown():
    assert points(Estimate(41.25, 1.04)) == "41.2 ± 1.0"
    assert points(Estimate(41.0, math.nan)) == "41.0"
    assert points(Estimate(math.nan, math.nan)) == "-"
    assert change(Estimate(-0.04, 1.0)) == "+0.0 ± 1.0"  # no -0.0
    assert change(2.0) == "+2.0"
    assert span(Interval(-1.04, 2.0)) == "-1.0 to +2.0"
    assert span(None) == "-"
    assert (duration(36.0), duration(252.0), duration(11160.0), duration(None)) == ("36.0 s", "4.2 min", "3.1 h", "-")
    assert (chance(0.0004), chance(0.05), chance(math.nan)) == ("< 0.001", "0.050", "-")
    assert (number(0)(1234), number(2)(None)) == ("1,234", "-")


def test_an_interval_says_on_which_side_of_0_it_ends():
    shown = {
        "-2.4 to -0.0": Interval(-2.43, -0.017),  # without 0, with it, without it
        "-0.0 to +2.0": Interval(-0.04, 2.0),
        "+0.0 to +2.0": Interval(0.04, 2.0),
        "0.0 to 0.0": Interval(-0.0, 0.0),
    }
    of = sheet(*(("a", interval) for interval in shown.values()), columns=[Column("row"), Column("i", span)])
    assert [cells[1] for cells in of.shown()] == [*shown]
    assert all(interval in as_markdown(of) for interval in shown)
    assert "$-$2.4 to $-$0.0" in as_latex(of)


def test_markdown_is_one_table_whatever_a_name_holds():
    lines = as_markdown(sheet((HOSTILE, Estimate(1.0, 2.0)), ("b\nc", None))).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {3}
    assert r"\<script\>" in table[2]
    assert "**Title\\_1**" in lines


def test_commands_can_be_copied_from_markdown():
    shown = as_markdown(
        sheet(("a_b", "run a_b=`c` | d"), ("b", None), columns=[Column("row"), Column("command", code)])
    )
    assert r"| ``run a_b=`c` \| d`` |" in shown
    assert r"| a\_b" in shown


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_csv_gives_back_what_went_in(name):
    text = as_csv(sheet((name, Estimate(1.25, math.nan)), ("b", None)))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows == [["row", "overall mean", "overall deviation"], [name, "1.25", ""], ["b", "", ""]]


def test_latex_has_no_command_of_a_stranger():
    text = as_latex(sheet((HOSTILE, Estimate(-1.5, 2.0))))
    (line,) = [line for line in text.splitlines() if "script" in line]
    assert r"\textless{}/script\textgreater{}" in line
    assert r"a\textbar{}b \& c\_d \$x\$ 5\% \#1 \textasciitilde{}\textasciicircum{}\{\}\textbackslash{}" in line
    assert r"$-$1.5 $\pm$ 2.0" in line
    assert r"$-$0.5 to $+$1.0" in as_latex(
        sheet(("a", Interval(-0.5, 1.0)), columns=[Column("row"), Column("i", span)])
    )
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lr}"):
        assert rule in text


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "pages"), [(40, 1), (130, 4)])
def test_latex_is_typeset(tmp_path, lines, pages):
    if shutil.which("pdflatex") is None:
        pytest.skip("no pdflatex on the path")
    body = as_latex(sheet(*[(HOSTILE, Estimate(-1.5, 2.0))] * lines))
    packages = "\\usepackage{booktabs}" + "\\usepackage{longtable}" * (pages > 1)
    (tmp_path / "a.tex").write_text(
        "\\documentclass{article}" + packages + "\\begin{document}\n" + body + "\\end{document}\n"
    )
    done = subprocess.run(["pdflatex", "-halt-on-error", "a.tex"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-500:]
    assert f"({pages} page" in done.stdout
