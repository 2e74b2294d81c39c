"""The intermediate representation: a module of small functions over named axes."""
