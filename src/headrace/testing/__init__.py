"""Parts for tests, shipped: a scripted Kinesis and what judges it."""
