"""Whose graph a patch without one is lent."""

from __future__ import annotations

import numpy as np

from rgan_tf.bank.contexts import Contexts
from rgan_tf.bank.graphs import BankGraph
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.vocabulary import Vocabulary

A, B = 2, 3  # ids of the categories


def test_only_patches_that_are_with_others_in_a_graph_lend_it(tmp_path):
    names = Vocabulary.from_categories(["a", "b", "c"])
    sizes = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    ids = [A] * 8 + [A, B] + [B]  # the pair is in one graph, every other patch alone
    with PatchBankWriter(tmp_path / "bank", **sizes, vocabulary=names) as writer:
        alone = [writer.add_graph(BankGraph(np.array([i]), np.zeros([0, 3]))) for i in ids[:8]]
        pair = writer.add_graph(BankGraph(np.array([A, B]), np.array([[0, 1, 1]])))
        last = writer.add_graph(BankGraph(np.array([B]), np.zeros([0, 3])))
        places = [*((graph, 0) for graph in alone), (pair, 0), (pair, 1), (last, 0)]
        rows = [{"category_id": i, "image_id": n} for n, i in enumerate(ids)]
        crops = np.zeros([len(ids), 4, 4, 3], np.uint8)
        writer.append(crops, np.zeros([len(ids), 2]), rows, places)
    lender = Contexts(PatchBank.open(tmp_path / "bank"))
    for category, position in ((A, 0), (B, 1)):
        for image_id in range(20):
            graph, own = lender.draw(category, image_id)
            assert (graph.objects.tolist(), own) == ([A, B], position)
    assert lender.draw(4, 0) is None
