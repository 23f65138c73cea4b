"""The console: pages over the use cases of the control plane, in the browser. No rule of its own."""
