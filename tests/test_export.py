"""Exports of runs that were really trained, read as their users read them."""

import json
import shutil
import sys
import warnings
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform, resolve_data_config

from command import interpreted
from lt_extrap import export as module
from lt_extrap import runs
from lt_extrap.config import BatchNormHead, CosineHead, Head, TextHead, Timm
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError, ExportError, RunError
from lt_extrap.export import ExportConfig, export
from lt_extrap.model.backbones import build_backbone, load_pretrained
from lt_extrap.model.classifier import Classifier
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.heads import build_head, empty_head


@pytest.fixture(params=["convnet_run", "timm_run"])
def any_run(request):
    return request.getfixturevalue(request.param)


def same(direct, read):
    """What was read computes what the original computes, for a batch of 1 and of 5."""
    generator = torch.Generator().manual_seed(0)
    for batch in (1, 5):
        images = 255 * torch.rand(batch, 3, direct.image_size, direct.image_size, generator=generator)
        with torch.no_grad():
            torch.testing.assert_close(read(images), direct.model(images), atol=1e-4, rtol=0)


def says(metadata, direct):
    """The metadata is all that a consumer needs."""
    assert json.loads(metadata["classes"]) == list(direct.classes)
    assert int(metadata["image_size"]) == direct.image_size
    assert float(metadata["crop_fraction"]) == direct.crop_fraction
    assert json.loads(metadata["mean"]) == pytest.approx(direct.mean)
    assert json.loads(metadata["std"]) == pytest.approx(direct.std)
    assert "values 0..255" in metadata["input"]


def test_safetensors(any_run):
    done = export(ExportConfig(run=str(any_run), format="safetensors"))
    assert done.files == (any_run / "export" / "safetensors" / "model.safetensors",)
    direct, copy = DirectClassifier.load(any_run / runs.WEIGHTS), DirectClassifier.load(done.files[0])
    assert done.difference == 0
    assert copy.metadata() == direct.metadata()
    same(direct, copy.model)
    content = done.files[0].read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    assert list(header["__metadata__"]) == sorted(copy.metadata())  # or each process would write other bytes


def reads_onnx(path, direct):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()] == [
        ("images", "tensor(float)", [3, direct.image_size, direct.image_size])
    ]
    same(direct, lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0]))
    says(session.get_modelmeta().custom_metadata_map, direct)


@pytest.mark.slow
def test_onnx(timm_run, tmp_path):
    done = export(ExportConfig(run=str(timm_run), format="onnx", output=str(tmp_path / "out")))
    assert done.files == (tmp_path / "out" / "model.onnx",)
    assert done.source == f"the test list of {timm_run}"
    assert done.images == 32
    assert 0 <= done.difference < 1e-4
    reads_onnx(done.files[0], DirectClassifier.load(timm_run / runs.WEIGHTS))


@pytest.mark.slow
def test_torchscript(any_run, tmp_path):
    done = export(ExportConfig(run=str(any_run), format="torchscript", output=str(tmp_path)))
    assert done.files == (tmp_path / "model.pt",)
    files = {"metadata.json": ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        script = torch.jit.load(done.files[0], _extra_files=files)
    direct = DirectClassifier.load(any_run / runs.WEIGHTS)
    same(direct, script)
    says(json.loads(files["metadata.json"]), direct)


def test_timm(timm_run, tmp_path):
    done = export(ExportConfig(run=str(timm_run), format="timm", output=str(tmp_path)))
    config, weights = done.files
    assert [config.name, weights.name] == ["config.json", "model.safetensors"]
    direct = DirectClassifier.load(timm_run / runs.WEIGHTS)
    by_hand = timm.create_model("test_vit", num_classes=9, img_size=32, checkpoint_path=str(weights))
    by_folder = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    options = resolve_data_config(model=by_folder)
    mean, std = (torch.tensor(options[key]).view(3, 1, 1) for key in ("mean", "std"))
    for model in (by_hand.eval(), by_folder.eval()):
        same(direct, lambda images, model=model: model((images / 255 - mean) / std))
    assert by_folder.pretrained_cfg["label_names"] == list(direct.classes)
    # The preprocessing that timm makes of it is ours.
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 70, 3), np.uint8))
    theirs = create_transform(**options)(image) * std + mean
    ours = EvalTransform(size=32, crop_fraction=direct.crop_fraction)(image) / 255
    torch.testing.assert_close(theirs, ours, atol=2 / 255, rtol=0)


def test_an_export_leaves_other_files_of_its_name(timm_run, convnet_run, tmp_path):
    for run, format_ in ((timm_run, "timm"), (timm_run, "timm"), (convnet_run, "safetensors")):
        with pytest.raises(RunError, match=r"output=.* without model") if run is convnet_run else nullcontext():
            export(ExportConfig(run=str(run), format=format_, output=str(tmp_path)))
    timm.create_model(f"local-dir:{tmp_path}", pretrained=True)


