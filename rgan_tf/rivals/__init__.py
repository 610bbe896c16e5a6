"""The systems that the paper compares with, each as itself: networks, losses, weights, betas.

A rival is read beside its own paper, so what makes it that system stands in its own folder. What
every system shares is imported: the step with its guard and moving average (`AdversarialModel`),
the discriminators' common pass (`Judge`), boxes, crops and the pipeline's batches.

Four deviations hold for every rival, because a comparison under one protocol needs them:

* group normalisation for batch normalisation, so that an image does not depend on its batch,
* a tanh at the end, so that all images have one range,
* one forward pass for both sides of the game, and a moving average of the weights, as for ours,
* losses are means over the scenes of a batch, and random numbers a function of (seed, step, row).

The stand-ins of `retrieval.choice` (`layout2im_style`, `pastegan_style`) are our generator with
another selection; they keep their names and are not part of this room.
"""
