"""Serves one model over REST and gRPC, like TensorFlow Serving.

For one machine without Docker. Clients of TensorFlow Serving work with it, and vice versa.
"""
