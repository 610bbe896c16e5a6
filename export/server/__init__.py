"""One model over REST and gRPC, as TensorFlow Serving answers.

For one machine without Docker. A client of one works with the other.
"""
