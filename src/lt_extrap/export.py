"""Export a run's classifier: `python -m lt_extrap.export run=runs/demo/<run> format=onnx`.

Target rows only, with class names and preprocessing inside. Every file is read back and compared with the original
on real images before it gets its name.
"""

import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from filecmp import cmp
from functools import partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.core.config_store import ConfigStore
from jaxtyping import Float
from omegaconf import MISSING, DictConfig
from safetensors.torch import save_file
from torch import Tensor, nn

from lt_extrap import cli, compose, runs
from lt_extrap.config import AdaptFormer, Prompts, Timm, check
from lt_extrap.data.decode import UnreadableImage, decode_rgb
from lt_extrap.data.images import find_images
from lt_extrap.data.target import load_target
from lt_extrap.data.transforms import EvalTransform
from lt_extrap.errors import ConfigError, DataError, ExportError, LtExtrapError, RunError
from lt_extrap.files import write_whole
from lt_extrap.model.adapters.adapted import merge
from lt_extrap.model.direct import DirectClassifier
from lt_extrap.model.heads import ScaledCosineHead
from lt_extrap.model.timm_models import timm_options
from lt_extrap.paths import conf_dir

TOLERANCE = 1e-4  # largest difference of a logit, as a share of the largest logit or of 1
_IMAGES = 32  # compared, if there are as many

# What reads an export as its user would: images with values 0..255 -> logits.
Exported = Callable[[Tensor], Tensor]


@dataclass
class ExportConfig:
    """What to export, and how.

    Attributes:
        run: folder of a finished run, or a model.safetensors.
        format: `safetensors` (DirectClassifier.load reads it), `onnx`, `torchscript`, or `timm` (weights and
            config.json for timm.create_model; of runs with backbone=timm).
        output: folder of the files; null = `export/<format>` in the run's folder.
        images: folder, list or image to compare on; null = the test list of the run's target.
        root: where the relative paths of a list start; null = the folder of the list.
    """

    run: str = MISSING
    format: str = MISSING
    output: str | None = None
    images: str | None = None
    root: str | None = None

    def __post_init__(self) -> None:
        check(self.format in FORMATS, "format", "one of " + ", ".join(FORMATS), self.format)
        check(self.root is None or self.images is not None, "root", "null without images=<list>", self.root)


@dataclass(frozen=True)
class Export:
    """An export that agrees with the original.

    Attributes:
        files: what was written.
        difference: the largest of a logit.
        images: how many were compared. source: where they come from.
        use: how the files are read.
    """

    files: tuple[Path, ...]
    difference: float
    images: int
    source: str
    use: str

    def __str__(self) -> str:
        files = ", ".join(map(str, self.files))
        agrees = f"logits differ by at most {self.difference:.1e} on {self.images} images of {self.source}"
        return f"{files}\n{agrees}\nread by: {self.use}"


def export(config: ExportConfig) -> Export:
    """Write the direct classifier of a run in another format; a file is there whole, and compared, or not at all.

    Raises:
        ConfigError: the format cannot hold this classifier, or its packages are not installed.
        DataError: there are no images to compare on.
        ExportError: the format cannot express it, or what was written does not agree with the original.
        RunError: `run` is no finished run of this version, the files cannot be written, or `output` has others of their
            names.
    """
    file = runs.weights_file(Path(config.run))
    direct = DirectClassifier.load(file)
    images, source = _images(config, direct)
    output = Path(config.output) if config.output is not None else file.parent / "export" / config.format
    write, use = FORMATS[config.format]
    if config.format == "safetensors" and direct.model.backbone.identity is not None:
        use += f", which wants the frozen backbone too: backbone.weights={getattr(direct.backbone, 'weights', None)}"
    try:
        with tempfile.TemporaryDirectory() as scratch:
            exported = write(direct, Path(scratch))
            difference = _compare(direct, exported, images, source)
            names = sorted(path.name for path in Path(scratch).iterdir())
            if config.output is not None:
                _refuse_others(Path(scratch), output, names)
            for name in names:
                with (Path(scratch) / name).open("rb") as content:
                    write_whole(output / name, partial(shutil.copyfileobj, content))
    except OSError as error:
        raise RunError(f"a place to write {output}", str(error), "free disk, or set output=<folder>") from error
    return Export(tuple(output / name for name in names), difference, len(images), source, use)


def _refuse_others(written: Path, output: Path, names: Sequence[str]) -> None:
    """Formats share the name of a file, and `output` may be the folder of a run: only an equal file is replaced."""
    taken = [name for name in names if (output / name).is_file() and not cmp(written / name, output / name, False)]
    if taken:
        raise RunError(
            f"an output={output} without {', '.join(taken)}",
            "another file of that name, perhaps of another format or run",
            "give another folder, or move it away",
        )


