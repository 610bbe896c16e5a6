"""PasteGAN: A Semi-Parametric Method to Generate Image from Scene Graph, Li, Ma, Bai, Duan, Wei,
Wang, NeurIPS 2019 (1905.01608).

An object is drawn from a patch of another image. A crop encoder makes a map of the patch; a graph
convolution over maps, which first warps each by a predicted flow, refines it by the other objects;
an attention fuses all into a canvas, which is decoded. Patches are not learned to be chosen: each
is drawn at random among the few nearest by the graph features of a fixed sg2im. Two branches share
all weights: *generation* from the drawn patches, *reconstruction* from the image's own. The
generated image has to show its patches, in the sense of the crop encoder (crop matching).

Training draws among the object's own patch and its two nearest of other images, tests among the
three nearest of other images: the published pool with our candidates, which never show the image
itself. An object without candidates of its category gets no patch (mid grey).

Differs from the public system, besides what holds for every rival (`rgan_tf.rivals`):

* boxes are valid by construction (`BoxPredictor`); the public ReLU gives dead and inverted ones,
* crop matching teaches neither the encoder nor the drawn patches; publicly both sides train the
  encoder, which could satisfy the loss by shrinking its output,
* a pixel is shared by the objects whose box covers it, in every image by itself; publicly by all
  objects, and by the largest logit of the batch,
* the flow starts as the identity; behind a normalisation the public start moves by half a cell,
* the node `__image__` is not an object in any loss,
* the refiner reads predicates after the graph network, and leaky ReLUs outside of the published
  crop encoder, refiner and canvas have slope 0.2 instead of 0.1.

At our size the generator is made of RetrieveGAN's modules, which follow PasteGAN: the canvas has a
quarter of the image's resolution, the map of the node `__image__` starts at zero (published: that
of a zero crop), and only the flow net is normalised. Composition, masks and skip, which are ours,
are off. The published modules stand beside it (`published.py`), to be counted and compared with.

It is not `pastegan_style`, which is RetrieveGAN with a random choice among the nearest.
"""
