"""sg2im: Image Generation from Scene Graphs, Johnson, Gupta, Fei-Fei, CVPR 2018 (1804.01622).

A graph network gives every object a vector; a box and a soft mask are predicted from it; the
vectors, masked and placed in their boxes, sum up to a layout; noise is joined to it, and a cascaded
refinement network turns it into an image. Masks are predicted in training and at test time and
learn through the layout, as in all of its Visual Genome models: with true masks and the published
mask weight of 0 they would learn nothing and still shape every test image.

Differs from the public system, besides what holds for every rival (`rgan_tf.rivals`):

* boxes are valid by construction (`BoxPredictor`); the public ReLU gives dead and inverted ones,
* the image discriminator's classifier is applied,
* the node `__image__` fills the layout, but is not an object in any loss,
* the relation head is built only if its weight is above 0; the published one is 0.

It is not the stage of that name, which has no masks and no noise and pre-filters the candidates.
"""
