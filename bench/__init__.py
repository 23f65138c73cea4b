"""Benchmarks: one folder a case, run by `make bench NAME=<case>`; rows in bench/results."""
