"""Every family of the standard library against the implementation of `transformers`."""
