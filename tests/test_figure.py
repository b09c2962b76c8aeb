"""What a figure shows; how it looks was looked at."""

import pytest

from lt_extrap.figure import FORMATS, draw, save
from lt_extrap.table import Row


def row(name, accuracies, **settings):
    results = {
        seed: {"test": {"acc": value, "acc_many": value + 0.1, "acc_medium": None, "acc_few": value - 0.1}}
        for seed, value in enumerate(accuracies)
    }
    return Row(name, settings, results)


@pytest.fixture
def numeric():
    return [row(f"lambda+{value}", (0.4, 0.5, 0.6 + value / 10), lambda_s=value, tau=1.0) for value in (1, 0, 0.01)]


def lines(axes):
    return {container.get_label(): container.lines[0] for container in axes.containers}


def test_a_swept_number_is_the_axis_in_its_order(numeric):
    (axes,) = draw(numeric).axes
    assert axes.get_xlabel() == "lambda_s"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "0.01", "1"]
    assert list(axes.get_xticks()) == [0, 1, 2]
    assert axes.get_ylabel() == "test accuracy, %\nmean ± standard deviation over 3 seeds"
    drawn = lines(axes)
    assert list(drawn) == ["overall", "many", "few"]  # no class is medium
    assert drawn["overall"].get_ydata() == pytest.approx([50, 50.0333333, 53.3333333])
    assert len({line.get_marker() for line in drawn.values()}) == 3
    assert len({line.get_linestyle() for line in drawn.values()}) == 3


def test_error_bars_are_the_deviation_over_seeds(numeric):
    (axes,) = draw(numeric).axes
    (bars,) = axes.containers[0].lines[2]
    first = bars.get_segments()[0]
    assert first[:, 1] == pytest.approx([40, 60])


@pytest.mark.parametrize(
    "settings",
    [
        ({"ratio": [1, 1, 3]}, {"ratio": [1, 1, 1]}),
        ({"k": None}, {"k": 3}),
        ({"on": True}, {"on": False}),
        ({"a": 1, "b": 2}, {"a": 2, "b": 3}),
        ({}, {}),
    ],
)
def test_anything_else_is_a_line_of_dots_a_row(settings):
    (axes,) = draw([row("first", (0.5,), **settings[0]), row("second", (0.6, 0.7), **settings[1])]).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["first", "second"]
    assert axes.yaxis_inverted()
    assert axes.get_xlabel() == "test accuracy, %\nmean ± standard deviation over 1 to 2 seeds"
    assert lines(axes)["overall"].get_xdata() == pytest.approx([50, 65])
    assert lines(axes)["overall"].get_linestyle() == "None"


def test_one_seed_has_no_deviation():
    (axes,) = draw([row("only", (0.5,))]).axes
    assert axes.get_xlabel() == "test accuracy, %\n1 seed"


@pytest.mark.parametrize("ending", FORMATS)
def test_files(numeric, tmp_path, ending):
    file = tmp_path / "new" / f"figure{ending}"
    save(draw(numeric), file)
    assert file.read_bytes().startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[ending])
