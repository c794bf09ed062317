"""What a term can ask for beside a mean of the embedding, each part against the same written out in float64."""

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import jaxtyping
import pytest
import torch
import torch.nn.functional as F

from condensers import registry
from condensers.core.by_ipc import at_ipc
from condensers.core.matching import Matching
from condensers.core.optimizers import SGD, Adam
from condensers.core.recipe import Recipe, Schedule
from condensers.core.terms import LOGITS, Context, Term, every_image, mean_activation, of_synthetic_images, squared
from condensers.device import draws

from .. import reference

SCHEDULE = Schedule(8, 12, "ConvNet-W8-D2", "crop_scale_rotate", chunk=30)
CLASSES, IPC, SEED = (3, 1, 7), 4, 2


def second_moment(x):
    """`[C, B, d]` to `[C, d, d]`."""
    return x.transpose(1, 2) @ x / x.shape[1]


def covariance_match(real, synthetic):
    """Pairs (mean, second moment) of both sides to the squared distance of covariances."""
    (mean_r, square_r), (mean_s, square_s) = real, synthetic
    covariances = [m2 - m[:, :, None] * m[:, None, :] for m, m2 in ((mean_r, square_r), (mean_s, square_s))]
    return squared(*covariances)


@dataclass(frozen=True)
class LogLoss:
    """Cross-entropy of every image under its own label, from the logits."""

    per_image = True
    contextual = True

    def __call__(self, logits, context):
        labels = context.labels[:, None].expand(logits.shape[:2])
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


@of_synthetic_images
def mean_over_images(real, synthetic):
    return synthetic.mean(1).sum()


@dataclass(frozen=True)
class Frequencies:
    """Mean cosine of random projections, the same for both sides."""

    count: int = 5
    contextual = True

    def __call__(self, x, context):
        directions = draws.uniform(context.key, self.count * x.shape[-1]).view(self.count, -1) - 0.5
        return (x @ directions.T).cos().mean(1)


def gradients(source, term, iteration=0, schedule=SCHEDULE):
    matching = Matching(source, CLASSES, IPC, [Recipe("own", (term,))], schedule, SEED)
    matching.pixels["own"].add_(0.1)
    matching.iteration = iteration
    return matching, matching.gradients()["own"], matching.pixels["own"].grad


def expected(source, pixels, objective, iteration=0):
    """The objective of lists of activations, by class, and its gradient."""
    drawn = reference.drawn(source, CLASSES, SCHEDULE, SEED, iteration)
    leaves = [images.detach().double().requires_grad_() for images in pixels]
    real, synthetic = (reference.siamese(drawn, side) for side in (drawn.real, leaves))
    loss = objective(real, synthetic, drawn.network)
    return loss.detach(), torch.stack(torch.autograd.grad(loss, leaves))


def assert_is(found, wanted):
    (_, loss, gradient), (loss_wanted, gradient_wanted) = found, wanted
    torch.testing.assert_close(loss.double(), loss_wanted, rtol=1e-4, atol=1e-6)
    assert (gradient - gradient_wanted).abs().max() < 2e-4 * gradient_wanted.abs().max()
    assert gradient_wanted.abs().max() > 0


def pairs(real, synthetic):
    return zip(real, synthetic, strict=True)


def test_a_distance_gets_pairs_of_statistics(digits):
    term = Term((mean_activation, second_moment), covariance_match)

    def covariance(x):
        centred = x - x.mean(0)
        return centred.T @ centred / len(x)

    def plain(real, synthetic, network):
        return sum(
            (covariance(r.embedding) - covariance(s.embedding)).square().sum() for r, s in pairs(real, synthetic)
        )

    found = gradients(digits.train, term)
    assert_is(found, expected(digits.train, found[0].pixels["own"], plain))


def test_the_logits_can_be_tapped_with_labels(digits):
    term = Term(LogLoss(), mean_over_images, tap=LOGITS)

    def plain(real, synthetic, network):
        return sum(
            -network.classifier(s.embedding).log_softmax(1)[:, label].mean()
            for label, s in zip(CLASSES, synthetic, strict=True)
        )

    found = gradients(digits.train, term)
    assert_is(found, expected(digits.train, found[0].pixels["own"], plain))


