from __future__ import annotations
from .counting_backend import CountingBackend
def test_x(): CountingBackend()
