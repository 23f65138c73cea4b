"""Resources and use cases: one function a use case."""
