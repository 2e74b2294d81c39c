"""What Weft will build: a spec beyond these numbers is refused before any memory is touched."""

NESTING = 64  # instances inside instances
LAYERS = 4096  # of one repeat
AXIS = 2**31 - 1  # entries of one axis
PARAMETERS = 10**14  # learned values of a model
STEPS = 2_000_000  # expressions evaluated while one model is elaborated
