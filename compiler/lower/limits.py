"""What Weft will build: a spec beyond these numbers is refused before any memory is touched."""

NESTING = 64  # instances inside instances
LAYERS = 4096  # of one repeat
AXIS = 2**31 - 1  # entries of one axis
PARAMETERS = 10**14  # learned values of a model
NUMBER = 2**63 - 1  # the largest whole number a static value may be
TERMS = 100  # of the polynomial of one size
STEPS = 2_000_000  # expressions evaluated while one model is elaborated
INSTANCE = 100  # steps that one instance counts for
