"""Which runs stand beside the paper's, by what name, and which do not."""

import pytest
from made_runs import PAPER, make_run, rows_of

from lt_extrap.report.paper_rows import start_of, target_of
from lt_extrap.report.published import beside_ours
from lt_extrap.table import groups_of

MAE, DINOV2, REGISTERS = "vit_base_patch16_224.mae", "vit_base_patch14_dinov2.lvd142m", "vit_base_patch14_reg4_dinov2"


def made(root, *, target=None, backbone=None, kind="Timm", name=None, **config):
    """The row of one run that is the paper's but for this."""
    content = PAPER | config
    content |= {"target": PAPER["target"] | (target or {}), "backbone": backbone or PAPER["backbone"]}
    content |= {"kinds": PAPER["kinds"] | {"backbone": kind}, "name": name or PAPER["name"]}
    make_run(root, "baseline", 0, per_class=False, config=content)
    (row,) = rows_of(root)
    return row


def sheets(root):
    (group,) = groups_of(rows_of(root))
    return {sheet.key: sheet for sheet in beside_ours(group, "e1", "test")}


def column(sheet, name):
    place = [one.name for one in sheet.columns].index(name)
    return {row[0]: row[place] for row in sheet.rows}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "imagenet_lt"),
        ({"folder": "lists_elsewhere"}, "imagenet_lt"),  # the figures say what they are
        ({"reshuffle": 0, "extra_per_class": None, "samples_per_class": None, "exclude": None}, "imagenet_lt"),
        ({"neighbors": {"samples_per_class": 50}}, "imagenet_lt"),  # of the auxiliary set
        ({"reshuffle": 2}, None),
        ({"extra_per_class": 10}, None),
        ({"samples_per_class": 5}, None),
        ({"exclude": "checks/exclude.txt"}, None),
        ({"official": None}, None),
        ({"official": PAPER["target"]["official"] | {"counts": "0" * 16}}, None),
    ],
)
def test_only_the_published_set_as_published_is_the_papers(tmp_path, changed, told):
    assert target_of(made(tmp_path, target=changed)) == told


def test_each_run_of_a_row_is_of_the_published_set(tmp_path):
    unchecked = {"target": {"folder": "ImageNet_LT", "official": None}}
    make_run(tmp_path, "baseline", 0, config=PAPER)
    make_run(tmp_path, "baseline", 1, config=PAPER | unchecked)
    (row,) = rows_of(tmp_path)
    assert target_of(row) is None


@pytest.mark.parametrize(
    ("kind", "backbone", "told"),
    [
        ("Timm", {"model": MAE, "weights": None}, ("scratch", "random weights")),
        ("Timm", {"model": MAE, "weights": "/w/mae.pth"}, ("scratch", "mae.pth")),
        ("Timm", {"model": MAE, "weights": "hub"}, ("scratch", "the masked autoencoder of ImageNet-1k of the hub")),
        ("Timm", {"model": "vit_base_patch16_224.augreg_in21k", "weights": None}, ("scratch", "random weights")),
        ("Timm", {"model": "vit_base_patch16_224.augreg_in21k", "weights": "hub"}, None),
        ("Timm", {"model": "vit_base_patch16_224.augreg_in21k", "weights": "a.npz"}, None),
        ("Timm", {"model": "vit_base_patch16_clip_224.openai", "weights": "hub"}, None),
        ("Timm", {"model": "vit_small_patch16_224.augreg_in21k", "weights": None}, None),
        ("Timm", {"model": MAE, "weights": None, "options": {"depth": 11}}, None),
        ("Timm", {"model": MAE, "weights": None, "options": {}}, ("scratch", "random weights")),
        ("Timm", {"model": DINOV2, "weights": "hub"}, ("dinov2", "the published weights of the hub")),
        ("Timm", {"model": DINOV2, "weights": "w/dinov2_vitb14_pretrain.pth"},
         ("dinov2", "dinov2_vitb14_pretrain.pth")),
        ("Timm", {"model": DINOV2, "weights": "runs/x/model.safetensors"}, None),
        ("Timm", {"model": DINOV2, "weights": None}, None),
        ("Timm", {"model": "vit_small_patch14_dinov2.lvd142m", "weights": "hub"}, None),
        ("Timm", {"model": f"{REGISTERS}.lvd142m", "weights": "hub"}, None),
        ("OpenClip", {"model": "ViT-B-16-quickgelu", "weights": "hub", "tag": "openai"},
         ("clip", "OpenAI's weights of the hub")),
        ("OpenClip", {"model": "ViT-B-16", "weights": "w/ViT-B-16.pt", "tag": None}, ("clip", "ViT-B-16.pt")),
        ("OpenClip", {"model": "ViT-B-16", "weights": "hub", "tag": "laion2b_s34b_b88k"}, None),
        ("OpenClip", {"model": "ViT-B-16", "weights": None, "tag": None}, None),
        # Before the projection and without adapters: neither the paper's CLIP nor LIFT.
        ("OpenClip", {"model": "ViT-B-16", "weights": "hub", "tag": "openai", "projection": False}, None),
        ("OpenClip", {"model": "ViT-L-14", "weights": "hub", "tag": "openai"}, None),
        ("ConvNet", {"widths": [64]}, None),
    ],
)  # fmt: skip
def test_a_start_is_told_by_weights_and_network(tmp_path, kind, backbone, told):
    assert start_of(made(tmp_path, backbone=backbone, kind=kind)) == told


