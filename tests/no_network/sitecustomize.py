"""Guards the Python processes that tests start: this folder is the first of their PYTHONPATH."""

from network_guard import install

install()
