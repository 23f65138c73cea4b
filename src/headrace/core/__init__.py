"""The pure core: decides what each profile update means for each flow. No I/O, no clock, no randomness."""
