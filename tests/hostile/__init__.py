"""Servers that mean harm: every case of docs/hostile.md, and the tests that try each of them."""