def test_a_backbone_of_another_run_is_no_start(tmp_path):
    assert start_of(made(tmp_path, features_from="runs/a/model.safetensors")) is None
    frozen = PAPER | {"features_from": "model.safetensors"}
    make_run(tmp_path, "baseline", 0, retrained=True, per_class=False, config=frozen)
    own = rows_of(tmp_path)[-1]
    assert own.short == "component+baseline, retrained"
    assert start_of(own).name == "dinov2"  # its own run's backbone


def test_rows_that_are_not_the_experiment_stand_there_by_name(tmp_path):
    make_run(tmp_path, "baseline", 0, words=("budget.amount=1",), config=PAPER)
    make_run(tmp_path, "silencing", 0, words=("loss.lambda_s=0.9",), config=PAPER)
    one, silenced = "component+baseline-budget.amount+1", "component+silencing-loss.lambda_s+0.9"
    found = sheets(tmp_path)
    for key in ("e1-paper-table-2-dinov2", "e1-paper-table-6-dinov2"):
        names = column(found[key], "our row")
        assert [name for name in names.values() if name] == [one, silenced]
        assert f"Not experiment=imagenet_lt_dinov2 as it stands: {one}; {silenced}." in found[key].notes
    gains = found["e1-paper-table-2-dinov2-differences"]
    assert column(gains, "our row") == {"+ RD": None, "+ SD": None, "+ Ours": silenced}
    assert f"Ours are minus {one}, by seed." in gains.notes


def test_of_several_rows_the_plain_one_is_taken_and_has_no_more_to_say(tmp_path):
    make_run(tmp_path, "baseline", 0, config=PAPER)
    for words in ((), ("loss.lambda_s=0.9",)):
        make_run(tmp_path, "silencing", 0, words=words, config=PAPER)
    table = sheets(tmp_path)["e1-paper-table-2-dinov2"]
    assert column(table, "our row")["+ Ours"] == "component+silencing"
    assert not [note for note in table.notes if note.startswith("Not experiment=")]


def test_a_plain_name_in_an_experiment_of_ones_own_is_not_the_papers_recipe(tmp_path):
    made(tmp_path, name="mine")
    notes = sheets(tmp_path)["e1-paper-table-2-dinov2"].notes
    assert "Not experiment=imagenet_lt_dinov2 as it stands: component+baseline." in notes


def test_scratch_says_what_it_starts_from_and_starts_are_not_mixed(tmp_path):
    for weights, component in ((None, "baseline"), ("w/mae.pth", "silencing")):
        config = PAPER | {"name": "imagenet_lt_scratch", "backbone": {"model": MAE, "weights": weights}}
        words = ("backbone.weights=w/mae.pth",) if weights else ()
        make_run(tmp_path, component, 0, words=words, config=config)
    found = sheets(tmp_path)
    first, second = found["e1-paper-table-2-scratch"], found["e1-paper-table-2-scratch-2"]
    assert "Ours start from mae.pth." in first.notes
    assert "Ours start from random weights." in second.notes
    assert column(first, "our row")["Baseline"] is None
    assert column(second, "our row")["+ Ours"] is None
    assert not [note for note in first.notes if note.startswith("Not experiment=")]  # the weights are the start
    assert "We have no row beside Baseline." in found["e1-paper-table-2-scratch-differences"].notes


def test_rows_that_are_none_of_the_papers_get_no_table(tmp_path):
    run = make_run(tmp_path, "silencing", 0, config=PAPER)
    run.rename(run.with_name("component+permuted-seed+0"))
    assert sheets(tmp_path) == {}


def test_rows_of_other_seeds_than_the_baseline_have_no_difference(tmp_path):
    make_run(tmp_path, "baseline", 0, config=PAPER)
    make_run(tmp_path, "silencing", 1, config=PAPER)
    gains = sheets(tmp_path)["e1-paper-table-2-dinov2-differences"]
    (shown,) = [row for row in gains.shown() if row[0] == "+ Ours"]
    assert shown[-6:] == ["component+silencing", "0", "-", "-", "-", "-"]
