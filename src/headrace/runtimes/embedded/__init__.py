"""The default runtime: one process, one writer loop."""