def test_timm_is_for_timm(convnet_run):
    with pytest.raises(ConfigError, match="backbone=convnet\n.*choose format=safetensors, onnx or torchscript"):
        export(ExportConfig(run=str(convnet_run), format="timm"))
    assert not (convnet_run / "export" / "timm").exists()


def untrained(path, model):
    """A classifier of a timm model in a file, without a run."""
    backbone = build_backbone(Timm(model=model), image_size=32, seed=0)
    head = empty_head(Head(), dim=backbone.dim, classes=3)
    torch.nn.init.constant_(head.weight, 0.1)
    torch.nn.init.zeros_(head.bias)
    DirectClassifier(Classifier(backbone, head).eval(), Timm(model=model), Head(), ("a", "b", "c"), 32, 1.0).save(path)


def test_timm_is_for_linear_classifiers(tmp_path):
    # Two heads whose logits are averaged; without them its features are an average too.
    untrained(tmp_path / "model.safetensors", "deit_tiny_distilled_patch16_224")
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    with pytest.raises(ConfigError, match="a linear layer with a bias on 192 features"):
        export(ExportConfig(run=str(tmp_path / "model.safetensors"), format="timm", images=str(tmp_path / "x.png")))


def classifier(path, head, **options):
    """A classifier of a small transformer with a head of a kind, in a file, as if it had been trained."""
    node = Timm(model="vit_tiny_patch16_224", options={"depth": 1, "embed_dim": 24, "num_heads": 2}, **options)
    backbone = build_backbone(node, image_size=32, seed=0)
    built = build_head(head, dim=backbone.dim, num_target=3, num_auxiliary=0, seed=0)
    model = Classifier(backbone, built)
    with torch.no_grad():
        built.weight.mul_(50)
        for _ in range(3):  # statistics that are not those of the beginning
            model.train()(255 * torch.rand(8, 3, 32, 32))
    DirectClassifier(model.eval(), node, head, ("a", "b", "c"), 32, 1.0).save(path)
    return DirectClassifier.load(path)


@pytest.mark.parametrize(
    "head", [Head(), BatchNormHead(), CosineHead(), TextHead()], ids=lambda head: type(head).__name__
)
@pytest.mark.parametrize("pooling", [None, "mean"])
def test_every_head_predicts_what_it_did_when_it_is_read_again(tmp_path, head, pooling):
    if isinstance(head, TextHead):  # made from names, and read as a cosine of its scale
        made = classifier(tmp_path / "a.safetensors", CosineHead(scale=head.scale), pooling=pooling)
        made = replace(made, head=head)
    else:
        made = classifier(tmp_path / "a.safetensors", head, pooling=pooling)
    made.save(tmp_path / "b.safetensors")
    read = DirectClassifier.load(tmp_path / "b.safetensors")
    assert (read.head, read.backbone) == (made.head, made.backbone)
    images = 255 * torch.rand(2, 3, 32, 32)
    assert torch.equal(read.model(images), made.model(images))


def test_files_of_before_heads_had_kinds(tmp_path):
    made = classifier(tmp_path / "new.safetensors", Head())
    metadata = made.metadata()
    del metadata["head"], metadata["interpolation"]
    fields = json.loads(metadata["backbone"])
    metadata["backbone"] = json.dumps({key: fields[key] for key in ("type", "model", "options", "drop_path")})
    save_file(made.model.state_dict(), tmp_path / "old.safetensors", metadata)
    old = DirectClassifier.load(tmp_path / "old.safetensors")
    assert (old.head, old.interpolation) == (Head(), "bicubic")
    images = 255 * torch.rand(2, 3, 32, 32)
    assert torch.equal(old.model(images), made.model(images))


def test_preprocessing_is_that_of_the_file_whatever_the_library_has_today(tmp_path):
    made = classifier(tmp_path / "new.safetensors", Head())
    metadata = made.metadata() | {"mean": "[0.1, 0.2, 0.3]", "interpolation": "bilinear"}
    save_file(made.model.state_dict(), tmp_path / "old.safetensors", metadata)
    old = DirectClassifier.load(tmp_path / "old.safetensors")
    assert old.mean == pytest.approx([0.1, 0.2, 0.3])
    assert (old.std, old.interpolation) == (made.std, "bilinear")


