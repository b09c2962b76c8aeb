"""Features computed once train the head to what images would."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from conftest import SMALL
from lt_extrap import runs
from lt_extrap.compose import configure
from lt_extrap.config import Timm
from lt_extrap.data.datamodule import collate
from lt_extrap.data.decode import UnreadableImage
from lt_extrap.data.features_once import computed_once
from lt_extrap.errors import ConfigError
from lt_extrap.model.backbones import build_backbone
from lt_extrap.retrained import retrained
from lt_extrap.train import train

WITHOUT = [word for word in SMALL if not word.startswith(("backbone", "recipe", "budget"))]
PROBE = (
    *WITHOUT,
    "backbone=timm",
    "backbone.model=test_vit",
    "recipe=probe",
    "recipe.image_size=32",
    "recipe.batch_size=32",
    "component=neighbors",
    "budget={unit: steps, amount: 20, warmup: 2}",
)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["linear", pytest.param("cosine", marks=pytest.mark.slow)])
def test_a_probe_on_features_is_one_on_images(head, tmp_path):
    ended = {}
    for once in ("false", "true"):
        words = (*PROBE, f"head={head}", f"data.features_once={once}")
        ended[once] = train(configure(*words), tmp_path / once)
    weights = [load_file(tmp_path / once / runs.WEIGHTS) for once in ended]
    assert weights[0].keys() == weights[1].keys()
    start = build_backbone(Timm(model="test_vit"), image_size=32, seed=0).network.state_dict()
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-5)
        if key.startswith("backbone."):
            assert torch.equal(value, start[key.removeprefix("backbone.network.")])
    assert ended["true"]["trained_parameters"] == ended["false"]["trained_parameters"]
    assert not retrained(runs.load(tmp_path / "true")).data.features_once
    assert ended["true"]["test"]["acc"] == pytest.approx(ended["false"]["test"]["acc"], abs=0.03)


class _Images(torch.utils.data.Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, key):
        return torch.full((3, 32, 32), key[1], dtype=torch.uint8), int(key[1]) % 2, key[1]


def test_each_image_has_its_own_features_and_unreadable_ones_are_named():
    class OneIsBroken(_Images):
        def __getitem__(self, key):
            return UnreadableImage("four.jpg", "broken") if key[1] == 4 else super().__getitem__(key)

    backbone = build_backbone(Timm(model="test_vit"), image_size=32, seed=0)
    backbone.freeze()
    how = {"dataset": OneIsBroken(), "batch_size": 3, "collate_fn": collate}
    once = computed_once(backbone, how, np.arange(7, dtype=np.int32) % 2, torch.device("cpu"))
    batch = once.__getitems__([(9, 6), (9, 4), (9, 0), (9, 6)])
    wanted = backbone(torch.stack([_Images()[(0, place)][0] for place in (6, 0, 6)]).float())
    torch.testing.assert_close(batch.images, wanted)
    assert batch.label.tolist() == [0, 0, 0]
    assert batch.sample.tolist() == [6, 0, 6]
    assert batch.unreadable == ["four.jpg: broken"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe.crop_scale=[0.5,1]", "recipe.crop_ratio=[1,1]"], "recipe.crop_scale to be null with data.features"),
        (["recipe.mixup=0.8"], "recipe.mixup to be 0 with data.features_once"),
        (["recipe.erasing=0.1"], "recipe.erasing to be 0 with data.features_once"),
        (["recipe.freeze=2"], "recipe.freeze to be all with data.features_once"),
        (["recipe.flip=0.5"], "recipe.flip to be null or 0 with recipe.crop_scale=null"),
        (["recipe.randaugment=[9,0.5]"], "recipe.randaugment to be null or 0 with recipe.crop_scale=null"),
        (["adapter=bitfit", "recipe.freeze=0", "backbone.weights=w.pth"], "adapter to be none with data.features_once"),
        (["compile=true"], "compile to be false with data.features_once"),
        (["data.resident=true"], "data.resident to be false with data.features_once"),
        (["recipe.freeze=none"], "recipe.freeze to be at least 0, or all"),
    ],
)
def test_what_changes_features_is_refused(words, said):
    with pytest.raises(ConfigError, match=said):
        configure(*PROBE, "data.features_once=true", *words)
