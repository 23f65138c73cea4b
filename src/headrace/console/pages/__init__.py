"""One module a group of pages: a request in, use cases called, a template filled in."""
