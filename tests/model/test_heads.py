import pytest
import torch
from torch.nn import functional as F

from lt_extrap.config import BatchNormHead, CosineHead, Head
from lt_extrap.model.heads import build_head, empty_head

FEATURES = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
KINDS = [Head(), BatchNormHead(), CosineHead(scale=20.0)]


def head(kind, num_auxiliary=3):
    return build_head(kind, dim=5, num_target=4, num_auxiliary=num_auxiliary, seed=0)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_the_first_classes_are_the_target_columns(kind):
    whole = head(kind)
    whole(FEATURES)  # moves the statistics of a batch norm
    whole.eval()
    first = whole.first(4).eval()
    # A product with fewer columns may add in another order: on some processors it does.
    torch.testing.assert_close(first(FEATURES), whole(FEATURES)[:, :4])
    assert first.weight.data_ptr() == whole.weight.data_ptr()
    loaded = empty_head(kind, dim=5, classes=4).eval()
    loaded.load_state_dict(first.state_dict())
    assert torch.equal(loaded(FEATURES), first(FEATURES))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_target_rows_do_not_depend_on_the_auxiliary_classes(kind):
    assert torch.equal(head(kind, 0).weight, head(kind, 9).weight[:4])


def test_a_cosine_head_is_a_scaled_cosine_whatever_the_autocast():
    cosine = head(CosineHead(scale=20.0))
    wanted = 20 * F.cosine_similarity(FEATURES[:, None], cosine.weight[None], dim=2)
    torch.testing.assert_close(cosine(FEATURES), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        logits = cosine(FEATURES.bfloat16())
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, wanted, atol=0.1, rtol=0)  # the features alone were rounded


def test_a_batch_norm_head_normalises_and_has_no_scale_or_shift():
    normed = head(BatchNormHead())
    standard = (FEATURES - FEATURES.mean(0)) / (FEATURES.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(normed(FEATURES), F.linear(standard, normed.weight, normed.bias))
    assert sorted(name for name, _ in normed.named_parameters()) == ["bias", "weight"]
    assert torch.equal(head(BatchNormHead()).norm.running_var, torch.ones(5))
