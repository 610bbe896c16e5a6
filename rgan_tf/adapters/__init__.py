"""The libraries that may one day be replaced, each behind one module that alone imports it.

TensorFlow Addons, TF-GAN, ScaNN and Apache Beam: the rest of the program knows the functions here,
not the libraries. Imports errors and storage, no other room. `tfgan.py` is a short example.
"""
