"""AttnGAN: Fine-Grained Text to Image Generation, Xu et al., CVPR 2018 (1711.10485).

Input is one text per scene graph: every relationship a sentence, linked by "and". Two trainings:
DAMSM brings texts and images into one space, words to regions and sentences to whole images; then,
both encoders frozen, a tree of generators grows an image in stages that double its side. The first
reads the sentence and noise, each later one looks at the words again at every pixel. Every stage
has a discriminator of its own, and the last image is matched with its words and its sentence.

It has no boxes and no patches: what it draws depends on categories and triples alone.

Differs from the public system, besides what holds for every rival (`rgan_tf.rivals`):

* texts come from graphs, with their triples in random order in training; a mirrored image has the
  text of its mirrored graph; a text that is too long loses whole triples, not single words,
* the words are those of the run's own vocabulary; none is unknown,
* images are matched by SqueezeNet's map at 224 px: weights of the published Inception-v3 do not
  ship, and MobileNetV2 is the judge; it is frozen, in inference mode,
* pairs of one text are not negatives of each other, in the matching and for the discriminators; the
  wrong text of a real image is that of another row, by a shift drawn anew in every step,
* the generator's attention masks padding row by row; the public mask belongs to other rows,
* DAMSM has one Adam whose rate falls with the epochs; the public one begins anew in every epoch,
* at our size the tree has its published depth, but its stages lie two octaves lower: 16, 32, 64 px.
"""
