"""Charts of a report, by the elements that they are drawn with."""

import re
import xml.etree.ElementTree as ET

from made_runs import make_experiment, rows_of

from lt_extrap.report.charts import differences_chart
from lt_extrap.report.comparison import compare
from lt_extrap.report.outcomes import read_outcomes
from lt_extrap.table import groups_of

_VERTICAL = re.compile(r"M (\S+) (\S+)\s+L \1 (\S+)\s*")  # one line from a place to one above or below it


def test_lines_beside_the_intervals_of_a_row_leave_its_name_alone(tmp_path):
    (group,) = groups_of(rows_of(make_experiment(tmp_path, 2)))
    outcomes = {folder: read_outcomes(folder) for row in group.rows for folder in row.folders.values()}
    compared = compare(group, outcomes, "test")
    root = ET.fromstring(differences_chart(compared, "c").svg)
    names = [
        (float(of.attrib["y"]), float(of.attrib["font-size"]))
        for of in root.iter("{http://www.w3.org/2000/svg}text")
        if of.text in {one.row.label for one in compared}
    ]
    drawn = [
        (path.attrib["stroke"], *sorted(map(float, found.groups()[1:])))
        for path in root.iter("{http://www.w3.org/2000/svg}path")
        if (found := _VERTICAL.fullmatch(path.attrib["d"]))
    ]
    zero, grid = ([line[1:] for line in drawn if line[0] == f"var(--{color})"] for color in ("soft", "line"))
    assert len(names) == len(compared)
    assert min(len(zero), len(grid)) >= 1
    for base, size in names:
        assert not [line for line in zero + grid if line[0] < base and line[1] > base - size]
