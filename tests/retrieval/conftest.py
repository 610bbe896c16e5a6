"""Algorithm 1 as a plain loop in float64, written from the method's steps and nothing else."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

EPSILON = float(np.finfo(np.float32).tiny)


class PlainResult(NamedTuple):
    weights: np.ndarray  # [O, K]
    order: list[int]
    choice: np.ndarray  # [O]
    margin: float  # by how much the closest decision was won
    steps: list  # (one-hot, soft) of each step


def select_plainly(
    features,
    valid,
    query,
    gumbel,
    *,
    scale=1.0,
    temperature=1.0,
    straight_through=True,
    locked=None,
    closes_group=True,
    follow=None,
    gradient="paper",
) -> PlainResult:
    """One graph. `closes_group=False` is equation (3) in place of (4).

    `gradient`: what the soft weights of a step are: those over everything, or those of the chosen
    object's group, with the noise or without it.

    `follow`: the steps of an earlier result; then every step takes that one-hot choice, plus the
    change of the soft weights since: the function whose derivative straight-through promises.
    """
    features, query, gumbel = (np.asarray(a, np.float64) for a in (features, query, gumbel))
    num_objects, num_candidates, _ = features.shape
    locked = np.full(num_objects, -1) if locked is None else np.asarray(locked)
    usable = np.array(valid, bool)
    weights = np.zeros((num_objects, num_candidates))
    choice = np.full(num_objects, -1)
    selected = []
    for o in range(num_objects):
        if locked[o] >= 0 and usable[o, locked[o]]:
            weights[o, locked[o]] = 1
            choice[o] = locked[o]
            selected.append(features[o, locked[o]])
            usable[o] = False
    if selected:
        query = np.mean(selected, axis=0)
    free = np.flatnonzero(usable.any(axis=1))
    log_mask = np.zeros((num_objects, num_candidates))
    soft_total = np.zeros((num_objects, num_candidates))
    order, steps, margin = [], [], np.inf
    for t in range(len(free)):
        distance = np.linalg.norm(features - query, axis=-1)
        score = np.where(usable, -scale * distance, -np.inf)
        highest = score.max()
        log_pi = score - (highest + np.log(np.exp(score - highest).sum()))
        logits = log_pi + gumbel + log_mask
        powers = logits / temperature
        soft = np.exp(powers - powers.max())
        soft /= soft.sum()
        still = np.isin(np.arange(num_objects), order, invert=True) if closes_group else True
        open_logits = np.where(np.reshape(still, (-1, 1)), logits, -np.inf)
        ranking = np.sort(open_logits.ravel())
        if ranking.size > 1 and np.isfinite(ranking[-2]):
            margin = min(margin, ranking[-1] - ranking[-2])
        o, k = np.unravel_index(np.argmax(open_logits), open_logits.shape)
        hard = np.zeros_like(soft)
        hard[o, k] = 1
        if follow is not None:
            hard, soft_before = follow[t]
            o, k = np.unravel_index(np.argmax(hard), hard.shape)
        if gradient != "paper":
            powers = logits[o] / temperature if gradient == "within_group" else score[o]
            group = np.exp(powers - powers.max())
            soft = np.zeros_like(soft)
            soft[o] = group / group.sum()
        if follow is not None:
            step_weights = hard + soft - soft_before
        else:
            step_weights = hard if straight_through else soft
        order.append(int(o))
        choice[o] = k
        steps.append((hard, soft))
        soft_total += step_weights
        forward = hard if straight_through else soft
        if closes_group:
            log_mask += np.log(np.maximum(1 - forward.max(axis=1, keepdims=True), EPSILON))
        else:
            log_mask += np.log(np.maximum(1 - forward, EPSILON))
        selected.append((step_weights[..., None] * features).sum(axis=(0, 1)))
        query = np.mean(selected, axis=0)
    if not straight_through:
        mass = soft_total.sum(axis=1, keepdims=True)
        soft_total = np.divide(soft_total, mass, out=np.zeros_like(soft_total), where=mass > 0)
    return PlainResult(weights + soft_total, order, choice, margin, steps)


def random_graphs(seed, batch=4, objects=5, candidates=6, width=8, padding=True):
    """Random inputs of `gumbel_group_select`, some objects and candidates missing."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(batch, objects, candidates, width)).astype(np.float32)
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    valid = np.ones((batch, objects, candidates), bool)
    if padding:
        valid &= rng.random((batch, objects, candidates)) < 0.8
        valid &= rng.random((batch, objects, 1)) < 0.85
        valid[:, 0, 0] = True
    query = rng.normal(size=(batch, width)).astype(np.float32)
    query /= np.linalg.norm(query, axis=-1, keepdims=True)
    gumbel = rng.gumbel(size=(batch, objects, candidates)).astype(np.float32)
    return features, valid, query, gumbel


@pytest.fixture(scope="session")
def plain_loop():
    return select_plainly


@pytest.fixture(scope="session")
def make_graphs():
    return random_graphs
