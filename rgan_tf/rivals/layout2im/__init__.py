"""layout2im: Image Generation from Layout, Zhao, Meng, Yin, Sigal, CVPR 2019 (1811.11389).

Input are categories and true boxes; no graph, no relations. Every object has a code of 64 numbers.
On the *reconstruction* path a crop encoder reads it from the real crop (a posterior); on the
*generation* path it is drawn from N(0, I). On both, category and code fill the object's box, a
convolutional LSTM reads the objects one after another, and its last state is decoded. The crop
encoder has to find the drawn codes in the generated crops again, so the generator cannot ignore
them.

Differs from the public system, besides what holds for every rival (`rgan_tf.rivals`):

* the order of the objects, which matters to an LSTM, is drawn from the row's seed; the public
  loader shuffles at every read, so its images cannot be repeated,
* padded objects are skipped steps; a thin box owns a pixel; the first layer has no padding,
* at test time neither the image nor the posterior is read.
"""
