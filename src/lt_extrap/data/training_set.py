"""The training set of a run: target and auxiliary images, the prior, the neighbor relation, the epoch draw."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from lt_extrap.config import AuxiliaryClasses, NoAuxiliary, TargetExtra
from lt_extrap.data.auxiliary import Addition, add_classes, add_target_images
from lt_extrap.data.layout import Missing
from lt_extrap.data.lists import SampleIndex
from lt_extrap.data.sampler import EpochDraw
from lt_extrap.data.store import Beside, ImageStore
from lt_extrap.data.target import TargetSet
from lt_extrap.model.relation import NeighborRelation


@dataclass(frozen=True)
class TrainingSet:
    """What a run trains on. Columns 0..L-1 are target classes, L..L+K-1 auxiliary classes.

    Attributes:
        index: every image that some epoch may show; labels are columns.
        images: what has them.
        draw: which of them an epoch shows, and in which order.
        counts: n_j, the images of column j that one epoch shows: the prior of the loss.
        relation: who is whose neighbor.
        auxiliary_names: names of columns L..L+K-1.
        target_views: target images that one epoch shows.
        right_pairs: neighbor pairs that were proposed as such: all of them, but for the permuted control.
        notes: what is to be told of the auxiliary set, a line each.
    """

    index: SampleIndex
    images: ImageStore
    draw: EpochDraw
    counts: Int64[np.ndarray, " classes"]
    relation: NeighborRelation
    auxiliary_names: tuple[str, ...]
    target_views: int
    right_pairs: int
    notes: tuple[str, ...] = ()

    @property
    def pairs(self) -> int:
        """Neighbor pairs of the relation."""
        return len(self.relation.neighbor) // 2

    def steps(self, unit: str, amount: float, batch_size: int) -> int:
        """Optimizer steps that an amount makes, in a unit of `Budget`; an epoch drops its last partial batch."""
        return optimizer_steps(unit, amount, batch_size, shown=len(self.draw), target_views=self.target_views)


def optimizer_steps(unit: str, amount: float, batch_size: int, *, shown: int, target_views: int) -> int:
    """Optimizer steps that an amount makes, where an epoch shows so many images, and so many of the target."""
    steps_a_unit = {
        "epochs": shown // batch_size,
        "steps": 1,
        "target_views": shown / (target_views * batch_size),
    }[unit]
    return round(amount * steps_a_unit)


def build_training_set(
    auxiliary: NoAuxiliary | AuxiliaryClasses | TargetExtra,
    target: TargetSet,
    *,
    seed: int,
    missing: Missing = "refuse",
    balanced: bool = False,
) -> TrainingSet:
    """Put target and auxiliary images together.

    Args:
        auxiliary: the node.
        target: the target set.
        seed: of the draw.
        missing: what becomes of further images that are not there: `refuse` their list, or `skip` them; `keep` does
            not look for any.
        balanced: show as many images of each class, without auxiliary ones (`TrainConfig.sampling`).

    Raises:
        DataError: from reading the auxiliary files.
    """
    num_target = len(target.classes)
    groups = np.arange(num_target)
    if isinstance(auxiliary, NoAuxiliary):
        cap = np.full(num_target, max(1, round(len(target.train) / num_target)) if balanced else -1)
        draw = EpochDraw(target.train.labels, class_key=groups, cap=cap, seed=seed, repeat=balanced)
        return TrainingSet(
            index=target.train,
            images=target.place.images,
            draw=draw,
            counts=draw.counts,
            relation=NeighborRelation.from_pairs(np.empty((0, 2), dtype=np.int64), num_target, num_target),
            auxiliary_names=(),
            target_views=len(draw),
            right_pairs=0,
        )
    added: Addition = (
        add_classes(auxiliary, target, seed, missing=missing)
        if isinstance(auxiliary, AuxiliaryClasses)
        else add_target_images(auxiliary, target, missing=missing)
    )
    # Images are drawn by group: a target's further images are a group beside its own, which is always shown whole.
    column = np.concatenate([groups, added.column])
    num_classes = num_target + len(added.names)
    group = np.concatenate([target.train.labels, num_target + added.index.labels]).astype(np.int32)
    draw = EpochDraw(
        group,
        class_key=np.concatenate([groups, added.key]),
        cap=np.concatenate([np.full(num_target, -1), added.cap]),
        seed=seed,
        repeat=added.repeat,
    )
    counts = np.bincount(column, weights=draw.counts, minlength=num_classes).astype(np.int64)
    return TrainingSet(
        index=SampleIndex.concatenate([target.train, added.index]).with_labels(column[group].astype(np.int32)),
        images=Beside.of(target.place.images, added.images),
        draw=draw,
        counts=counts,
        relation=NeighborRelation.from_pairs(added.pairs, num_target, num_classes),
        auxiliary_names=added.names,
        target_views=int(counts[:num_target].sum()),
        right_pairs=added.right_pairs,
        notes=added.notes,
    )
