import pytest
import torch
from torch import nn

from lt_extrap.model.networks import Convolution


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 3), (2, 3), (4, 4), (7, 3)])
def test_a_convolution_is_that_of_torch_with_its_gradients(size, stride, shape):
    ours = Convolution(5, 6, size, stride=stride).double()
    torchs = nn.Conv2d(5, 6, size, stride=stride, padding=size // 2, bias=False).double()
    torchs.load_state_dict(ours.state_dict())
    images = torch.randn(4, 5, *shape, dtype=torch.double)
    found = {}
    for name, convolution in {"ours": ours, "torch's": torchs}.items():
        inputs = images.clone().requires_grad_()
        outputs = convolution(inputs)
        outputs.square().sum().backward()
        found[name] = (outputs, inputs.grad, convolution.weight.grad)
    for one, other in zip(found["ours"], found["torch's"], strict=True):
        torch.testing.assert_close(one, other)


def test_a_convolution_leaves_channels_last():
    images = torch.randn(2, 5, 2, 2).contiguous(memory_format=torch.channels_last)
    assert Convolution(5, 6, 3)(images).is_contiguous(memory_format=torch.channels_last)