@pytest.mark.parametrize("layers", ["sum", "mean"])
@pytest.mark.parametrize(("blocks", "position"), [("inner", 0), ("last", 1)])
def test_the_last_block_can_be_left_out_or_be_the_only_one(digits, layers, blocks, position):
    term = Term(mean_activation, squared, tap="block", blocks=blocks, layers=layers, weight=2.0)

    def plain(real, synthetic, network):
        maps = [(r.block[position].mean(0), s.block[position].mean(0)) for r, s in pairs(real, synthetic)]
        return 2 * sum((r - s).square().sum() for r, s in maps)

    found = gradients(digits.train, term)
    assert_is(found, expected(digits.train, found[0].pixels["own"], plain))


@pytest.mark.parametrize("given", [{"blocks": ()}, {"blocks": (1, 0)}, {"blocks": "first"}, {"layers": "average"}])
def test_blocks_and_layers_that_do_not_exist_are_refused(given, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users: types are not checked
    with pytest.raises(ValueError, match=r"^(blocks|layers) are .*: give "):
        Term(mean_activation, squared, tap="act", **given)


def test_random_frequencies_are_shared_by_both_sides_and_all_chunks(digits):
    term = Term(Frequencies(), squared)
    key = draws.fold(draws.fold(draws.key_of(SEED, "iterations"), 3), 3)
    directions = draws.uniform(torch.tensor([key]), 5 * 32).view(5, -1).double() - 0.5

    def plain(real, synthetic, network):
        waves = [[(x.embedding @ directions.T).cos().mean(0) for x in side] for side in (real, synthetic)]
        return sum((r - s).square().sum() for r, s in pairs(*waves))

    for schedule in (SCHEDULE, replace(SCHEDULE, chunk=1)):
        found = gradients(digits.train, term, iteration=3, schedule=schedule)
        assert_is(found, expected(digits.train, found[0].pixels["own"], plain, iteration=3))


def test_a_moving_average_takes_the_place_of_the_real_side(digits):
    term, decay = Term(mean_activation, squared, decay=0.7), 0.7
    matching = Matching(digits.train, CLASSES, IPC, [Recipe("own", (term,)), registry.condenser("dm")], SCHEDULE, SEED)
    average = None
    for iteration in range(4):
        pixels = matching.pixels["own"].clone()
        loss = matching.step()["own"]
        drawn = reference.drawn(digits.train, CLASSES, SCHEDULE, SEED, iteration)
        sides = (reference.siamese(drawn, side) for side in (drawn.real, list(pixels.double())))
        real, synthetic = (torch.stack([x.embedding.mean(0) for x in side]) for side in sides)
        average = real if average is None else decay * average + (1 - decay) * real
        torch.testing.assert_close(loss.double(), (average - synthetic).square().sum(), rtol=1e-4, atol=1e-6)


def test_a_moving_average_is_part_of_the_state(digits):
    own = Recipe(
        "own", (Term(mean_activation, squared, decay=0.9), Term(mean_activation, squared, tap="act", decay=0.5))
    )

    def started():
        return Matching(digits.train, CLASSES, IPC, [own], SCHEDULE, SEED)

    whole, first, second = started(), started(), started()
    for _ in range(3):
        first.step()
    second.restore({name: tensor.clone() for name, tensor in first.state().items()})
    for _ in range(6):
        whole.step()
    for _ in range(3):
        second.step()
    assert torch.equal(whole.pixels["own"], second.pixels["own"])


def test_a_state_without_its_moving_average_is_refused_and_changes_nothing(digits):
    own = Recipe("own", (Term(mean_activation, squared, decay=0.9),))
    first, second = (Matching(digits.train, CLASSES, IPC, [own], SCHEDULE, SEED) for _ in range(2))
    first.step()
    start = second.pixels["own"].clone()
    with pytest.raises(KeyError, match="moving average"):
        second.restore({name: tensor for name, tensor in first.state().items() if "averages" not in name})
    assert torch.equal(second.pixels["own"], start)
    assert second.iteration == 0


def test_a_context_is_sliced_by_class():
    context = Context(torch.tensor([5, 6, 7]), torch.tensor([1]))
    assert context[1:].labels.tolist() == [6, 7]
    assert context[1:].key is context.key


def test_a_contexts_normal_numbers_are_drawn_once_for_all_its_parts():
    context = Context(torch.tensor([5, 6, 7]), torch.tensor([1]))
    numbers = context[1:].normal(10)
    assert context.normal(10) is numbers
    assert context[:1].normal(10) is numbers
    assert torch.equal(Context(torch.tensor([2]), torch.tensor([1])).normal(10), numbers)
    assert not torch.equal(Context(torch.tensor([2]), torch.tensor([2])).normal(10), numbers)


def test_a_rate_can_fall_and_iterates_be_averaged(digits):
    def run(optimizer, steps):
        own = replace(registry.condenser("dm"), optimizer=optimizer)
        matching = Matching(digits.train, CLASSES, IPC, [own], SCHEDULE, SEED)
        seen = [matching.memory("dm")[0].clone()]
        for _ in range(steps):
            matching.step()
            seen.append(matching.pixels["dm"].flatten(0, 1).clone())
        return matching, seen

    matching, seen = run(SGD(average=0.5), 8)
    torch.testing.assert_close(matching.memory("dm")[0], torch.stack(seen[5:]).mean(0))
    early, before = run(SGD(average=0.5), 3)
    assert torch.equal(early.memory("dm")[0], before[-1])
    _, constant = run(SGD(momentum=0.0), 8)
    _, falling = run(SGD(momentum=0.0, fall="cosine"), 8)
    torch.testing.assert_close(falling[1], constant[1])
    steps = [(b - a).norm() for a, b in pairwise(falling)]
    assert steps[-1] < 0.1 * steps[0]


@pytest.mark.parametrize("made", [partial(SGD, fall="linear"), partial(SGD, average=1.5), partial(Adam, average=-0.5)])
def test_falls_and_shares_that_do_not_exist_are_refused(made, monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for users: types are not checked
    with pytest.raises(ValueError, match=r"^(fall|average) is .*: give "):
        made()


def test_the_rate_belongs_to_the_images_per_class():
    optimizer = SGD(lr=((1, 1.0), (10, 10.0), (50, 20.0)))
    assert [at_ipc(optimizer.lr, ipc) for ipc in (1, 9, 10, 49, 50, 100)] == [1, 1, 10, 10, 20, 20]
    assert at_ipc(SGD(0.2).lr, 7) == 0.2


def test_a_rate_may_be_per_image_and_for_pixels_from_0_to_1(digits):
    def moved(**asked):
        own = replace(registry.condenser("dm"), optimizer=SGD(lr=0.1, momentum=0.0, **asked))
        matching = Matching(digits.train, CLASSES, IPC, [own], SCHEDULE, SEED)
        before = matching.memory("dm")[0].clone()
        matching.step()
        return matching.memory("dm")[0] - before

    alone = moved()
    torch.testing.assert_close(moved(per_image=True), IPC * alone, rtol=1e-4, atol=1e-6)
    # A pixel p from 0 to 1 is x = (p - mean) / std here: -lr dL/dp of p is -lr dL/dx / std^2 of x.
    (std,) = digits.train.std
    torch.testing.assert_close(moved(unit_pixels=True), alone / std**2, rtol=1e-4, atol=1e-6)


def test_a_weight_and_a_real_batch_may_belong_to_the_images_per_class(digits):
    idm = registry.condenser("idm")
    assert [idm.at(ipc).terms[1].weight for ipc in (1, 10, 49, 50)] == [0.5, 0.5, 0.5, 0.1]
    assert [idm.schedule(Schedule(), ipc).real_batch for ipc in (1, 2, 50)] == [5000, 256, 256]
    weights = [Matching(digits.train, CLASSES, ipc, [idm], SCHEDULE, 0).recipes[0].terms[1].weight for ipc in (4, 25)]
    assert weights == [0.5, 0.5]
    term = Term(mean_activation, squared, weight=((1, 1.0), (4, 3.0)))
    _, low, _ = gradients(digits.train, replace(term, weight=1.0))
    _, high, _ = gradients(digits.train, term)
    torch.testing.assert_close(high, 3 * low)


def test_every_image_is_a_copy():
    x = torch.randn(2, 3, 4)
    assert every_image(x).data_ptr() != x.data_ptr()