def test_weights_of_a_run_want_the_preprocessing_of_that_run(tmp_path):
    made = classifier(tmp_path / "new.safetensors", Head())
    file = tmp_path / "w.safetensors"
    save_file(made.model.state_dict(), file, made.metadata() | {"mean": "[0.1, 0.2, 0.3]"})
    node = replace(made.backbone, weights=str(file))
    with pytest.raises(ConfigError, match=r"set 'backbone\.mean=\[0\.1, 0\.2, 0\.3\]'"):
        load_pretrained(build_backbone(node, image_size=32, seed=0), node)
    node = replace(node, mean=[0.1, 0.2, 0.3])
    assert load_pretrained(build_backbone(node, image_size=32, seed=0), node)


@pytest.mark.parametrize("head", [Head(), BatchNormHead()], ids=lambda head: type(head).__name__)
@pytest.mark.parametrize("pooling", [None, "mean"])
def test_timm_folds_the_normalisation_and_pools_by_itself(tmp_path, head, pooling):
    direct = classifier(tmp_path / "model.safetensors", head, pooling=pooling)
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    options = {"images": str(tmp_path / "x.png"), "output": str(tmp_path / "out")}
    export(ExportConfig(run=str(tmp_path / "model.safetensors"), format="timm", **options))
    network = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    same(direct, lambda images: network((images / 255 - 0.5) / 0.5))


def test_timm_has_no_cosine(tmp_path):
    classifier(tmp_path / "model.safetensors", CosineHead())
    Image.new("RGB", (40, 40)).save(tmp_path / "x.png")
    with pytest.raises(ConfigError, match="head=CosineHead, a cosine"):
        export(ExportConfig(run=str(tmp_path / "model.safetensors"), format="timm", images=str(tmp_path / "x.png")))


def test_an_export_that_does_not_agree_is_refused(convnet_run, tmp_path, monkeypatch):
    direct = DirectClassifier.load(convnet_run / runs.WEIGHTS)
    images = 255 * torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert module._compare(direct, direct.model, images, "here") == 0

    def refused(exported, said):
        with pytest.raises(ExportError, match=said):
            module._compare(direct, exported, images, "here")

    refused(lambda images: direct.model(images) + 0.01 * (len(images) == 5), "on 7 images of here\n.*1.0e-02")
    refused(lambda images: direct.model(images) * float("nan"), "difference of nan")
    refused(lambda images: direct.model(images)[:, :8], "difference of inf")
    refused(lambda images: direct.model(images.view(2, 3, 16, 16)), "batches of any size")
    monkeypatch.setattr(module, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="nothing is written"):
        export(ExportConfig(run=str(convnet_run), format="torchscript", output=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_fewer_images_than_a_batch_are_enough(convnet_run, tmp_path):
    Image.new("RGB", (40, 40), "red").save(tmp_path / "x.png")
    options = {"format": "safetensors", "output": str(tmp_path / "out"), "images": str(tmp_path)}
    done = export(ExportConfig(run=str(convnet_run), **options))
    assert (done.images, done.source) == (1, str(tmp_path))


def test_images_to_compare_on_are_asked_for(convnet_run, tmp_path):
    with pytest.raises(ConfigError, match="images=<folder>"):
        export(ExportConfig(run=str(convnet_run / runs.WEIGHTS), format="safetensors"))
    copy = tmp_path / "copy"
    shutil.copytree(convnet_run, copy)
    (copy / runs.RUN).write_text((copy / runs.RUN).read_text().replace('"test": "', '"test": "nope/'))
    with pytest.raises(DataError, match="(?s)nope/.*images=<folder>"):
        export(ExportConfig(run=str(copy), format="safetensors"))
    (tmp_path / "x.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="x.png: not an image"):
        export(ExportConfig(run=str(convnet_run), format="safetensors", images=str(tmp_path / "x.png")))


def test_onnx_without_its_packages(convnet_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"pip install 'lt-extrap\[onnx\]'"):
        export(ExportConfig(run=str(convnet_run), format="onnx"))


def test_what_is_no_finished_run_is_refused(convnet_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(convnet_run, copy)
    (copy / runs.RESULTS).unlink()
    with pytest.raises(RunError, match="a run that has ended"):
        export(ExportConfig(run=str(copy), format="safetensors"))
    with pytest.raises(RunError, match="a place to write"):
        export(ExportConfig(run=str(convnet_run), format="safetensors", output=str(convnet_run / runs.RUN)))


def test_formats_are_named():
    with pytest.raises(ConfigError, match="one of safetensors, onnx, torchscript, timm"):
        ExportConfig(run="run", format="keras")


@pytest.mark.slow
def test_the_command_line(convnet_run, cache, tmp_path):
    words = (f"run={convnet_run}", "format=onnx", "output=out")
    result = interpreted("lt_extrap.export", *words, cwd=tmp_path, LT_EXTRAP_CACHE=str(cache))
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("out/model.onnx\nlogits differ by at most ")
    assert result.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    reads_onnx(tmp_path / "out" / "model.onnx", DirectClassifier.load(convnet_run / runs.WEIGHTS))
