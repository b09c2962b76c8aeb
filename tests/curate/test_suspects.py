import numpy as np

from lt_extrap.curate.suspects import gather, suspects, threshold


def world(rng, sizes, *, cousins):
    """Target classes of these sizes; auxiliary classes: 40 further images of each, and 40 of a cousin of each."""
    dim, targets, auxiliary = 128, [], []
    for size in sizes:
        centre, other = rng.normal(size=(2, dim)) / np.sqrt(dim)
        cousin = cousins**0.5 * centre + (1 - cousins) ** 0.5 * other

        def draw(count, of):
            return 0.7 * of + 0.7 * rng.normal(size=(count, dim)) / np.sqrt(dim)

        targets.append(draw(size, centre))
        auxiliary += [draw(40, centre), draw(40, cousin)]
    labels = np.repeat(np.arange(len(sizes)), sizes)
    return np.concatenate(targets).astype(np.float16), labels, np.concatenate(auxiliary).astype(np.float16)


def test_a_target_under_another_name_is_found_and_a_cousin_is_not():
    sizes = [6, 10, 20, 100, 300]
    targets, labels, auxiliary = world(np.random.default_rng(0), sizes, cousins=0.5)
    gathered = gather(auxiliary, np.repeat(np.arange(10), 40), 10), gather(targets, labels, 5)
    found = suspects(*gathered, likeness=0.9)
    assert {(suspect.auxiliary, suspect.target) for suspect in found} == {(2 * label, label) for label in range(5)}
    assert [suspect.likeness for suspect in found] == sorted((s.likeness for s in found), reverse=True)


def test_little_is_said_of_few_images():
    targets, labels, auxiliary = world(np.random.default_rng(0), [50], cousins=0.5)
    few = gather(auxiliary[:4], np.zeros(4, np.int64), 2)
    assert suspects(few, gather(targets, labels, 1), likeness=0.5) == []
    assert suspects(few, gather(targets, labels, 1), likeness=0.5, least=4)[0].auxiliary == 0


def test_features_that_do_not_tell_targets_apart_accuse_no_cousin():
    """Two halves of one class are as alike as classes that the features take for one."""
    rng = np.random.default_rng(0)
    targets, labels, _ = world(rng, [50] * 40, cousins=0.5)
    assert threshold(gather(targets, labels, 40), likeness=0.9) == 0.9
    alike = gather(targets, np.arange(len(labels)) % 40, 40)  # every class holds all of them
    assert threshold(alike, likeness=0.9) > 0.99
    one, other = gather(targets[::2], labels[::2], 40), gather(targets[1::2], labels[1::2], 40)
    assert len(suspects(one, other, likeness=0.9)) == 40
    assert threshold(gather(targets[:50], labels[:50], 1), likeness=0.9) == 0.9
