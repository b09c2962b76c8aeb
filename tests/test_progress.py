import io
from dataclasses import replace

import pytest
from rich.console import Console

from lt_extrap.compose import configure
from lt_extrap.config import AdamW, Head, Timm
from lt_extrap.data.target import load_target
from lt_extrap.data.training_set import build_training_set
from lt_extrap.model.backbones import build_backbone
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.heads import build_head
from lt_extrap.module import build_model
from lt_extrap.progress import _caution, start_panel, time_line


def said(*overrides):
    from conftest import SMALL

    config = configure(*(word for word in SMALL if not word.startswith("backbone")), *overrides)
    target = load_target(config.target)
    training = build_training_set(config.auxiliary, target, seed=0)
    panel = start_panel(config, target, training, build_model(config, target, training), 12, "runs/x")
    console = Console(file=io.StringIO(), width=300)
    console.print(panel)
    return console.file.getvalue()


def test_rates_of_random_weights_for_pretrained_ones_are_told():
    pretrained, random = Timm(model="test_vit", weights="w.pth"), Timm(model="test_vit")
    fast = AdamW(batch_size=256, blr=1e-3, image_size=32)
    config = configure("experiment=demo")
    body = build_backbone(random, image_size=32, seed=0)
    model = Classifier(body, build_head(Head(), dim=body.dim, num_target=2, num_auxiliary=0, seed=0))
    for node, recipe, told in (
        (pretrained, fast, True),
        (random, fast, False),
        (pretrained, replace(fast, layer_decay=0.75), False),
        (pretrained, replace(fast, blr=7e-4), False),
        (config.backbone, fast, False),
    ):
        caution = _caution(replace(config, backbone=node, recipe=recipe), model)
        assert ("lr 0.001 for every layer of pretrained weights" in caution) == told
    body.freeze()
    assert _caution(replace(config, backbone=pretrained, recipe=fast), model) == ""


VIT = ("backbone=timm", "backbone.model=test_vit", "recipe.image_size=32", "component=baseline")


@pytest.mark.parametrize(
    ("overrides", "wanted"),
    [
        ((), ["batch 32, lr 0.0005 (blr 0.004 x batch / 256), cosine"]),
        (
            (
                *("recipe.accumulate=4", "recipe.head_warmup_factor=60", "budget={unit: steps, head_warmup: 3}"),
                *("recipe.layer_decay=0.5", "recipe.head_lr_factor=10", "recipe.freeze=2"),
            ),
            [
                "batch 32 = 4 x 8, lr 0.0005",
                "; 3 steps of the head alone before, x 60",
                "0.5: 6 rates, 1.56e-05 (layer 2) to 0.005 (head)",
            ],
        ),
        (("recipe.layer_decay=0.5",), ["0.5: 8 rates, 3.91e-06 (embeddings) to 0.0005 (head)"]),
    ],
)
def test_the_panel_says_how_it_is_trained(overrides, wanted):
    text = said(*VIT, *overrides)
    for words in wanted:
        assert words in text
    assert ("layer decay" in text) == any("layer_decay" in word for word in overrides)


def test_the_line_of_the_time():
    seconds = {"data_wait": 8.0, "forward": 60.0, "backward": 100.0, "optimizer": 10.0, "logging": 4.0}
    time = seconds | {"validation": 18.0, "images_per_second": 1812.3, "peak_memory": 1_900_000_000}
    shares = "data wait 4%, forward 30%, backward 50%, optimizer 5%, logging 2%, validation 9%"
    assert time_line(time, "cuda") == f"time: 3m20s; {shares}; 1,812 images/s; peak 1.9 GB of the GPU"
    assert time_line(time, "cpu").endswith("; peak 1.9 GB in this process")
    nothing = dict.fromkeys(time, 0.0)  # such as of a run that was killed between its last step and its results
    assert time_line(nothing, "cpu").startswith("time: 0m00s; data wait 0%, ")