def _images(config: ExportConfig, direct: DirectClassifier) -> tuple[Float[Tensor, "batch 3 height width"], str]:
    """Real images to compare on, as the classifier takes them, and where they come from."""
    if config.images is not None:
        found = find_images(config.images, config.root)
        images, paths, source = found.images, [found[i] for i in _spread(len(found))], config.images
    else:
        if Path(config.run).is_file():
            raise ConfigError(
                "images to compare the export on", f"run={config.run}, which has no test list", "set images=<folder>"
            )
        try:
            target = load_target(runs.load(Path(config.run)).target())
        except LtExtrapError as error:
            raise DataError(
                f"the test images of {config.run}, to compare the export on", error.found, "set images=<folder>"
            ) from error
        images, paths = target.place.images, [target.test.path(i) for i in _spread(len(target.test))]
        source = f"the test list of {config.run}"
    transform = EvalTransform(
        size=direct.image_size, crop_fraction=direct.crop_fraction, interpolation=direct.interpolation
    )
    try:
        decoded = (decode_rgb(images.where(path), data=images.read(path)) for path in paths)
        return torch.stack([transform(image) for image in decoded]).float(), source
    except UnreadableImage as error:
        raise DataError("images that can be read, to compare the export on", str(error), "set images=") from error


def _spread(size: int) -> list[int]:
    """Places of the images to compare, spread over a list that may be sorted by class."""
    places: list[int] = np.linspace(0, size - 1, min(size, _IMAGES)).round().astype(int).tolist()
    return places


def _compare(
    direct: DirectClassifier, exported: Exported, images: Float[Tensor, "batch 3 height width"], source: str
) -> float:
    """The largest difference of a logit, at batches of 1, of 5 and of the rest.

    Raises:
        ExportError: it is too large, or the export takes no batch of another size.
    """
    # At least one of each size, if images must come again for it.
    images = images[torch.arange(max(len(images), 6)) % len(images)]
    parts = [part for part in images.tensor_split((1, 6)) if len(part)]
    with torch.inference_mode():
        wanted = torch.cat([direct.model(part) for part in parts])
        try:
            found = torch.cat([exported(part) for part in parts])
        except Exception as error:  # each runtime raises its own
            raise ExportError(
                "an export that takes batches of any size",
                f"{type(error).__name__}: {str(error).splitlines()[0]}",
                "choose another format",
            ) from error
    difference = float((found - wanted).abs().max()) if found.shape == wanted.shape else float("inf")
    limit = TOLERANCE * max(1.0, float(wanted.abs().max()))
    if not difference <= limit:
        raise ExportError(
            f"logits that differ by at most {limit:.1e} from the original on {len(images)} images of {source}",
            f"a difference of {difference:.1e}; nothing is written",
            "choose another format",
        )
    return difference


def _metadata(direct: DirectClassifier) -> dict[str, str]:
    """What a consumer must know: the metadata of model.safetensors, and what goes in and comes out."""
    size = direct.image_size
    return direct.metadata() | {
        "input": f"images: float32 [batch, 3, {size}, {size}], RGB, values 0..255. The shorter side is resized to "
        f"floor(image_size / crop_fraction), the longer in proportion, rounded down, {direct.interpolation} with "
        "antialiasing, and the centre cropped. mean and std (of values 0..1) are applied inside: do not normalise.",
        "output": "logits: float32 [batch, classes]; softmax gives probabilities.",
    }


def _safetensors(direct: DirectClassifier, folder: Path) -> Exported:
    path = folder / runs.WEIGHTS
    direct.save(path)
    return DirectClassifier.load(path).model


