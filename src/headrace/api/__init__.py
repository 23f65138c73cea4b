"""The REST API: HTTP in, one use case, HTTP out. No rule of its own (docs/api.md)."""