def _onnx(direct: DirectClassifier, folder: Path) -> Exported:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (what torch.onnx exports with)
    except ModuleNotFoundError as error:
        raise ConfigError("the packages of format=onnx", str(error), "pip install 'lt-extrap[onnx]'") from error
    path = folder / "model.onnx"
    try:
        program = torch.onnx.export(
            direct.model,
            (_example(direct),),
            dynamo=True,
            verbose=False,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
        )
    except torch.onnx.errors.OnnxExporterError as error:
        raise ExportError(
            f"a backbone that ONNX can express: {direct.backbone}",
            str(error).splitlines()[0],
            "choose format=torchscript or format=safetensors",
        ) from error
    assert program is not None
    program.model.metadata_props.update(_metadata(direct))
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def _torchscript(direct: DirectClassifier, folder: Path) -> Exported:
    path = folder / "model.pt"
    with warnings.catch_warnings():
        # TorchScript is deprecated since torch 2.9, and still what many servers load.
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` is deprecated", FutureWarning)
        # Of values that may have become constants: the comparison at several batch sizes finds those that matter.
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced = torch.jit.trace(direct.model, (_example(direct),), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, path, _extra_files={METADATA: json.dumps(_metadata(direct), ensure_ascii=False)})
        loaded: Exported = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
    return loaded


def _timm(direct: DirectClassifier, folder: Path) -> Exported:
    backbone, head = direct.backbone, direct.model.head
    if not isinstance(backbone, Timm):
        raise ConfigError(
            "a run with backbone=timm for format=timm",
            f"backbone={type(backbone).__name__.lower()}",
            "choose format=safetensors, onnx or torchscript",
        )
    if isinstance(head, ScaledCosineHead):
        raise ConfigError(
            "a head that is linear in the features, for format=timm",
            f"head={type(direct.head).__name__}, a cosine",
            "choose format=safetensors, onnx or torchscript",
        )
    if isinstance(direct.adapter, AdaptFormer | Prompts):
        raise ConfigError(
            "an adapter that timm's own modules can hold, for format=timm: LoRA, scales and shifts, biases, norms",
            type(direct.adapter).__name__,
            "choose format=onnx or torchscript",
        )
    import timm  # seconds that other formats need not wait

    body = deepcopy(direct.model.backbone)
    merge(body)
    size, count = direct.image_size, len(direct.classes)
    options = timm_options(backbone, size)
    if backbone.pooling is not None:
        # Behind the last norm, as ours: timm would move the norm behind a mean.
        options |= {"global_pool": {"token": "token", "mean": "avg"}[backbone.pooling], "fc_norm": False}
    try:
        network: Any = timm.create_model(backbone.model, num_classes=count, **options)
    except TypeError as error:
        raise ConfigError(
            f"backbone.pooling={backbone.pooling} as an option of timm's {backbone.model}",
            str(error),
            "choose format=safetensors, onnx or torchscript",
        ) from error
    layer = network.get_classifier()
    name = next((name for name, module in network.named_modules() if module is layer), "")
    weight, bias = head.folded()
    rows = {f"{name}.weight": weight, f"{name}.bias": bias}
    weights = {**body.network.state_dict(), **rows}
    if not isinstance(layer, nn.Linear) or _shapes(weights) != _shapes(network.state_dict()):
        raise ConfigError(
            f"a linear layer with a bias on {head.in_features} features as the classifier of timm's {backbone.model}",
            str(layer),
            "choose format=safetensors, onnx or torchscript",
        )
    network.load_state_dict(weights)
    save_file(network.state_dict(), folder / "model.safetensors", {"format": "pt"})
    config = {
        "architecture": backbone.model.partition(".")[0],  # the tag behind the dot is of weights, not of these
        "num_classes": count,
        "num_features": head.in_features,
        "label_names": direct.classes,
        "model_args": options,
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "fixed_input_size": "img_size" in options,
            "mean": direct.mean,
            "std": direct.std,
            "crop_pct": direct.crop_fraction,
            "crop_mode": "center",
            "interpolation": direct.interpolation,
            "num_classes": count,
            "first_conv": network.pretrained_cfg.get("first_conv"),
            "classifier": name,
        },
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return _read_timm(folder, backbone.model, options)


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in weights.items()}


def _read_timm(folder: Path, model: str, options: dict[str, Any]) -> Exported:
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    weights = str(folder / "model.safetensors")
    import timm

    network = timm.create_model(model, num_classes=config["num_classes"], checkpoint_path=weights, **options).eval()
    mean, std = (torch.tensor(config["pretrained_cfg"][key]).view(3, 1, 1) for key in ("mean", "std"))
    return lambda images: network((images / 255 - mean) / std)


def _example(direct: DirectClassifier) -> Float[Tensor, "2 3 size size"]:
    """What a graph is traced with: two images, since torch takes a batch of one for a constant."""
    return torch.zeros(2, 3, direct.image_size, direct.image_size)


METADATA = "metadata.json"  # in a TorchScript file
FORMATS: dict[str, tuple[Callable[[DirectClassifier, Path], Exported], str]] = {
    "safetensors": (_safetensors, "lt_extrap.model.direct.DirectClassifier.load(file)"),
    "onnx": (_onnx, "onnxruntime.InferenceSession(file), metadata in get_modelmeta().custom_metadata_map"),
    "torchscript": (_torchscript, f"torch.jit.load(file, _extra_files={{{METADATA!r}: ''}})"),
    "timm": (_timm, "timm.create_model('local-dir:<folder>', pretrained=True)"),
}

ConfigStore.instance().store(group="schema", name="export", node=ExportConfig)


@hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="export")
def task(composed: DictConfig) -> None:
    """Hydra's entry: export, and say what was written and how it agrees."""
    print(export(compose.from_hydra(composed)))


def main() -> None:
    """The command."""
    cli.run(task)


if __name__ == "__main__":
    main()
